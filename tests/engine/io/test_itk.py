"""NRRD and MetaImage: every axis order in and out, compared with SimpleITK itself."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813, its usual name
from phantoms import (
    AXIS_ORDERS,
    axis_order_affine,
    distinct,
    draw,
    plain,
    positions_by_value,
    positions_of,
    same_positions,
    sha256_of,
)

from engine.errors import ChoiceNeeded, UserError
from engine.io import list_cases, open_case, read_mask, save_mask
from engine.io.itk import segment_names

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write(path, array, affine, **metadata):
    """An array ``[first, second, third axis]`` and its affine (RAS+) by SimpleITK."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    lps = TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).reshape(-1).tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    for key, value in metadata.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def seen_by_itk(path):
    """World position (RAS+) of every value, as SimpleITK tells it."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return positions_by_value(sitk.GetArrayFromImage(image).transpose(2, 1, 0), TO_LPS @ affine)


def refused(path, **options) -> str:
    with pytest.raises(UserError) as error:
        open_case(path, **options)
    return f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nhdr", ".mhd"])
@pytest.mark.parametrize(("order", "signs"), AXIS_ORDERS[::5])
def test_every_voxel_lies_where_itk_says(tmp_path, order, signs, ending):
    affine = axis_order_affine(order, signs, (9, 14, -21))
    path = write(tmp_path / f"x{ending}", distinct((4, 5, 6)), affine)
    case = open_case(path)
    assert list_cases(path) == [path] and case.warnings == ()
    assert same_positions(positions_of(case.scan), seen_by_itk(path))
    assert case.scan.array.dtype == np.int16


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize(("order", "signs"), AXIS_ORDERS[1::5])
def test_a_mask_lies_on_the_exact_grid_of_its_source(tmp_path, order, signs, ending):
    affine = axis_order_affine(order, signs, (12, 0, -17))
    source = write(tmp_path / f"x{ending}", distinct((4, 5, 6)), affine)
    before = sha256_of(source)
    case = open_case(source)
    draw(case, (slice(0, 1), slice(1, 4), slice(0, 2)), (slice(2, 3), slice(0, 1), slice(3, 5)))
    path = save_mask(case, tmp_path / f"mask{ending}")[0]
    image, mask = sitk.ReadImage(str(source)), sitk.ReadImage(str(path))
    assert mask.GetSize() == image.GetSize()
    for name in ("GetSpacing", "GetDirection", "GetOrigin"):
        assert np.allclose(getattr(mask, name)(), getattr(image, name)(), rtol=1e-9, atol=1e-9)
    again, labels = read_mask(path, open_case(source))
    assert np.array_equal(again, case.label_map.array) and again.any()
    assert labels is not None and [label.name for label in labels] == ["part 1", "part 2"]
    assert sha256_of(source) == before
    save_mask(case, path)  # it is ours, so it may be replaced


def test_the_names_of_the_labels_are_in_the_file(tmp_path):
    case = open_case(write(tmp_path / "x.nrrd", distinct((4, 5, 6)), np.eye(4)))
    draw(case, (slice(0, 1), slice(1, 4), slice(0, 2)), (slice(2, 3), slice(0, 1), slice(3, 5)))
    path = save_mask(case, tmp_path / "m.seg.nrrd")[0]
    (tmp_path / "m.seg.manifest.json").unlink()
    assert segment_names(path) == {1: "part 1", 2: "part 2"}
    _, labels = read_mask(path, case)
    assert labels is not None and [label.name for label in labels] == ["part 1", "part 2"]


def test_the_mask_of_a_dicom_series_as_nrrd(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    draw(case, (slice(1, 3), slice(1, 4), slice(0, 2)))
    path = save_mask(case, tmp_path / "m.nrrd")[0]
    mask = sitk.ReadImage(str(path))
    k, j, i = np.argwhere(case.label_map.array)[0].tolist()
    assert sitk.GetArrayFromImage(mask)[k, j, i] == 1
    world = TO_LPS @ case.scan.grid.affine @ [i, j, k, 1]
    assert np.allclose(mask.TransformIndexToPhysicalPoint((i, j, k)), world[:3])


def test_a_tilted_scan_can_t_be_nrrd_and_says_what_it_can_be(tmp_path):
    case = open_case(plain(step=(0, 0.4, 2.5)).write(tmp_path / "s"))
    draw(case, (slice(1, 3), slice(1, 4), slice(0, 2)))
    with pytest.raises(UserError) as error:
        save_mask(case, tmp_path / "m.nrrd")
    assert "sheared" in error.value.message and "NIfTI" in error.value.hint
    assert not (tmp_path / "m.nrrd").exists()


def test_time_points_colours_and_flat_pictures(tmp_path):
    four = distinct((4, 5, 6, 3)).astype(np.float32)
    volumes = sitk.GetImageFromArray(four.transpose(3, 2, 1, 0), isVector=False)
    sitk.WriteImage(volumes, str(tmp_path / "t.nrrd"))
    with pytest.raises(ChoiceNeeded) as error:
        open_case(tmp_path / "t.nrrd")
    assert len(error.value.choices) == 3
    case = open_case(tmp_path / "t.nrrd", time=2)
    assert case.scan.stored.times == 3
    assert set(case.scan.array.reshape(-1)) == set(four[..., 2].reshape(-1))
    again = open_case(tmp_path / "t.nrrd", series=case.scan.stored.series)
    assert np.array_equal(again.scan.array, case.scan.array)

    colours = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "c.mha"))
    assert np.array_equal(open_case(tmp_path / "c.mha").scan.array, colours)
    sitk.WriteImage(sitk.GetImageFromArray(colours[0, :, :, 0]), str(tmp_path / "f.nrrd"))
    assert np.array_equal(open_case(tmp_path / "f.nrrd").scan.array, colours[:1, :, :, 0])


def test_what_is_no_scan_is_refused_by_name(tmp_path):
    (tmp_path / "a.nrrd").write_text("NRRD0004\n# nothing\n")
    (tmp_path / "b.mha").write_bytes(b"")
    assert "a.nrrd" in refused(tmp_path / "a.nrrd") and "b.mha" in refused(tmp_path / "b.mha")
    whole = write(tmp_path / "c.nrrd", distinct((40, 50, 60), np.int32), np.eye(4)).read_bytes()
    (tmp_path / "c.nrrd").write_bytes(whole[: len(whole) // 2])
    assert "c.nrrd" in refused(tmp_path / "c.nrrd")
    (tmp_path / "d.nrrd").write_bytes(whole.replace(b"40 50 60", b"30000 30000 30000"))
    assert "d.nrrd is cut short" in refused(tmp_path / "d.nrrd")
    vector = sitk.GetImageFromArray(np.zeros((3, 4, 5, 2), np.float32), isVector=True)
    sitk.WriteImage(vector, str(tmp_path / "e.nrrd"))
    assert "2 numbers a voxel" in refused(tmp_path / "e.nrrd")
    write(tmp_path / "lost.mhd", distinct((4, 5, 6)), np.eye(4))
    next(tmp_path.glob("lost.*raw")).unlink()
    assert "lost.mhd" in refused(tmp_path / "lost.mhd")
