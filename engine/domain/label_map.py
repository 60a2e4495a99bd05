"""The label map, its origin map, and the edits that are the only way to change them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box, box_of_mask
from engine.domain.grid import Shape3

Values = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Origin(IntEnum):
    """Who set a voxel; two bits in the origin map."""

    NONE = 0
    HAND = 1
    MODEL = 2


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of a label map, as a value that can be applied and reverted.

    Attributes:
        box: the box that holds every changed voxel.
        changed: bits (``np.packbits``) of a mask of the box's shape in C order.
        old_values, old_origins: uint8, one a changed voxel in C order.
        new_values: one value for all, or uint8, one a changed voxel.
        origin: who made the change.
    """

    box: Box
    changed: Values
    old_values: Values
    old_origins: Values
    new_values: int | Values
    origin: Origin

    @property
    def mask(self) -> Mask:
        """The changed voxels, bool of the box's shape."""
        count = int(np.prod(self.box.shape))
        return np.unpackbits(self.changed, count=count).view(np.bool_).reshape(self.box.shape)

    @property
    def voxel_count(self) -> int:
        """Number of changed voxels."""
        return int(self.old_values.size)

    @property
    def nbytes(self) -> int:
        """Memory this edit holds, for the cap of the undo stack."""
        new = 0 if isinstance(self.new_values, int) else self.new_values.nbytes
        return self.changed.nbytes + self.old_values.nbytes + self.old_origins.nbytes + new + 200


