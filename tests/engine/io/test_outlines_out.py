"""RT structure sets and labelme out and in: the mask comes back, holes and all."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from phantoms import Series, copied_structure, distinct, draw, plain, write_nifti
from PIL import Image, ImageDraw
from pydicom import dcmread

from engine.domain.box import full_box
from engine.domain.label_map import Origin
from engine.domain.manifest import ModelUse
from engine.errors import ChoiceNeeded, UserError
from engine.io import open_case, read_mask, save_mask
from engine.io.dicom_rtstruct_read import is_rtstruct

DIRECTIONS = [
    ((1, 0, 0), (0, 1, 0)),
    ((0, 1, 0), (0, 0, -1)),
    ((-1, 0, 0), (0, 0, 1)),
    ((0.8, 0.6, 0), (-0.6, 0.8, 0)),
]


def with_holes(case) -> None:
    """Two labels of random voxels: holes, islands, single voxels, all touching the border."""
    values = np.random.default_rng(3).integers(0, 3, case.scan.grid.shape).astype(np.uint8)
    box = full_box(values.shape)
    case.label_map.apply(case.label_map.make_edit(box, values > 0, values, Origin.HAND))
    case.labels = case.labels.added("wall").added("lumen")


def refused(call, *args, **options) -> str:
    with pytest.raises(UserError) as error:
        call(*args, **options)
    return f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize(("row", "column"), DIRECTIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_structure_set_comes_back_voxel_by_voxel(tmp_path, row, column, sign):
    step = tuple(2.5 * sign * v for v in np.cross(row, column))
    case = open_case(plain(row=row, column=column, step=step).write(tmp_path / "s"))
    with_holes(case)
    path = save_mask(case, tmp_path / "rt.dcm", form="rtstruct")[0]
    assert is_rtstruct(path)
    array, labels = read_mask(path, open_case(tmp_path / "s"))
    assert np.array_equal(array, case.label_map.array)
    assert labels is not None and [x.name for x in labels] == ["wall", "lumen"]


def test_tilted_gapped_and_multi_frame_series_too(tmp_path):
    plain(step=(0, 0.7, 2.4)).write(tmp_path / "tilt")
    plain().write(tmp_path / "gap", skip=(2,))
    (tmp_path / "e").mkdir()
    plain().enhanced([3, 0, 5, 1, 4, 2]).save_as(tmp_path / "e" / "e.dcm", enforce_file_format=True)
    for name in ("tilt", "gap", "e"):
        case = open_case(tmp_path / name)
        draw(case, (slice(3, 5), slice(0, 2), slice(3, 6)), (slice(0, 1), slice(3, 5), slice(0, 6)))
        path = save_mask(case, tmp_path / f"{name}.dcm", form="rtstruct")[0]
        assert np.array_equal(read_mask(path, case)[0], case.label_map.array), name


def test_slices_that_lie_unevenly_keep_their_own_places(tmp_path):
    series = plain()
    for n, z in enumerate((100.0, 103.0, 108.0, 113.0, 114.5, 120.0)):
        (tmp_path / "s").mkdir(exist_ok=True)
        ds = series.dataset(n)
        ds.ImagePositionPatient = [-20.0, 15.0, z]
        ds.save_as(tmp_path / "s" / f"{n}.dcm", enforce_file_format=True)
    case = open_case(tmp_path / "s")
    assert not case.scan.is_even
    with_holes(case)
    path = save_mask(case, tmp_path / "rt.dcm", form="rtstruct")[0]
    assert np.array_equal(read_mask(path, case)[0], case.label_map.array)
    for name in ("m.nii.gz", "m.nrrd"):
        assert "DICOM SEG" in refused(save_mask, case, tmp_path / name)
    rows = (save_mask(case, tmp_path / "t.csv")[0]).read_text().splitlines()
    voxels = np.array([(case.label_map.array[n] == 1).sum() for n in range(6)])
    thick = np.array([3, 4, 5, 3.25, 3.5, 5.5])  # half-way to the neighbours
    assert f",{float(voxels @ thick) * 0.7 * 0.9 / 1000:.4f}," in rows[1]


def test_every_contour_lies_in_the_plane_of_the_image_it_names(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    with_holes(case)
    ds = dcmread(save_mask(case, tmp_path / "rt.dcm", form="rtstruct")[0])
    heights = {
        image.SOPInstanceUID: float(image.ImagePositionPatient[2])
        for image in map(dcmread, (tmp_path / "s").iterdir())
    }
    contours = [c for roi in ds.ROIContourSequence for c in roi.ContourSequence]
    for contour in contours:
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        assert contour.NumberOfContourPoints == len(points) >= 3
        assert set(points[:, 2]) == {
            heights[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        }
    series = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    listed = series.RTReferencedSeriesSequence[0].ContourImageSequence
    assert {item.ReferencedSOPInstanceUID for item in listed} == set(heights)


def test_an_outline_of_many_points_is_written_as_numbers_and_comes_back(tmp_path):
    """64 KB are 2000 points: an explicit element of numbers can't hold more (PS3.5 7.1.2)."""
    case = open_case(Series(np.zeros((2, 96, 96), np.int16)).write(tmp_path / "s"))
    comb = np.zeros((2, 96, 96), bool)
    comb[0, ::3] = comb[0, 1::3, ::2] = comb[0, :, 0] = True
    case.label_map.apply(case.label_map.make_edit(full_box(comb.shape), comb, 1, Origin.HAND))
    path = save_mask(case, tmp_path / "m.dcm", form="rtstruct")[0]
    contours = dcmread(path).ROIContourSequence[0].ContourSequence
    assert all(item["ContourData"].VR == "DS" for item in contours)
    array, _ = read_mask(path, case)
    assert np.array_equal(array, comb)


