"""Geometry in and out, voxel by voxel, against nibabel and SimpleITK.

Every voxel of a scan has a value of its own, and its value tells its label. What another program
reads of a mask must therefore give, at the place of each voxel, the label of the value there.
"""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813, its usual name
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import (
    AXIS_ORDERS,
    TILTS,
    Series,
    axis_order_affine,
    distinct,
    plain,
    rotation,
    sha256_of,
)

from engine.domain.box import full_box
from engine.domain.label_map import Origin
from engine.errors import UserError
from engine.io import open_case, save_mask

SHAPE = (4, 5, 6)
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Label of each value. No flip and no turn of the array shows the same picture.
LABEL_OF = np.random.default_rng(4).integers(0, 4, np.prod(SHAPE)).astype(np.uint8)
FORMS = [(1, 1), (2, 0), (0, 1), (3, 2)]  # codes of sform and qform
RIGHT_HANDED = [
    (row, column, signs)
    for row, column in permutations(range(3), 2)
    for signs in product((1, -1), repeat=2)
]
HEADER = (
    "pixdim", "sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c",
    "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "xyzt_units",
)  # fmt: skip


def painted(path):
    """The case of a file, labelled by the values of its voxels."""
    case = open_case(path)
    labels = LABEL_OF[case.scan.array]
    for number in (1, 2, 3):
        mask = labels == number
        edit = case.label_map.make_edit(full_box(mask.shape), mask, number, Origin.HAND)
        if edit is not None:
            case.label_map.apply(edit)
        case.labels = case.labels.added(f"part {number}")
    return case


def world_of(affine, shape=SHAPE):
    """World positions ``[voxel, 3]`` in the order of `distinct`, given its array's affine."""
    index = np.indices(shape).reshape(3, -1)
    return (affine[:3, :3] @ index + affine[:3, 3:]).T


def values_at(array, affine, world):
    """What another program's array ``[first, second, third axis]`` holds at world positions.

    Each must be the centre of a voxel to a thousandth of a millimetre.
    """
    exact = np.linalg.solve(affine, np.c_[world, np.ones(len(world))].T)[:3]
    index = np.rint(exact).astype(int)
    off = affine[:3, :3] @ (index - exact)
    assert np.linalg.norm(off, axis=0).max() < 1e-3
    assert array.size == len(world)
    return array[tuple(index)]


def by_itk(path):
    """Array ``[first, second, third axis]`` and affine (RAS+) as SimpleITK reads a file."""
    return of_itk(sitk.ReadImage(str(path)))


def of_itk(image):
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), TO_RAS @ affine


def by_nibabel(path):
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def nifti(path, affine, codes=(1, 1)):
    """All forms say the same place; one of code 0 says nothing."""
    image = nib.Nifti1Image(distinct(SHAPE), None)
    image.header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))  # ITK looks there too
    image.set_sform(affine if codes[0] else None, codes[0])
    image.set_qform(affine if codes[1] else None, codes[1], strip_shears=True)
    nib.save(image, path)
    return path


def is_close(affine, other):
    """Relative 1e-6, and no corner moves by a thousandth of a millimetre."""
    far = np.array(list(product((0, SHAPE[0] - 1), (0, SHAPE[1] - 1), (0, SHAPE[2] - 1), (1,))))
    moved = np.linalg.norm((far @ (affine - other).T)[:, :3], axis=1).max()
    return np.abs(affine - other).max() <= 1e-6 * np.abs(other).max() and moved < 1e-3


def test_the_phantom_would_show_any_flip_and_any_turn():
    cube = LABEL_OF[: 4**3].reshape(4, 4, 4)
    same = [
        (order, signs)
        for order, signs in AXIS_ORDERS
        if np.array_equal(cube, cube.transpose(order)[tuple(np.s_[::s] for s in signs)])
    ]
    assert same == [((0, 1, 2), (1, 1, 1))]


@pytest.mark.parametrize("tilt", TILTS, ids=str)
def test_a_mask_lies_on_its_nifti_voxel_by_voxel_for_nibabel_and_itk(tmp_path, tilt):
    for number, (order, signs) in enumerate(AXIS_ORDERS):
        affine = axis_order_affine(order, signs, tilt)
        codes = FORMS[number % len(FORMS)]
        path = nifti(tmp_path / "scan.nii", affine, codes)
        written = save_mask(painted(path), tmp_path / "mask.nii.gz")[0]
        expected = LABEL_OF[distinct(SHAPE)]
        source, mask = nib.load(path), nib.load(written)
        assert mask.get_data_dtype() == np.uint8
        for field in HEADER:
            assert (mask.header[field] == source.header[field]).all(), (field, codes)
        for read in (by_nibabel, by_itk):
            array, place = read(written)
            assert np.array_equal(array, expected)
            assert is_close(place, read(path)[1]) and is_close(place, affine)
            assert np.array_equal(values_at(array, place, world_of(affine)), LABEL_OF)


@pytest.mark.parametrize("tilt", TILTS, ids=str)
def test_a_mask_of_a_nifti_lies_there_as_nrrd_and_metaimage_too(tmp_path, tilt):
    for number, (order, signs) in enumerate(AXIS_ORDERS):
        affine = axis_order_affine(order, signs, tilt)
        case = painted(nifti(tmp_path / "scan.nii", affine))
        ending = (".nrrd", ".mha")[number % 2]
        array, place = by_itk(save_mask(case, tmp_path / f"mask{number % 2}{ending}")[0])
        assert array.dtype == np.uint8 and is_close(place, affine)
        assert np.array_equal(values_at(array, place, world_of(affine)), LABEL_OF)


