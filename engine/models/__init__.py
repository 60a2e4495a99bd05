"""Model folders: their format, the store that lists them, hashes and cards (no torch)."""