def test_who_drew_it_stands_in_the_structure_set(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    draw(case, np.s_[0:2, 0:3, 0:3], origin=Origin.MODEL)
    model = ModelUse("a model", "ab" * 32, "", 0, None)
    ds = dcmread(save_mask(case, tmp_path / "rt.dcm", form="rtstruct", model=model)[0])
    roi = ds.StructureSetROISequence[0]
    assert (roi.ROIGenerationAlgorithm, roi.ROIGenerationDescription) == ("AUTOMATIC", "a model")
    assert ds.ApprovalStatus == "UNAPPROVED" and ds.PatientID == "CANARY-4711"


def test_structures_that_overlap_are_asked_about(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    draw(case, np.s_[0:2, 0:3, 0:3])
    path = save_mask(case, tmp_path / "rt.dcm", form="rtstruct")[0]
    copied_structure(path)
    with pytest.raises(ChoiceNeeded) as error:
        read_mask(path, case)
    assert error.value.about == "overlap"
    assert set(np.unique(read_mask(path, case, overlap="last")[0])) == {0, 2}


def test_a_contour_inside_another_is_a_hole_and_lines_are_left_out(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    draw(case, np.s_[1:2, 0:5, 0:6])
    path = save_mask(case, tmp_path / "rt.dcm", form="rtstruct")[0]
    ds = dcmread(path)
    contours = ds.ROIContourSequence[0].ContourSequence
    inner, line = (dcmread(path).ROIContourSequence[0].ContourSequence[0] for _ in range(2))
    points = np.array(inner.ContourData, dtype=float).reshape(-1, 3)
    middle = points.mean(axis=0)
    inner.ContourData = [f"{v:.4f}" for v in ((points - middle) * 0.3 + middle).reshape(-1)]
    line.ContourGeometricType = "OPEN_PLANAR"
    contours.extend([inner, line])
    ds.save_as(path)
    array, _ = read_mask(path, case)
    assert array[1, 2, 2] == array[1, 2, 3] == 0 and array[1, 0].all() and array[1, :, 0].all()


def test_a_structure_set_of_other_slices_is_refused(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    draw(case, np.s_[0:6, 0:3, 0:3])
    path = save_mask(case, tmp_path / "rt.dcm", form="rtstruct")[0]
    moved = open_case(plain(origin=(-20.0, 15.0, 101.0)).write(tmp_path / "moved"))
    assert "rt.dcm was drawn on other slices" in refused(read_mask, path, moved)
    whole = path.read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    assert "cut.dcm" in refused(read_mask, tmp_path / "cut.dcm", case)


def test_real_structure_sets(shared_folder):
    folder = shared_folder / "io" / "series" / "ct_rtstruct_rtutils"
    array, labels = read_mask(folder / "rt.dcm", open_case(folder))
    assert labels is not None and [x.name for x in labels] == ["ROI-1"]
    assert (array > 0).any(axis=(1, 2)).sum() == 1


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "eye.png"
    Image.fromarray(distinct((9, 12), np.uint8)).save(path)
    case = open_case(path)
    with_holes(case)
    return case


def test_labelme_holds_the_polygons_of_a_picture_and_opens_again(picture, tmp_path):
    path = save_mask(picture, tmp_path / "out" / "eye.json")[0]
    said = json.loads(path.read_text())
    assert said["imagePath"] == "eye.png" and said["imageData"] is None
    assert (said["imageHeight"], said["imageWidth"]) == (9, 12)
    assert {shape["label"] for shape in said["shapes"]} == {"wall", "lumen"}
    array, labels = read_mask(path, picture)
    assert np.array_equal(array, picture.label_map.array)
    assert labels is not None and [x.name for x in labels] == ["wall", "lumen"]
    save_mask(picture, path)  # its own file is replaced


def test_an_upright_picture_has_upright_polygons(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(distinct((9, 12), np.uint8)).save(tmp_path / "eye.jpg", exif=exif)
    case = open_case(tmp_path / "eye.jpg")
    draw(case, np.s_[0:1, 1:3, 2:7])
    path = save_mask(case, tmp_path / "eye.json")[0]
    said = json.loads(path.read_text())
    assert (said["imageHeight"], said["imageWidth"]) == (12, 9)
    assert np.array_equal(read_mask(path, case)[0], case.label_map.array)


def test_a_picture_drawn_by_labelme_opens(picture, tmp_path):
    square = [[2, 1], [6, 1], [6, 4], [2, 4]]
    shapes = [
        {"label": "a", "points": square, "shape_type": "polygon"},
        {"label": "b", "points": [[7, 5], [11, 8]], "shape_type": "rectangle"},
    ]
    said = {"version": "5.5.0", "shapes": shapes, "imageHeight": 9, "imageWidth": 12}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(said))
    array, labels = read_mask(path, picture)
    expected = np.zeros((9, 12), np.uint8)
    expected[1:4, 2:6], expected[5:8, 7:11] = 1, 2
    assert np.array_equal(array[0], expected)
    assert labels is not None and [x.name for x in labels] == ["a", "b"]
    shapes[1]["shape_type"] = "cuboid"
    path.write_text(json.dumps(said))
    assert "cuboid" in refused(read_mask, path, picture)
    shapes[1] = {"label": "b", "points": [[1, 2], [float("nan"), 3]], "shape_type": "rectangle"}
    path.write_text(json.dumps(said))
    assert "without coordinates" in refused(read_mask, path, picture)
    path.write_text(json.dumps({**said, "imageWidth": 13}))
    assert "13 x 9 pixels; eye has 12 x 9" in refused(read_mask, path, picture)
    volume = open_case(write_nifti(tmp_path / "a.nii", distinct((4, 5, 6)), np.eye(4)))
    assert "a is a scan" in refused(read_mask, path, volume)
    for text in ("[]", "{", '{"format": "sdseg-manifest"}'):
        path.write_text(text)
        assert "x.json" in refused(read_mask, path, picture)


def stamp(values):
    """As labelme keeps a mask."""
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_masks_turned_rectangles_and_lines_of_newer_labelme_files(picture, tmp_path):
    part = np.array([[1, 0, 1], [1, 1, 0]], np.uint8)
    square = [[4, 5], [6, 3], [8, 5], [6, 7]]
    shapes = [
        {"label": "a", "points": [[1, 2], [3, 3]], "shape_type": "mask", "mask": stamp(part)},
        {
            "label": "b",
            "points": [[10.9, 8], [12, 9]],
            "shape_type": "mask",
            "mask": stamp(part > 0),
        },
        {"label": "c", "points": square, "shape_type": "oriented_rectangle"},
        {"label": "c", "points": [[0, 0], [9, 0], [9, 2]], "shape_type": "linestrip"},
        {"label": "c", "points": [[0, 0], [9, 0]], "shape_type": "line"},
    ]
    said = {"shapes": shapes, "imageHeight": 9, "imageWidth": 12}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(said))
    told: list[str] = []
    array, _ = read_mask(path, picture, tell=told.append)
    rows, columns = np.indices((9, 12)) + 0.5
    expected = np.where(np.abs(rows - 5) + np.abs(columns - 6) <= 2, 3, 0)
    expected[2:4, 1:4], expected[8, 10] = part, 2
    assert np.array_equal(array[0], expected)
    assert told == ["2 of the 5 shapes in x.json mark no pixel."]
    for damaged in ("no PNG", stamp(np.ones((9, 13), np.uint8))):
        shapes[0]["mask"] = damaged
        path.write_text(json.dumps(said))
        assert "x.json can't be read" in refused(read_mask, path, picture)


def test_other_shapes_of_labelme_open_too(picture, tmp_path):
    corners = [[7, 5], [11, 5], [11, 8], [7, 8]]
    shapes = [
        {"label": "disc", "points": [[4, 4], [4, 1]], "shape_type": "circle"},
        {"label": "b", "points": corners, "shape_type": "rectangle"},
        {"label": "b", "points": [[2, 2]], "shape_type": "point"},
        {"label": "b", "points": [[90, 2], [95, 2], [95, 9]], "shape_type": None},
    ]
    said = {"shapes": shapes, "imageHeight": 9, "imageWidth": 12}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(said), encoding="utf-8-sig")
    told: list[str] = []
    array, _ = read_mask(path, picture, tell=told.append)
    rows, columns = np.indices((9, 12)) + 0.5
    expected = (np.hypot(rows - 4, columns - 4) < 3).astype(np.uint8)
    expected[5:8, 7:11] = 2
    assert np.array_equal(array[0], expected)
    assert told == ["2 of the 4 shapes in x.json mark no pixel."]


def test_pillow_draws_the_polygons_as_they_were_meant(tmp_path):
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:40, 20:70] = True
    mask[20:30, 30:50] = False
    Image.fromarray(distinct((60, 80), np.uint8)).save(tmp_path / "p.png")
    case = open_case(tmp_path / "p.png")
    case.label_map.apply(
        case.label_map.make_edit(full_box((1, 60, 80)), mask[None], 1, Origin.HAND)
    )
    said = json.loads(save_mask(case, tmp_path / "p.json")[0].read_text())
    drawn = Image.new("1", (80, 60))
    for shape in said["shapes"]:
        points = [(x - 0.5, y - 0.5) for x, y in shape["points"]]  # Pillow counts from centres
        ImageDraw.Draw(drawn).polygon(points, fill=1)
    both = (np.asarray(drawn) & mask).sum()
    assert 2 * both / (np.asarray(drawn).sum() + mask.sum()) > 0.95


def test_scans_have_no_labelme_and_pictures_no_structure_set(picture, tmp_path):
    text = refused(save_mask, picture, tmp_path / "m.dcm", form="rtstruct")
    assert "only a mask of a DICOM scan" in text and "NIfTI" in text
    volume = open_case(write_nifti(tmp_path / "a.nii", distinct((4, 5, 6)), np.eye(4)))
    assert "labelme knows pictures" in refused(save_mask, volume, tmp_path / "m.json")
    assert "can't be written as rtstruct" in refused(
        save_mask, picture, tmp_path / "m.png", form="rtstruct"
    )
    assert not (tmp_path / "m.json").exists() and not (tmp_path / "m.manifest.json").exists()
