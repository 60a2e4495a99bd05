"""`convert`: every format out of every format, on the grid of the scan."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from engine.domain.label_map import LabelMap, Origin
from engine.domain.manifest import ModelUse
from engine.io import open_case, read_mask, save_mask, write_labels
from engine.io.listing import manifest_of
from engine.io.manifests import read_manifest
from tests.engine.cli.calls import picture, pixels, refused, sdseg, volume
from tests.engine.io.phantoms import (
    Series,
    distinct,
    draw,
    plain,
    sha256_of,
    two_segments,
    write_nifti,
)

ENDINGS = ("m.nii.gz", "m.nii", "m.nrrd", "m.mha", "m.dcm", "rt.dcm", "pngs")


@pytest.fixture
def ct(tmp_path):
    """A CT of 6 slices with two labels."""
    case = open_case(plain().write(tmp_path / "ct"))
    draw(case, np.s_[0:2, 1:4, 0:2], np.s_[3:5, 0:2, 3:6])
    return case


def convert(mask, like, output, *options) -> int:
    form = ("--as", "rtstruct") if output.name.startswith("rt") else ()
    return sdseg("convert", mask, "--like", like, "--output", output, *form, *options)


def said(capsys, *words) -> str:
    """All that a refused call says, hint and all."""
    assert sdseg(*words) == 1
    text = capsys.readouterr().err
    assert text.startswith("error: ") and "Traceback" not in text
    return text


def test_any_format_becomes_any_other_on_the_same_voxels(ct, tmp_path):
    before = sha256_of(tmp_path / "ct")
    made = [tmp_path / "a" / name for name in ENDINGS]
    for path in made:
        save_mask(ct, path, form="rtstruct" if path.name == "rt.dcm" else "")
        (path.parent / f"{path.name.split('.')[0]}.manifest.json").unlink(missing_ok=True)
    for first, second in zip(made, [*made[1:], made[0]], strict=True):
        output = tmp_path / "b" / second.name
        assert convert(first, tmp_path / "ct", output) == 0, (first, second)
        assert np.array_equal(read_mask(output, ct)[0], ct.label_map.array), (first, second)
    assert sha256_of(tmp_path / "ct") == before


@pytest.mark.parametrize("name", ["m.dcm", "rt.dcm", "m.json"])
def test_a_label_keeps_name_and_number_where_only_it_is_drawn(ct, tmp_path, name):
    """DICOM and labelme number what is drawn from 1 on; the second label is not the first then."""
    case, like = ct, tmp_path / "ct"
    if name == "m.json":
        like = tmp_path / "eye.png"
        Image.fromarray(distinct((9, 12), np.uint8)).save(like)
        case = open_case(like)
        draw(case, np.s_[0:1, 2:5, 3:9], np.s_[0:1, 6:8, 1:3])
    case.labels = case.labels.changed(1, name="liver").changed(2, name="tumour")
    second = case.label_map.array * (case.label_map.array == 2)
    case.label_map = LabelMap(case.scan.grid.shape, case.scan.plane, second)
    made = save_mask(case, tmp_path / name, form="rtstruct" if name == "rt.dcm" else "")
    array, labels = read_mask(made[0], case)
    assert np.array_equal(array, case.label_map.array)
    assert [(label.id, label.name) for label in labels] == [(1, "liver"), (2, "tumour")]
    made[-1].unlink()  # without the manifest the number is lost, the name is not
    array, labels = read_mask(made[0], case)
    assert [(label.id, label.name) for label in labels] == [(1, "tumour")] and array.max() == 1


def test_a_manifest_of_another_file_of_the_same_name_names_nothing(tmp_path):
    Image.fromarray(distinct((9, 12), np.uint8)).save(tmp_path / "eye.png")
    case = open_case(tmp_path / "eye.png")
    draw(case, np.s_[0:1, 2:5, 3:9])
    foreign = tmp_path / "m.json"
    save_mask(case, foreign)
    foreign.write_text(foreign.read_text().replace("part 1", "cup"))
    _, labels = read_mask(foreign, case)
    assert [label.name for label in labels] == ["cup"]


def test_what_is_known_of_who_drew_it_stays_in_the_manifest(tmp_path):
    ct = open_case(plain().write(tmp_path / "ct"))
    draw(ct, np.s_[5:6, 2:4, 2:4], np.s_[0:2, 1:4, 0:2], origin=Origin.MODEL)
    model = ModelUse("ct-abdomen", "ab" * 32, "", 0, 0.5)
    made = save_mask(ct, tmp_path / "m.nii.gz", model=model)
    before = read_manifest(made[-1])
    assert before is not None and before.model == model and before.voxels[1]["model"] == 4
    for name in ("m.nrrd", "other.nii", "other.dcm"):
        assert convert(made[0], tmp_path / "ct", tmp_path / name) == 0
        after = read_manifest(manifest_of(tmp_path / name))
        assert after == replace(before, warnings=after.warnings)
    assert dcmread(tmp_path / "other.dcm").SegmentSequence[0].SegmentAlgorithmName == "ct-abdomen"
    less = ct.label_map.array.copy()
    less[5] = 0  # no longer the same mask
    write_labels(less, ct.scan, ct.source, made[0])
    assert convert(made[0], tmp_path / "ct", tmp_path / "less.nii") == 0
    assert read_manifest(tmp_path / "less.manifest.json").model is None


def test_a_mask_of_several_time_points_is_refused_in_one_line(ct, tmp_path, capsys):
    mask = write_nifti(tmp_path / "m4.nii", np.zeros((6, 5, 6, 3), np.uint8), np.eye(4))
    words = ("convert", mask, "--like", tmp_path / "ct", "--output", tmp_path / "o.nii")
    assert "holds several time points; a mask has one" in said(capsys, *words)


@pytest.mark.parametrize("name", ["o.mhd", "o.hdr", "o.jpg", "o.TIF", "o.nhdr", "o.img"])
def test_an_ending_that_no_mask_has_is_no_folder(ct, tmp_path, capsys, name):
    mask = save_mask(ct, tmp_path / "m.nii")[0]
    words = ("convert", mask, "--like", tmp_path / "ct", "--output", tmp_path / name)
    assert "No mask is written as" in said(capsys, *words) and not (tmp_path / name).exists()


def test_the_report_and_the_manifest_say_what_was_written(ct, tmp_path, capsys):
    mask, output = tmp_path / "m.nrrd", tmp_path / "out.dcm"
    save_mask(ct, mask)
    assert convert(mask, tmp_path / "ct", output, "--json", tmp_path / "r.json") == 0
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["outputs"] == [str(output)]
    assert told["labels"] == [
        {"value": 1, "name": "part 1", "voxels": 12},
        {"value": 2, "name": "part 2", "voxels": 12},
    ]
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["voxels"]["1"] == {"total": 12, "hand": 12, "model": 0}
    assert "part 1: 12 voxels" in capsys.readouterr().out


def test_a_table_tells_millilitres_and_square_millimetres(ct, tmp_path):
    save_mask(ct, tmp_path / "m.nii.gz")
    assert convert(tmp_path / "m.nii.gz", tmp_path / "ct", tmp_path / "t.csv") == 0
    with (tmp_path / "t.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["part 1", "part 2"]
    voxel = 0.7 * 0.9 * 2.5 / 1000
    assert float(rows[0]["volume_ml"]) == pytest.approx(12 * voxel, abs=1e-4)
    assert float(rows[0]["largest_area_mm2"]) == pytest.approx(6 * 0.7 * 0.9, abs=1e-3)
    assert (rows[1]["slices"], rows[1]["largest_slice"]) == ("2", "3")
    assert "Canary" not in (tmp_path / "t.csv").read_text()


def test_a_picture_has_pixels_and_a_share_but_no_millimetres(tmp_path):
    Image.fromarray(distinct((9, 12), np.uint8)).save(tmp_path / "eye.png")
    case = open_case(tmp_path / "eye.png")
    draw(case, np.s_[0:1, 2:5, 3:9])
    case.labels = case.labels.changed(1, name="=SUM(A1)")
    save_mask(case, tmp_path / "t.csv")
    (row,) = csv.DictReader((tmp_path / "t.csv").read_text().splitlines())
    assert (row["voxels"], row["share_of_picture"]) == ("18", f"{18 / 108:.6f}")
    assert row["volume_ml"] == row["largest_area_mm2"] == ""
    assert row["name"].startswith("'"), "no table program may take a name for a formula"


def test_a_table_of_nothing_says_so_and_is_replaced(tmp_path):
    case = open_case(write_nifti(tmp_path / "a.nii", distinct((4, 5, 6)), np.eye(4)))
    for _ in range(2):
        save_mask(case, tmp_path / "t.csv")
    (row,) = csv.DictReader((tmp_path / "t.csv").read_text().splitlines())
    assert (row["name"], row["voxels"]) == ("nothing is drawn", "0")


def test_another_grid_is_refused_and_resampled_where_asked(ct, tmp_path, capsys):
    half = ct.scan.grid.affine @ np.diag([0.5, 0.5, 0.5, 1])
    half[:3, 3] -= half[:3, :3].sum(axis=1) / 2  # eight voxels share the centre of one
    finer = write_nifti(tmp_path / "finer.nii.gz", distinct((12, 10, 12)), half)
    mask = save_mask(ct, tmp_path / "m.nii.gz")[0]
    text = said(capsys, "convert", mask, "--like", finer, "--output", tmp_path / "o.nii")
    assert "another grid" in text and "--resample" in text and not (tmp_path / "o.nii").exists()
    assert convert(tmp_path / "m.nii.gz", finer, tmp_path / "o.nii", "--resample") == 0
    array, _ = read_mask(tmp_path / "o.nii", open_case(finer))
    blocks = ct.label_map.array.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    assert np.array_equal(array, blocks)


def test_what_resampling_costs_is_told(ct, tmp_path, capsys):
    values = np.zeros((12, 10, 12), np.uint8)
    values[:8, :8, :8], values[9, 9, 9], values[8:10, 2:8, 9] = 1, 2, 3
    half = ct.scan.grid.affine @ np.diag([0.5, 0.5, 0.5, 1])
    mask = write_nifti(tmp_path / "m.nii.gz", values, half)
    scan = write_nifti(tmp_path / "s.nii.gz", distinct((6, 5, 6)), ct.scan.grid.affine)
    words = ("convert", mask, "--like", scan, "--output", tmp_path / "o.nii", "--resample")
    assert sdseg(*words) == 0
    text = capsys.readouterr().err
    assert "label 2 was lost, label 3 was lost" in text and "label 1" not in text


def test_overlaps_and_fractions_are_asked_about_by_option(tmp_path, capsys):
    blank = dict.fromkeys(
        ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyTime", "StudyID",
         "ReferringPhysicianName"), ""
    )  # fmt: skip
    case = open_case(plain(tags=blank).write(tmp_path / "ct"))
    first, second = np.zeros((2, 6, 5, 6), np.uint8)
    first[1:4], second[2:5] = 1, 1
    path = two_segments(tmp_path / "o.dcm", case, "BINARY", first, second)
    words = ("convert", path, "--like", tmp_path / "ct", "--output", tmp_path / "o.nii")
    text = said(capsys, *words)
    assert "s1 and s2 in 60 voxels" in text and "--overlap last: s2 gets them" in text
    assert sdseg(*words, "--overlap", "first") == 0
    as_png = ("--output", tmp_path / "o.png")  # what can't be written is said first
    assert "can hold one slice" in said(capsys, *words[:-2], *as_png)
    part = two_segments(tmp_path / "f.dcm", case, "FRACTIONAL", first * 0.6, second * 0.0)
    words = ("convert", part, "--like", tmp_path / "ct", "--output", tmp_path / "f.nii")
    assert "--threshold 0.5" in said(capsys, *words)
    assert sdseg(*words, "--threshold", "0.5") == 0


def test_wrong_usage_ends_with_2_and_what_can_t_be_with_1(ct, tmp_path, capsys):
    save_mask(ct, tmp_path / "m.nii.gz")
    mask, scan = tmp_path / "m.nii.gz", tmp_path / "ct"
    assert sdseg("convert", mask, "--output", tmp_path / "o.nii") == 2
    assert sdseg("convert", mask, "--like", scan, "--output", tmp_path / "o.nii", "--as", "x") == 2
    assert (
        sdseg("convert", mask, "--like", scan, "--output", tmp_path / "o", "--threshold", "0") == 2
    )
    words = ("convert", mask, "--like", scan, "--output")
    assert "can't be written as seg" in refused(capsys, *words, tmp_path / "o.nii", "--as", "seg")
    assert "labelme knows pictures" in refused(capsys, *words, tmp_path / "o.json")
    assert "never overwritten" in refused(capsys, *words, mask)
    assert "was not found" in refused(
        capsys, *words[:1], tmp_path / "no.nii", *words[2:], tmp_path / "o.nii"
    )


def test_who_drew_a_foreign_mask_is_not_claimed_to_be_known(ct, tmp_path):
    from pydicom import dcmread

    save_mask(ct, tmp_path / "m.nii.gz")
    assert convert(tmp_path / "m.nii.gz", tmp_path / "ct", tmp_path / "o.dcm") == 0
    segment = dcmread(tmp_path / "o.dcm").SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert segment.SegmentAlgorithmName == "unknown"


def test_deidentify_leaves_the_patient_out(ct, tmp_path):
    save_mask(ct, tmp_path / "m.nii.gz")
    assert convert(tmp_path / "m.nii.gz", tmp_path / "ct", tmp_path / "o.dcm", "--deidentify") == 0
    assert b"CANARY" not in (tmp_path / "o.dcm").read_bytes()
    assert convert(tmp_path / "m.nii.gz", tmp_path / "ct", tmp_path / "p.dcm") == 0
    assert b"CANARY" in (tmp_path / "p.dcm").read_bytes()


# The same formats out of `segment`


def test_a_series_becomes_a_dicom_seg_and_a_picture_polygons(model: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 900, (3, 20, 24)).astype(np.int16)
    Series(values).write(tmp_path / "ct")
    words = ("--model", model, "--output")
    assert sdseg("segment", tmp_path / "ct", *words, tmp_path / "m.nii.gz") == 0
    assert sdseg("segment", tmp_path / "ct", *words, tmp_path / "m.dcm", "--deidentify") == 0
    case = open_case(tmp_path / "ct")
    (first, _), (second, _) = (read_mask(tmp_path / n, case) for n in ("m.nii.gz", "m.dcm"))
    assert first.any() and np.array_equal(first, second)
    assert b"CANARY" not in (tmp_path / "m.dcm").read_bytes()
    source = picture(tmp_path / "eye.png")
    for name in ("e.png", "e.json", "e.csv"):
        assert sdseg("segment", source, *words, tmp_path / name) == 0
    polygons, _ = read_mask(tmp_path / "e.json", open_case(source))
    assert np.array_equal(polygons[0], pixels(tmp_path / "e.png"))
    assert f",{np.count_nonzero(polygons)}," in (tmp_path / "e.csv").read_text()


def test_polygons_of_a_volume_and_maps_as_a_table_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("segment", volume(tmp_path / "head.nii.gz"), "--model", model, "--output")
    assert "labelme knows pictures" in refused(capsys, *words, tmp_path / "m.json")
    for name in ("p.csv", "p.dcm", "p.json"):
        line = refused(capsys, *words, tmp_path / "m.nii", "--probability", tmp_path / name)
        assert f"can't be written as {Path(name).suffix}" in line
    assert [p.name for p in tmp_path.iterdir()] == ["head.nii.gz"]
