"""Training from scratch and on corrected cases."""
