"""Pure tools: shapes in, boolean masks out (NumPy only)."""