class OriginMap:
    """Who set each voxel: two bits a voxel, and only for slices that were touched."""

    def __init__(self, shape: Shape3, plane: int) -> None:
        self.shape = shape
        self.plane = plane
        self._packed: dict[int, Values] = {}

    @property
    def touched(self) -> list[int]:
        """Slices that hold anything but NONE, in order."""
        return sorted(index for index, packed in self._packed.items() if packed.any())

    def _slice_shape(self) -> tuple[int, int]:
        rows, columns = (n for axis, n in enumerate(self.shape) if axis != self.plane)
        return rows, columns

    def read(self, index: int) -> Values:
        """Origins of one slice, uint8 [rows, columns] of `Origin` values; a copy."""
        rows, columns = self._slice_shape()
        packed = self._packed.get(index)
        if packed is None:
            return np.zeros((rows, columns), dtype=np.uint8)
        return _unpacked(packed)[: rows * columns].reshape(rows, columns)

    def write(self, index: int, origins: Values) -> None:
        """Replaces one slice; uint8 [rows, columns] of `Origin` values."""
        flat = origins.reshape(-1)
        padded = np.zeros(-(-flat.size // 4) * 4, dtype=np.uint8)
        padded[: flat.size] = flat
        packed = _packed(padded)
        if packed.any():
            self._packed[index] = packed
        else:
            self._packed.pop(index, None)

    def read_box(self, box: Box) -> Values:
        """Origins of a box, uint8 of the box's shape; a copy."""
        rows, columns = box.in_slice(self.plane)
        parts = [self._read_rows(i, rows)[:, columns] for i in box.range_along(self.plane)]
        return np.stack(parts, axis=self.plane)

    def write_box(self, box: Box, origins: Values) -> None:
        """Replaces a box; uint8 of the box's shape."""
        rows, columns = box.in_slice(self.plane)
        for place, index in enumerate(box.range_along(self.plane)):
            part = self._read_rows(index, rows)
            part[:, columns] = origins.take(place, axis=self.plane)
            self._write_rows(index, rows, part)

    # A stroke is small and a slice may be large: only the rows it touches are unpacked.

    def _read_rows(self, index: int, rows: slice) -> Values:
        """Origins of some rows of one slice; a copy."""
        columns = self._slice_shape()[1]
        packed = self._packed.get(index)
        if packed is None:
            return np.zeros((rows.stop - rows.start, columns), dtype=np.uint8)
        start, stop = rows.start * columns, rows.stop * columns
        flat = _unpacked(packed[start // 4 : -(-stop // 4)])
        return flat[start % 4 : start % 4 + stop - start].reshape(-1, columns)

    def _write_rows(self, index: int, rows: slice, origins: Values) -> None:
        """Replaces some rows of one slice."""
        height, columns = self._slice_shape()
        packed = self._packed.get(index)
        if packed is None:
            packed = self._packed[index] = np.zeros(-(-height * columns // 4), dtype=np.uint8)
        start, stop = rows.start * columns, rows.stop * columns
        part = packed[start // 4 : -(-stop // 4)]
        flat = _unpacked(part)
        flat[start % 4 : start % 4 + stop - start] = origins.reshape(-1)
        part[:] = _packed(flat)
        if not origins.any() and not packed.any():
            del self._packed[index]

    def packed_slices(self) -> dict[int, Values]:
        """The stored bytes a slice, for saving."""
        return {index: packed.copy() for index, packed in self._packed.items()}

    def load_packed(self, slices: dict[int, Values]) -> None:
        """The reverse of `packed_slices`."""
        rows, columns = self._slice_shape()
        size = -(-rows * columns // 4)
        for index, packed in slices.items():
            if packed.size != size:
                raise ValueError(f"slice {index}: {packed.size} bytes, expected {size}")
        self._packed = {i: np.array(p, dtype=np.uint8) for i, p in slices.items() if p.any()}


def _unpacked(packed: Values) -> Values:
    """Four origins from each byte, the lowest bits first."""
    wide = np.empty((packed.size, 4), dtype=np.uint8)
    for place in range(4):
        wide[:, place] = np.bitwise_and(packed >> np.uint8(2 * place), np.uint8(3), dtype=np.uint8)
    return wide.reshape(-1)


def _packed(flat: Values) -> Values:
    """The reverse of `_unpacked`; the number of origins is a multiple of four."""
    wide = flat.reshape(-1, 4)
    packed = wide[:, 0].copy()
    for place in range(1, 4):
        packed |= wide[:, place] << np.uint8(2 * place)
    return packed


class LabelMap:
    """Label ids on a scan's grid; `apply` and `revert` are the only writers."""

    def __init__(self, shape: Shape3, plane: int = 0, values: Values | None = None) -> None:
        self._array = np.zeros(shape, dtype=np.uint8)
        self.plane = plane
        self.origins = OriginMap(shape, plane)
        if values is not None:
            if values.shape != self._array.shape:
                raise ValueError(f"values {values.shape} do not fit {shape}")
            self._array[...] = values

    @property
    def array(self) -> Values:
        """Label ids ``[k, j, i]``, 0 background; a read-only view."""
        view = self._array.view()
        view.flags.writeable = False
        return view

    @property
    def shape(self) -> Shape3:
        """(k, j, i)."""
        k, j, i = self._array.shape
        return k, j, i

    def slice(self, index: int) -> Values:
        """Slice `index` along `plane`, read-only, ``[rows, columns]``."""
        return self.array[(slice(None),) * self.plane + (index,)]

    def make_edit(
        self,
        box: Box,
        mask: Mask,
        values: int | Values,
        origin: Origin,
        locked: Iterable[int] = (),
    ) -> Edit | None:
        """The edit that would set the masked voxels of a box; nothing is written yet.

        Args:
            box: must lie inside the label map.
            mask: bool of the box's shape.
            values: one label id (0 erases), or uint8 of the box's shape.
            origin: who asks.
            locked: ids that keep their voxels and gain none.

        Returns:
            The edit cut down to what really changes, or None if nothing does.
        """
        old = self._array[box.slices]
        old_origins = self.origins.read_box(box)
        new = np.broadcast_to(np.asarray(values, dtype=np.uint8), old.shape)
        # Painting over what a model drew makes it the hand's, though the value stays; erasing
        # where nothing was changes nothing.
        changed = mask & ((old != new) | ((old_origins != origin) & (old != 0)))
        if fixed := list(locked):
            changed &= ~np.isin(old, fixed) & ~np.isin(new, fixed)
        tight = box_of_mask(changed)
        if tight is None:
            return None
        changed = changed[tight.slices]
        return Edit(
            box=tight.moved(box.start),
            changed=np.packbits(changed),
            old_values=old[tight.slices][changed],
            old_origins=old_origins[tight.slices][changed],
            new_values=values if isinstance(values, int) else new[tight.slices][changed],
            origin=origin,
        )

    def apply(self, edit: Edit) -> None:
        """Writes the new values."""
        self._set(edit, edit.new_values, np.uint8(edit.origin))

    def revert(self, edit: Edit) -> None:
        """Puts back values and origins as they were."""
        self._set(edit, edit.old_values, edit.old_origins)

    def _set(self, edit: Edit, values: int | Values, origins: Values | np.uint8) -> None:
        mask = edit.mask
        self._array[edit.box.slices][mask] = values
        box_origins = self.origins.read_box(edit.box)
        box_origins[mask] = origins
        self.origins.write_box(edit.box, box_origins)
