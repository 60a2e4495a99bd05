"""Files in and out; orientation is converted here and nowhere else.

`open_case` and `save_mask` are the two doors. Readers are imported when a file needs them, so
that importing this package loads neither nibabel nor pydicom.
"""

from engine.io.doors import BegunCase, begin_case, open_case, open_middle, open_truth
from engine.io.listing import list_cases
from engine.io.mask_reading import read_mask
from engine.io.masks import check_format, save_mask, save_probability, write_labels
from engine.io.parts import list_parts

__all__ = [
    "BegunCase",
    "begin_case",
    "check_format",
    "list_cases",
    "list_parts",
    "open_case",
    "open_middle",
    "open_truth",
    "read_mask",
    "save_mask",
    "save_probability",
    "write_labels",
]
