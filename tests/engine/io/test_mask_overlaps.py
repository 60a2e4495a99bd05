"""What the question about overlapping labels says: which, how many voxels, what is left."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from phantoms import copied_structure, distinct, draw, plain
from PIL import Image

from engine.errors import ChoiceNeeded
from engine.io import open_case, read_mask, save_mask
from engine.io.mask_overlaps import Placing

PATH, SHAPE = Path("seg.dcm"), (6, 7, 8)
NAMES = {1: "body", 2: "liver", 3: "tumour", 4: "vessel", 5: "spleen"}


def put(labels, overlap="", names=NAMES):
    """Places masks ``[k, j, i]`` by number, slice by slice as a segmentation holds them."""
    placing = Placing(PATH, SHAPE, overlap)
    for number, mask in labels.items():
        for k in range(SHAPE[0]):
            j, i = np.nonzero(mask[k])
            placing.put(np.stack([i, j, np.full_like(i, k)]), np.full(i.size, number, np.uint8))
    return placing.finish(names)


def asked(labels, names=NAMES) -> ChoiceNeeded:
    with pytest.raises(ChoiceNeeded) as error:
        put(labels, names=names)
    return error.value


def box(*slices):
    mask = np.zeros(SHAPE, bool)
    mask[slices] = True
    return mask


def test_two_labels_are_named_with_their_voxels_and_what_each_answer_gives():
    error = asked({2: box(slice(0, 4)), 4: box(slice(3, 6))})
    assert error.message == (
        "Labels of seg.dcm overlap: liver and vessel in 56 voxels. A voxel can have one label."
    )
    assert [(c.key, c.text) for c in error.choices] == [
        ("first", "liver gets them"),
        ("last", "vessel gets them"),
    ]
    assert "--overlap first: liver gets them" in error.hint


def test_a_label_of_which_nothing_would_be_left_is_named():
    error = asked({2: box(slice(0, 4)), 3: box(1, 2, 3)})
    assert error.message.endswith(
        "in 1 voxel. A voxel can have one label. If liver gets them, nothing is left of tumour."
    )
    assert [c.text for c in error.choices] == ["liver gets them", "tumour gets them"]


def test_labels_inside_one_another_are_counted_pair_by_pair():
    labels = {1: box(), 2: box(slice(0, 3)), 3: box(1, slice(0, 2)), 4: box(5), 5: box(4, 0)}
    error = asked(labels)
    shared = {
        (a, b): int((labels[a] & labels[b]).sum())
        for a, b in combinations(labels, 2)
        if (labels[a] & labels[b]).any()
    }
    assert len(shared) == 5 and shared[2, 3] == 16
    assert (
        "body and liver in 168 voxels, body and vessel in 56 voxels, "
        "body and tumour in 16 voxels, and 2 more pairs."
    ) in error.message
    assert [c.text for c in error.choices] == [
        "the lower number gets them",
        "the higher number gets them",
    ]
    lost = "nothing is left of liver, tumour, vessel and 1 more."
    assert error.message.endswith(f"If the lower number gets them, {lost}")


def test_any_labels_are_counted_right_and_the_answers_are_kept():
    rng = np.random.default_rng(4)
    for _ in range(20):
        labels = {n: rng.random(SHAPE) < 0.3 for n in NAMES}
        error = asked(labels)
        for a, b in combinations(NAMES, 2):
            count = int((labels[a] & labels[b]).sum())
            said = f"{NAMES[a]} and {NAMES[b]} in {count} voxels"
            assert said in error.message or f"{NAMES[a]} and {NAMES[b]} in" not in error.message
        assert error.message.count(" voxels") == 3 and "and 7 more pairs" in error.message
        stack = np.stack([np.where(labels[n], n, 0) for n in NAMES])
        assert np.array_equal(put(labels, "last"), stack.max(axis=0))
        low = np.where(stack == 0, 99, stack).min(axis=0)
        assert np.array_equal(put(labels, "first"), np.where(low == 99, 0, low))


def test_equal_and_long_names_are_told_apart_and_cut():
    boxes = {2: box(0), 3: box(0)}
    assert "Lesion (2) and Lesion (3) in" in asked(boxes, {2: "Lesion", 3: "Lesion"}).message
    text = asked(boxes, {2: "a" * 90, 3: "b"}).message
    assert f"{'a' * 21}... and b in" in text
    assert "label 2 and label 3 in" in asked(boxes, {}).message


def test_what_has_thousands_of_combinations_ends_in_the_question_too():
    rng = np.random.default_rng(1)
    placing = Placing(PATH, (40, 40, 40), "")
    for number in range(1, 40):
        k, j, i = np.nonzero(rng.random((40, 40, 40)) < 0.5)
        placing.put(np.stack([i, j, k]), np.full(i.size, number, np.uint8))
    with pytest.raises(ChoiceNeeded, match=r"in at least [\d,]+ voxels"):
        placing.finish({})


def test_structures_are_named_by_the_structure_set(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    draw(case, np.s_[0:2, 0:3, 0:3])
    path = save_mask(case, tmp_path / "rt.dcm", form="rtstruct")[0]
    copied_structure(path, "PTV")
    with pytest.raises(ChoiceNeeded) as error:
        read_mask(path, case)
    assert "part 1 and PTV in 18 voxels" in error.value.message
    assert error.value.message.endswith(
        "If part 1 gets them, nothing is left of PTV. If PTV gets them, nothing is left of part 1."
    )


def test_shapes_of_labelme_are_named_and_counted_in_pixels(tmp_path):
    Image.fromarray(distinct((9, 12), np.uint8)).save(tmp_path / "eye.png")
    shapes = [
        {"label": name, "points": [[x, 0], [x + 4, 5]], "shape_type": "rectangle"}
        for name, x in (("disc", 0), ("cup", 2), ("disc", 1))
    ]
    content = {"shapes": shapes, "imageHeight": 9, "imageWidth": 12}
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(ChoiceNeeded) as error:
        read_mask(tmp_path / "m.json", open_case(tmp_path / "eye.png"))
    assert "disc and cup in 15 pixels. A pixel can have one label." in error.value.message
