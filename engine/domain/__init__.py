"""The words of the product as plain values: scans, label maps, labels, cases (NumPy only)."""
