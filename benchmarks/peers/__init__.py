"""SDSeg beside what a user would pick instead: see docs/accuracy.md."""
