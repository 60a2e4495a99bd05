"""The door to pickled files: a child process reads them and leaves safetensors."""

from __future__ import annotations

from engine.sdseg.import_checkpoint import _unpickle as unpickle_contained
from engine.sdseg.unpickle import TENSORS_FILE

__all__ = ["TENSORS_FILE", "unpickle_contained"]