def series_of(row, column, signs, tilt):
    vectors = np.eye(3)
    turn = rotation(tilt)
    along, down = turn @ vectors[row] * signs[0], turn @ vectors[column] * signs[1]
    return Series(
        distinct(SHAPE), tuple(along), tuple(down), step=tuple(2.5 * np.cross(along, down))
    )


def truth_of(series):
    """Affine of ``[slice, row, column]`` straight from DICOM's definition (PS3.3 C.7.6.2.1.1)."""
    affine = np.eye(4)
    affine[:3, 0] = series.step
    affine[:3, 1] = np.array(series.column) * series.spacing[0]
    affine[:3, 2] = np.array(series.row) * series.spacing[1]
    affine[:3, 3] = series.origin
    return TO_RAS @ affine


@pytest.mark.parametrize("tilt", [TILTS[0], TILTS[3]], ids=str)
@pytest.mark.parametrize("names_fall", [False, True])
def test_a_series_lies_where_itk_s_own_reader_puts_it_and_so_does_its_mask(
    tmp_path, tilt, names_fall
):
    names = [f"IM{n:04d}.dcm" for n in range(SHAPE[0])]
    for number, orientation in enumerate(RIGHT_HANDED):
        series = series_of(*orientation, tilt)
        folder = series.write(tmp_path / str(number), names[::-1] if names_fall else names)
        world = world_of(truth_of(series))
        case = painted(folder)
        scan = case.scan
        ours = values_at(scan.array.transpose(2, 1, 0), scan.grid.affine, world)
        assert np.array_equal(ours, np.arange(len(world)))

        array, place = of_itk(read_by_gdcm(folder))
        theirs = values_at(array, place, world)
        assert np.array_equal(theirs, scan.real(ours))

        mask = save_mask(case, tmp_path / "mask.nii.gz")[0]
        for read in (by_nibabel, by_itk):
            assert np.array_equal(values_at(*read(mask), world), LABEL_OF)
        assert is_close(nib.load(mask).get_qform(), scan.grid.affine)


def read_by_gdcm(folder):
    """A series as SimpleITK finds, sorts and reads it."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def test_the_mask_of_a_series_lies_there_as_nrrd_and_metaimage(tmp_path):
    for number, orientation in enumerate(RIGHT_HANDED):
        series = series_of(*orientation, TILTS[4])
        case = painted(series.write(tmp_path / str(number)))
        ending = (".nrrd", ".mha")[number % 2]
        mask = save_mask(case, tmp_path / f"mask{number % 2}{ending}")[0]
        assert np.array_equal(values_at(*by_itk(mask), world_of(truth_of(series))), LABEL_OF)


def refused_as(case, path):
    before = sorted(path.parent.iterdir())
    with pytest.raises(UserError) as error:
        save_mask(case, path)
    assert sorted(path.parent.iterdir()) == before
    return f"{error.value.message} {error.value.hint}"


@settings(max_examples=30, deadline=None)
@given(
    order=st.sampled_from(AXIS_ORDERS),
    tilt=st.sampled_from(TILTS),
    shear=st.floats(0.01, 0.5),
    along=st.sampled_from(list(permutations(range(3), 2))),
)
def test_a_sheared_grid_is_kept_by_nifti_and_refused_by_formats_that_can_t_say_it(
    tmp_path_factory, order, tilt, shear, along
):
    folder = tmp_path_factory.mktemp("sheared")
    affine = axis_order_affine(*order, tilt)
    affine[:3, along[0]] += shear * affine[:3, along[1]]
    case = painted(nifti(folder / "scan.nii", affine, (1, 0)))
    array, place = by_nibabel(save_mask(case, folder / "mask.nii.gz")[0])
    assert is_close(place, affine)
    assert np.array_equal(values_at(array, place, world_of(affine)), LABEL_OF)
    for ending in (".nrrd", ".mha"):
        words = refused_as(case, folder / f"other{ending}")
        assert f"other{ending}" in words and "NIfTI" in words and "SEG" in words


def test_the_mask_of_a_tilted_gantry_lies_where_nibabel_expects_it(tmp_path):
    series = Series(distinct(SHAPE), step=(0.0, 0.8, 2.5))
    before = sha256_of(series.write(tmp_path / "s"))
    case = painted(tmp_path / "s")
    array, place = by_nibabel(save_mask(case, tmp_path / "mask.nii.gz")[0])
    assert np.array_equal(values_at(array, place, world_of(truth_of(series))), LABEL_OF)
    for ending in (".nrrd", ".mha"):
        words = refused_as(case, tmp_path / f"mask{ending}")
        assert "NIfTI" in words and "SEG" in words
    assert sha256_of(tmp_path / "s") == before


def test_one_slice_and_one_column_keep_their_place(tmp_path):
    for shape in [(1, 5, 6), (4, 1, 6), (4, 5, 1), (1, 1, 1)]:
        affine = axis_order_affine((2, 0, 1), (1, -1, 1), TILTS[3])
        path = tmp_path / "thin.nii"
        nib.save(nib.Nifti1Image(distinct(shape), affine), path)
        case = painted(path)
        for ending in (".nii.gz", ".nrrd"):
            written = save_mask(case, tmp_path / f"thin_mask{ending}")[0]
            array, place = (by_nibabel if ending == ".nii.gz" else by_itk)(written)
            labels = LABEL_OF[: np.prod(shape)]
            assert np.array_equal(values_at(array, place, world_of(affine, shape)), labels)


def test_a_flip_would_be_found():
    case = plain()
    affine = truth_of(case)
    array = distinct((6, 5, 6))
    found = values_at(array[::-1], affine, world_of(affine, array.shape))
    assert not np.array_equal(found, array.ravel())
