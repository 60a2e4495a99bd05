"""Overlapping segments of 3D Slicer: a .seg.nrrd of several layers."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import distinct, write_nifti

from engine.errors import ChoiceNeeded, UserError
from engine.io import open_case, read_mask

SHAPE = (6, 5, 4)  # i, j, k


def layered(path, layers, segments, sizes=SHAPE):
    """As 3D Slicer writes it: ``[layer, i, j, k]``, the layers fastest."""
    lines = [
        "NRRD0004", "type: unsigned char", "dimension: 4", "space: left-posterior-superior",
        f"sizes: {len(layers)} {' '.join(map(str, sizes))}",
        "space directions: none (-1,0,0) (0,-1,0) (0,0,2)", "kinds: list domain domain domain",
        "encoding: raw", "space origin: (0,0,0)",
    ]  # fmt: skip
    for n, (name, layer, value) in enumerate(segments):
        lines += [f"Segment{n}_ID:=Segment_{n}", f"Segment{n}_Name:={name}"]
        lines += [f"Segment{n}_Layer:={layer}", f"Segment{n}_LabelValue:={value}"]
    voxels = np.stack(layers).astype(np.uint8).tobytes(order="F")
    path.write_bytes("\n".join([*lines, "", ""]).encode() + voxels)
    return path


@pytest.fixture
def case(tmp_path):
    # LPS (-1, -1, 2) is (1, 1, 2) in RAS+
    return open_case(write_nifti(tmp_path / "a.nii", distinct(SHAPE), np.diag([1.0, 1, 2, 1])))


def boxes():
    first, second = np.zeros((2, *SHAPE), np.uint8)
    first[0:2, 0:2, 0:2], first[3:5, 0:2, 0:2], second[0:2, 3:5, 1:4] = 1, 2, 1
    return first, second


@pytest.mark.parametrize("count", [2, 3])
def test_a_number_means_another_segment_in_each_layer(case, tmp_path, count):
    first, second = boxes()
    layers = [first, second, np.zeros_like(first)][:count]
    names = [("liver", 0, 1), ("spleen", 0, 2), ("lesion", 1, 1)]
    array, labels = read_mask(layered(tmp_path / "m.seg.nrrd", layers, names), case)
    expected = first + 3 * second
    # the scan is stored in LPS+ order: both axes are turned
    assert np.array_equal(array, expected[::-1, ::-1].transpose(2, 1, 0))
    assert [(label.id, label.name) for label in labels] == [
        (1, "liver"), (2, "spleen"), (3, "lesion"),
    ]  # fmt: skip


def test_segments_that_overlap_are_asked_about(case, tmp_path):
    first, second = boxes()
    second[0, 0, 0] = 1
    path = layered(tmp_path / "m.seg.nrrd", [first, second], [("a", 0, 1), ("b", 1, 1)])
    with pytest.raises(ChoiceNeeded) as error:
        read_mask(path, case)
    assert error.value.about == "overlap"
    for overlap, label in (("first", 1), ("last", 2)):
        array, _ = read_mask(path, case, overlap=overlap)
        assert array[0, -1, -1] == label


@pytest.mark.parametrize(
    ("segments", "sizes"), [([("a", 7, 1)], SHAPE), ([("a", 0, 1)], (6, 5, 400))]
)
def test_a_damaged_one_is_refused(case, tmp_path, segments, sizes):
    path = layered(tmp_path / "m.seg.nrrd", boxes(), segments, sizes)
    with pytest.raises(UserError, match=r"m\.seg\.nrrd"):
        read_mask(path, case)
