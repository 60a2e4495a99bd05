"""NIfTI in and out: geometry, values, and files that must be refused."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import (
    AXIS_ORDERS,
    TILTS,
    axis_order_affine,
    distinct,
    draw,
    positions_by_value,
    positions_of,
    same_positions,
    write_nifti,
)
from test_itk import seen_by_itk

from engine.errors import ChoiceNeeded, UserError
from engine.io import open_case, read_mask, save_mask, save_probability
from engine.io.orientation import array_box


def opened(path):
    return open_case(path).scan


@pytest.mark.parametrize("tilt", TILTS, ids=str)
def test_all_48_axis_orders_keep_every_voxel_at_its_place(tmp_path, tilt):
    array = distinct((4, 5, 6))
    for order, signs in AXIS_ORDERS:
        affine = axis_order_affine(order, signs, tilt)
        path = write_nifti(tmp_path / "a.nii", array, affine)
        scan = opened(path)
        assert scan.array.flags.c_contiguous and not scan.array.flags.writeable
        reference = nib.load(path)
        assert same_positions(
            positions_of(scan), positions_by_value(np.asarray(reference.dataobj), reference.affine)
        )
        # i runs to the left, j to the back, k to the head, whatever the tilt.
        assert (np.diag(scan.grid.affine[:3, :3]) * (-1, -1, 1) > 0).all()


@settings(max_examples=60, deadline=None)
@given(
    order=st.sampled_from(AXIS_ORDERS),
    degrees=st.tuples(*[st.floats(-40, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 9)] * 3),
    shear=st.floats(-0.4, 0.4),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
)
def test_any_affine_keeps_every_voxel_at_its_place(
    tmp_path_factory, order, degrees, spacing, shear, shape
):
    affine = axis_order_affine(*order, degrees, spacing)
    affine[:3, 2] += shear * affine[:3, 1]
    path = write_nifti(tmp_path_factory.mktemp("n") / "a.nii", distinct(shape), affine)
    scan, reference = opened(path), nib.load(path)
    assert same_positions(
        positions_of(scan), positions_by_value(np.asarray(reference.dataobj), reference.affine)
    )


@pytest.mark.parametrize("spacing", [(1, 1, 3), (3, 1, 1), (1, 3, 1), (1, 1, 1.1), (1, 2, 2)])
def test_plane_is_the_axis_of_the_largest_spacing(tmp_path, spacing):
    affine = axis_order_affine((0, 1, 2), (-1, -1, 1), spacing=spacing)
    scan = opened(write_nifti(tmp_path / "a.nii", distinct((4, 4, 4)), affine))
    expected = {(3, 1, 1): 2, (1, 3, 1): 1}.get(spacing, 0)
    assert scan.plane == expected
    assert scan.slice_count == 4


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4"])
def test_stored_integers_stay_with_slope_and_intercept(tmp_path, dtype):
    array = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    image = nib.Nifti1Image(array, np.diag([-1, -1, 1, 1]))
    if dtype.startswith(">"):
        image = nib.Nifti1Image(array, np.diag([-1, -1, 1, 1]), nib.Nifti1Header(endianness=">"))
    image.set_data_dtype(dtype)
    image.header.set_slope_inter(2.5, -10)
    with nib.openers.ImageOpener(tmp_path / "a.nii", "wb") as stream:  # values as they stand
        image.header["vox_offset"] = 352
        image.header.write_to(stream)
        stream.write(b"\0" * 4 + array.astype(dtype).tobytes(order="F"))
    scan = opened(tmp_path / "a.nii")
    assert scan.array.dtype == np.dtype(dtype).newbyteorder("=")
    assert (scan.slope, scan.intercept) == (2.5, -10.0)
    reference = np.asarray(nib.load(tmp_path / "a.nii").dataobj)
    assert np.allclose(scan.real(scan.array), reference.transpose(2, 1, 0))


def test_floats_become_float32_and_holes_are_said(tmp_path):
    array = np.linspace(-1, 1, 60).reshape(3, 4, 5)
    array[1, 2, 3] = np.nan
    case = open_case(write_nifti(tmp_path / "a.nii", array, np.diag([-1, -1, 1, 1])))
    assert case.scan.array.dtype == np.float32
    assert case.scan.array[3, 2, 1] == -1.0
    assert "1 voxels hold no number" in case.warnings[0]


def test_sform_wins_over_qform_and_disagreement_is_said(tmp_path):
    affine = axis_order_affine((0, 1, 2), (1, 1, 1))
    image = nib.Nifti1Image(distinct((3, 4, 5)), affine)
    image.set_sform(affine, 1)
    image.set_qform(np.diag([2.0, 2, 2, 1]), 1)
    nib.save(image, tmp_path / "a.nii")
    case = open_case(tmp_path / "a.nii")
    assert same_positions(positions_of(case.scan), positions_by_value(distinct((3, 4, 5)), affine))
    assert any("disagree" in text for text in case.warnings)


def test_qform_alone_is_used(tmp_path):
    affine = axis_order_affine((1, 2, 0), (1, -1, 1), (10, 20, 5))
    path = write_nifti(tmp_path / "a.nii", distinct((3, 4, 5)), affine, sform=0)
    case = open_case(path)
    assert same_positions(positions_of(case.scan), positions_by_value(distinct((3, 4, 5)), affine))
    assert case.warnings == ()


@pytest.mark.parametrize(
    ("shape", "steps"), [((3, 4, 5), [0, 2, 3, 4]), ((4, 5, 1), [1, 2, 3, 0]), ((5, 1, 1), [0, 2])]
)
def test_a_side_or_a_step_that_says_nothing_is_one_as_itk_reads_it(tmp_path, shape, steps):
    affine = axis_order_affine((1, 2, 0), (1, -1, 1), (10, 20, 5))
    path = write_nifti(tmp_path / "a.nii", distinct(shape), affine, sform=0)
    whole = bytearray(path.read_bytes())
    whole[76:92] = np.array((*steps, 0, 0)[:4], "<f4").tobytes()
    path.write_bytes(whole)
    case = open_case(path)
    assert same_positions(positions_of(case.scan), seen_by_itk(path))
    draw(case, np.s_[0:1, 0:1, 0:1])
    mask = save_mask(case, tmp_path / "m.nii")[0]
    assert np.array_equal(read_mask(mask, case)[0], case.label_map.array)


def test_no_orientation_is_said(tmp_path):
    path = write_nifti(tmp_path / "a.nii", distinct((3, 4, 5)), np.eye(4), sform=0, qform=0)
    case = open_case(path)
    assert "orientation unknown" in case.warnings[0]
    assert not case.scan.grid.oriented


def test_nifti2_and_pairs_open_and_get_masks(tmp_path):
    affine = axis_order_affine((2, 0, 1), (1, -1, 1), (5, 6, 7))
    nib.save(nib.Nifti2Image(distinct((3, 4, 5)), affine), tmp_path / "two.nii.gz")
    nib.save(nib.Nifti1Pair(distinct((3, 4, 5)), affine), tmp_path / "pair.hdr")
    for name in ("two.nii.gz", "pair.hdr"):
        case = open_case(tmp_path / name)
        expected = positions_by_value(distinct((3, 4, 5)), affine)
        assert same_positions(positions_of(case.scan), expected)
        draw(case, np.s_[0:1, 0:2, 0:1])
        mask = nib.load(save_mask(case, tmp_path / "m.nii")[0])
        assert mask.shape == (3, 4, 5)
        assert np.allclose(mask.affine, affine, atol=1e-5)
        assert (np.asarray(mask.dataobj) == 1).sum() == 2


def test_trailing_axes_of_one_voxel_are_kept_in_the_mask(tmp_path):
    nib.save(nib.Nifti1Image(distinct((3, 4, 5, 1)), np.eye(4)), tmp_path / "a.nii")
    case = open_case(tmp_path / "a.nii")
    assert case.scan.grid.shape == (5, 4, 3)
    assert nib.load(save_mask(case, tmp_path / "m.nii")[0]).shape == (3, 4, 5, 1)


def test_masks_repeat_no_free_text(tmp_path):
    image = nib.Nifti1Image(distinct((3, 4, 5)), np.eye(4))
    image.header["descrip"] = b"Canary Cuthbert"
    image.header["aux_file"] = b"canary"
    image.header["db_name"] = b"canary"
    image.header["intent_name"] = b"canary"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"canary"))
    nib.save(image, tmp_path / "a.nii")
    mask, manifest = save_mask(open_case(tmp_path / "a.nii"), tmp_path / "m.nii")
    assert b"canary" not in (mask.read_bytes() + manifest.read_bytes()).lower()


def test_equal_masks_have_equal_bytes(tmp_path):
    path = write_nifti(tmp_path / "a.nii", distinct((3, 4, 5)), np.eye(4))
    first = save_mask(open_case(path), tmp_path / "one.nii.gz")[0].read_bytes()
    assert first == save_mask(open_case(path), tmp_path / "two.nii.gz")[0].read_bytes()


def test_probabilities_keep_their_values(tmp_path):
    affine = axis_order_affine((2, 0, 1), (1, -1, 1))
    scan = opened(write_nifti(tmp_path / "a.nii", distinct((3, 4, 5)), affine))
    values = np.linspace(0, 1, 60, dtype=np.float32).reshape(scan.grid.shape)
    image = nib.load(save_probability(values, scan, tmp_path / "p.nii.gz", tmp_path))
    assert image.get_data_dtype() == np.float32
    back = opened(tmp_path / "p.nii.gz")
    assert np.array_equal(back.array, values)


def test_boxes_on_the_files_axes_find_the_same_voxels(tmp_path):
    array = distinct((4, 5, 6))
    for order, signs in AXIS_ORDERS:
        path = write_nifti(tmp_path / "a.nii", array, axis_order_affine(order, signs))
        scan = opened(path)
        box = array_box(scan.stored, (range(1, 3), range(0, 2), range(2, 6)), scan.grid.shape)
        assert set(scan.array[box.slices].ravel()) == set(array[1:3, 0:2, 2:6].ravel())


def refused(path) -> str:
    with pytest.raises(UserError) as error:
        open_case(path)
    assert path.name in error.value.message
    return f"{error.value.message} {error.value.hint}"


def header_file(path, **fields):
    """A NIfTI file with some header fields overwritten and 60 voxels behind it."""
    header = nib.Nifti1Header(endianness="<")
    header.set_data_shape((3, 4, 5))
    header.set_data_dtype(np.int16)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    header.set_sform(np.eye(4), 1)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + b"\0" * 4 + distinct((3, 4, 5)).tobytes())
    return path


def test_the_header_file_itself_opens(tmp_path):
    assert opened(header_file(tmp_path / "a.nii")).array.size == 60


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": [5, 3, 4, 5, 7, 2, 1, 1]}, "5 dimensions (3 x 4 x 5 x 7 x 2)"),
        ({"dim": [3, 3, 0, 5, 1, 1, 1, 1]}, "axis of 0 voxels"),
        ({"dim": [3, 3, -4, 5, 1, 1, 1, 1]}, "axis of -4 voxels"),
        ({"dim": [9, 3, 4, 5, 1, 1, 1, 1]}, "9 dimensions"),
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "cut short"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "sform is broken"),
        ({"srow_x": [0, 0, 0, 5]}, "sform is broken"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 2}, "qform is broken"),
        (
            {"sform_code": 0, "qform_code": 1, "pixdim": [1, -1, 1, 1, 0, 0, 0, 0]},
            "qform is broken",
        ),
        ({"sform_code": 0, "pixdim": [1, 1, 0, 1, 0, 0, 0, 0]}, "qform is broken"),
        ({"vox_offset": np.nan}, "where its voxels begin"),
        ({"vox_offset": 20}, "where its voxels begin"),
        ({"datatype": 32}, "complex"),
        ({"datatype": 2304}, "colours with transparency"),
        ({"datatype": 999}, "can't be read"),
        ({"magic": b"xyz"}, "not a NIfTI file"),
    ],
)
def test_broken_headers_are_refused_in_one_sentence(tmp_path, fields, words):
    assert words in refused(header_file(tmp_path / "scan.nii", **fields))


def test_flipped_bits_in_gzip_are_found(tmp_path):
    good = gzip.compress(header_file(tmp_path / "a.nii").read_bytes(), mtime=0)
    path = tmp_path / "bits.nii.gz"
    rng = np.random.default_rng(0)
    for place in rng.integers(10, len(good), 40):
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        assert path.name in refused(path)


def test_cut_files_are_refused(tmp_path):
    whole = header_file(tmp_path / "a.nii").read_bytes()
    for size in (0, 100, 352, 400):
        path = tmp_path / "cut.nii"
        path.write_bytes(whole[:size])
        assert path.name in refused(path)
        packed = tmp_path / "cut.nii.gz"
        packed.write_bytes(gzip.compress(whole)[: size // 4])
        assert packed.name in refused(packed)


def test_other_files_with_the_name_of_a_nifti_are_refused(tmp_path):
    path = tmp_path / "text.nii"
    path.write_text("this is no scan\n" * 100)
    assert "not a NIfTI file" in refused(path)
    lonely = tmp_path / "lonely.hdr"
    header = nib.Nifti1Pair(np.zeros((3, 4, 5), np.int16), np.eye(4)).header
    lonely.write_bytes(header.binaryblock)
    assert "lonely.img is missing" in refused(lonely)


def test_real_odd_files(shared_folder):
    folder = shared_folder / "io" / "nifti"
    if not folder.is_dir():
        pytest.skip("the odd NIfTI files are not here")
    for path in sorted(folder.glob("*.nii*")):
        try:
            scan = opened(path)
        except UserError:
            refused(path)
            continue
        image = nib.load(path)
        corner = image.affine @ [0, 0, 0, 1]
        assert np.abs(scan.grid.corners() - corner[:3]).sum(axis=1).min() < 1e-3


def test_real_axis_orders_show_the_same_brain(shared_folder):
    folder = shared_folder / "io" / "nifti" / "orient"
    if not folder.is_dir():
        pytest.skip("the 24 axis orders are not here")
    scans = [opened(path) for path in sorted(folder.glob("*.nii.gz"))]
    assert len(scans) == 24
    for scan in scans[1:]:
        assert scan.grid.same_place(scans[0].grid, tolerance_mm=1e-2)
        assert np.array_equal(scan.array, scans[0].array)


def test_one_of_several_time_points_is_opened_and_its_mask_is_three_dimensional(tmp_path):
    four = distinct((4, 5, 6, 3))
    path = write_nifti(tmp_path / "t.nii.gz", four, np.diag([2.0, 2.0, 3.0, 1.0]))
    with pytest.raises(ChoiceNeeded) as error:
        open_case(path)
    assert error.value.about == "time" and len(error.value.choices) == 3
    for time in range(3):
        case = open_case(path, time=time)
        assert set(case.scan.array.reshape(-1)) == set(four[..., time].reshape(-1))
    again = open_case(path, series=case.scan.stored.series)
    assert np.array_equal(again.scan.array, case.scan.array)
    draw(case, (slice(0, 1), slice(1, 4), slice(0, 2)))
    mask = nib.load(save_mask(case, tmp_path / "mask.nii.gz")[0])
    assert mask.shape == (4, 5, 6)
    assert np.allclose(mask.affine, nib.load(path).affine)
    with pytest.raises(UserError, match="no time point 3"):
        open_case(path, time=3)


def test_a_colour_volume_keeps_its_colours(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    packed = np.ascontiguousarray(colours).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(packed, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "c.nii")
    case = open_case(tmp_path / "c.nii")
    assert np.array_equal(case.scan.array, colours.transpose(2, 1, 0, 3))
    draw(case, (slice(0, 1), slice(1, 4), slice(0, 2)))
    path = save_mask(case, tmp_path / "mask.nii")[0]
    assert np.array_equal(read_mask(path, case)[0], case.label_map.array)
