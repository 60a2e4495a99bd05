"""The window of SDSeg Studio."""
