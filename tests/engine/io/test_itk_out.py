"""NRRD and MetaImage as they are written: what other programs read of them, and a full disk."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813, its usual name
from phantoms import AXIS_ORDERS, TILTS, axis_order_affine, distinct, draw, write_nifti
from test_itk import TO_LPS, write

from engine.domain.box import full_box
from engine.domain.label_map import Origin
from engine.domain.labels import Label, LabelList
from engine.errors import UserError
from engine.io import open_case, read_mask, save_mask, save_probability
from engine.io.itk import segment_names, write_itk

ENDINGS = [".nrrd", ".mha"]
OBLIQUE = axis_order_affine((1, 2, 0), (1, -1, -1), (4, 5, 6))


@pytest.fixture
def case(tmp_path):
    found = open_case(write_nifti(tmp_path / "scan.nii", distinct((4, 5, 6)), OBLIQUE))
    draw(found, np.s_[0:1, 1:4, 1:3], np.s_[2:3, 0:1, 3:5])
    return found


def with_labels(case, *names):
    case.labels = LabelList(tuple(Label(n, name, (n, 2, 3)) for n, name in enumerate(names, 1)))
    return case


def header_of(path):
    """The lines of a header without its comments, and what lies behind."""
    head, _, data = path.read_bytes().partition(b"LOCAL\n" if path.suffix == ".mha" else b"\n\n")
    lines = head.decode().splitlines()
    return {line for line in lines if not line.startswith("#")}, data


@pytest.mark.parametrize("tilt", [*TILTS, (44, 10, -50)], ids=str)
def test_headers_say_what_itk_would_write(tmp_path, tilt):
    array = distinct((4, 5, 6), np.uint8)
    for order, signs in AXIS_ORDERS[::5]:
        affine = np.round(axis_order_affine(order, signs, tilt), 12)
        for ending in ENDINGS:
            scan = open_case(write(tmp_path / f"scan{ending}", array, affine)).scan
            write_itk(tmp_path / f"ours{ending}", scan.array, scan)
            ours = header_of(tmp_path / f"ours{ending}")[0] - {"endian: little"}
            theirs = header_of(tmp_path / f"scan{ending}")[0]
            assert keys_of(ours) - {"Software"} == keys_of(theirs)
            for word in ("space:", "kinds", "encoding", "Anatomical", "DimSize", "ElementType"):
                assert starting(ours, word) == starting(theirs, word), word
            for word in ("space directions", "space origin", "TransformMatrix", "ElementSpacing"):
                assert np.allclose(numbers(ours, word), numbers(theirs, word), rtol=0, atol=1e-12)


def keys_of(lines):
    return {line.replace(":=", ":").replace(" = ", ":").partition(":")[0] for line in lines}


def starting(lines, word):
    return [line for line in lines if line.startswith(word)]


def numbers(lines, word):
    text = "".join(starting(lines, word)).translate(str.maketrans("(),=:", "     "))
    return [float(part) for part in text.removeprefix(word).split()]


@pytest.mark.parametrize("ending", ENDINGS)
def test_itk_reads_values_place_and_names(case, tmp_path, ending):
    image = sitk.ReadImage(str(save_mask(case, tmp_path / f"m{ending}")[0]))
    assert image.GetPixelIDValue() == sitk.sitkUInt8
    scan = sitk.ReadImage(str(case.source))
    for name in ("GetSize", "GetSpacing", "GetDirection", "GetOrigin"):
        assert np.allclose(getattr(image, name)(), getattr(scan, name)(), atol=1e-5), name
    values = sitk.GetArrayFromImage(scan)
    labelled = sitk.GetArrayFromImage(image)
    label_of = dict(zip(case.scan.array.ravel(), case.label_map.array.ravel(), strict=True))
    assert np.array_equal(labelled, np.vectorize(label_of.get)(values))
    said = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert said["Software"] == "SDSeg Studio"
    for n, label in enumerate(case.labels):
        expected = {"ID": f"label_{label.id}", "Name": label.name, "LabelValue": str(label.id)}
        expected |= {"Layer": "0", "Color": " ".join(f"{c / 255:.6f}" for c in label.colour)}
        assert {key: said[f"Segment{n}_{key}"] for key in expected} == expected


@pytest.mark.parametrize("ending", ENDINGS)
def test_probabilities_come_back_to_the_last_bit(case, tmp_path, ending):
    values = np.random.default_rng(0).random(case.scan.grid.shape, np.float32)
    path = save_probability(values, case.scan, tmp_path / f"p{ending}", case.source)
    image = sitk.ReadImage(str(path))
    assert image.GetPixelIDValue() == sitk.sitkFloat32
    assert set(sitk.GetArrayFromImage(image).ravel()) == set(values.ravel())
    again = open_case(path).scan
    assert np.array_equal(again.array, values) and again.grid.same_place(case.scan.grid)


@pytest.mark.parametrize("ending", ENDINGS)
def test_equal_masks_are_equal_bytes_and_packed(tmp_path, ending):
    array = np.zeros((40, 50, 60), np.int16)
    case = open_case(write_nifti(tmp_path / "scan.nii", array, np.diag([-1, -1, 1, 1])))
    first, second = (save_mask(case, tmp_path / f"{n}{ending}")[0].read_bytes() for n in (1, 2))
    assert first == second and len(first) < array.size / 50


@pytest.mark.parametrize("ending", ENDINGS)
def test_any_name_of_a_label_comes_back(case, tmp_path, ending):
    names = [
        "a\\b",
        "a\\nb",
        "x:=y = z: 1",
        "β-Läsion 2",
        "two\nlines\tand\0more",
        " ",
        "SDSeg Studio",
    ]
    path = save_mask(with_labels(case, *names), tmp_path / f"m{ending}")[0]
    expected = [*names[:4], "two lines and more", "6", "SDSeg Studio"]
    assert segment_names(path) == dict(enumerate(expected, 1))
    said = sitk.ReadImage(str(path))
    assert [said.GetMetaData(f"Segment{n}_Name") for n in range(5)] == expected[:5]
    assert np.array_equal(read_mask(path, case)[0], case.label_map.array)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_key_with_backslashes_that_itk_wrote_is_read_as_it_was_meant(tmp_path, ending):
    said = {"Segment0_Name": "a\\b", "Segment0_LabelValue": "7"}
    path = write(tmp_path / f"x{ending}", distinct((4, 5, 6)), np.eye(4), **said)
    assert segment_names(path) == {7: "a\\b"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_mask_of_many_labels_can_be_saved_again(case, tmp_path, ending):
    path = tmp_path / f"m{ending}"
    names = [f"structure {n} of a long list" for n in range(1, 256)]
    for _ in range(2):
        save_mask(with_labels(case, *names), path)
    assert segment_names(path) == dict(enumerate(names, 1))
    assert path.read_bytes().index(b"SDSeg Studio") < 100


@pytest.mark.parametrize("ending", ENDINGS)
def test_older_files_of_ours_and_foreign_ones_are_told_apart(case, tmp_path, ending):
    path = tmp_path / f"m{ending}"
    many = {f"Segment{n}_Name": f"structure {n} of a long list" for n in range(100)}
    write(path, distinct((4, 5, 6), np.uint8), np.eye(4), **many, Software="SDSeg Studio")
    assert path.read_bytes().index(b"SDSeg Studio") > 4000
    save_mask(case, path)
    for said in ({"Segment0_Name": "SDSeg Studio"}, {"Software": "SDSeg Studio Pro"}, {}):
        write(path, distinct((4, 5, 6), np.uint8), np.eye(4), **said)
        before = path.read_bytes()
        with pytest.raises(UserError, match="not written by SDSeg Studio"):
            save_mask(case, path)
        assert path.read_bytes() == before


@pytest.mark.parametrize("ending", [*ENDINGS, ".nii.gz"])
def test_a_full_disk_leaves_the_old_mask_wherever_it_ends(tmp_path, ending):
    resource = pytest.importorskip("resource", reason="Windows can't limit the size of a file")
    shape = (60, 64, 64)
    case = open_case(write_nifti(tmp_path / "scan.nii", np.zeros(shape, np.int16), TO_LPS))
    draw(case, np.s_[0:20, 3:40, 5:50])
    path = save_mask(case, tmp_path / f"m{ending}")[0]
    dots = np.random.default_rng(0).random(case.scan.grid.shape) < 0.5
    case.label_map.apply(case.label_map.make_edit(full_box(dots.shape), dots, 1, Origin.HAND))
    whole = save_mask(case, tmp_path / f"whole{ending}")[0].stat().st_size
    before, there = path.read_bytes(), sorted(tmp_path.iterdir())
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 100, 700, whole // 2, whole - 5000, whole - 10, whole - 1):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
            with pytest.raises(UserError) as error:
                save_mask(case, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        assert path.name in error.value.message and "space" in error.value.hint
        assert path.read_bytes() == before and sorted(tmp_path.iterdir()) == there
    save_mask(case, path)
    assert np.array_equal(read_mask(path, case)[0], case.label_map.array)
