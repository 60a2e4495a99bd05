"""NaN and infinity: the lowest value in a scan, background in a mask, and always said."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813, its usual name
import tifffile
from phantoms import distinct, write_nifti

from engine.errors import UserError
from engine.evaluation.pairs import Pair
from engine.io import open_case, open_truth, read_mask
from engine.training.sources import PairSource

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
DRAWN = np.s_[1:3, 1:3, 1:3]
VOLUMES = ["m.nii", "m.nii.gz", "m.nrrd", "m.mha"]
SAID = "112 voxels of {} hold no number; they are background."


def holes(value=np.nan):
    """One label, and no number anywhere else."""
    array = np.full((4, 5, 6), value, np.float32)
    array[DRAWN] = 2
    return array


def write(path, array):
    """By nibabel or SimpleITK, an array ``[first, second, third axis]``."""
    if ".nii" in path.name:
        return write_nifti(path, array, AFFINE)
    sitk.WriteImage(sitk.GetImageFromArray(array.transpose(2, 1, 0).copy()), str(path))
    return path


@pytest.fixture
def scan(tmp_path):
    return write_nifti(tmp_path / "scan.nii", distinct((4, 5, 6)), AFFINE)


def expected():
    values = np.zeros((4, 5, 6), np.uint8)
    values[DRAWN] = 2
    return values.transpose(2, 1, 0)


@pytest.mark.parametrize("name", VOLUMES)
def test_what_is_no_number_in_a_mask_is_background_and_said(scan, tmp_path, name):
    path, said = write(tmp_path / name, holes()), []
    values, _ = read_mask(path, open_case(scan), tell=said.append)
    assert values.dtype == np.uint8 and np.array_equal(values, expected())
    assert said == [SAID.format(name)]


def test_a_scale_does_not_make_a_label_of_it(scan, tmp_path):
    path = write(tmp_path / "m.nii", holes() - 1)
    whole = bytearray(path.read_bytes())
    whole[112:120] = np.array([1, 1], "<f4").tobytes()  # slope and intercept
    path.write_bytes(whole)
    assert np.array_equal(read_mask(path, open_case(scan))[0], expected())


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_no_mask(scan, tmp_path, name, value):
    path = write(tmp_path / name, holes(value))
    for call in (lambda: read_mask(path, open_case(scan)), lambda: open_truth(path)):
        with pytest.raises(UserError, match="no mask: it holds infinite") as error:
            call()
        assert name in error.value.message


@pytest.mark.parametrize("name", [*VOLUMES, "m.tif"])
def test_a_truth_has_no_label_where_there_is_no_number(tmp_path, name):
    said = []
    if name == "m.tif":
        tifffile.imwrite(tmp_path / name, holes()[:, :, 1].T)
        assert set(open_truth(tmp_path / name, said.append).array.ravel()) == {0, 2}
        assert said == ["16 voxels of m.tif hold no number; they are background."]
        return
    truth = open_truth(write(tmp_path / name, holes()), said.append)
    assert np.array_equal(truth.array, expected()) and said == [SAID.format(name)]


def test_training_and_evaluation_learn_of_it(scan, tmp_path):
    pair = Pair("a", scan, write(tmp_path / "m.nii", holes()))
    loaded = PairSource(pair).load()
    assert np.array_equal(loaded.truth, expected()) and loaded.remarks == [SAID.format("m.nii")]
    said = []
    assert np.array_equal(pair.read(said.append)[1], expected()) and said == loaded.remarks


@pytest.mark.parametrize("name", [*VOLUMES, "s.tif"])
def test_a_scan_shows_its_lowest_value_there_and_says_so(tmp_path, name):
    array = np.linspace(-1, 1, 120, dtype=np.float32).reshape(4, 5, 6)
    array[1, 2, 3], array[2, 2, 2] = np.nan, np.inf
    if name == "s.tif":
        tifffile.imwrite(tmp_path / name, array[1])
    else:
        write(tmp_path / name, array)
    case = open_case(tmp_path / name)
    odd = 1 if name == "s.tif" else 2
    assert np.isfinite(case.scan.array).all() and not case.scan.array.flags.writeable
    assert (case.scan.array == case.scan.array.min()).sum() == odd + 1
    assert case.warnings == (f"{odd} voxels hold no number; they are given the lowest value.",)


def test_a_scan_without_any_number_is_all_zero(tmp_path):
    case = open_case(write(tmp_path / "s.nrrd", np.full((4, 5, 6), np.nan, np.float32)))
    assert not case.scan.array.any() and "120 voxels" in case.warnings[0]
