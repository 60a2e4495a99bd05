"""From stored values to what is shown: windows, planes, overlays (NumPy only)."""
