"""Starts SDSeg Studio from a checkout."""

from sdseg_gui.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
