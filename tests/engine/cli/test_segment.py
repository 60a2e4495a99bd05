"""`segment` from its arguments to its files, with a real, tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import ExifTags, Image

from engine.domain.manifest import RESEARCH_USE
from engine.models.schema import TargetEntry
from engine.models.store import read_entry
from tests.engine.cli.calls import (
    SEED,
    noise,
    picture,
    pixels,
    refused,
    sdseg,
    volume,
    voxels,
)
from tests.engine.io.phantoms import Series, axis_order_affine, sha256_of
from tests.tiny_model import save_tiny


def segment(*words: object) -> int:
    return sdseg("segment", *words)


# What is written


def test_a_picture_becomes_a_png_of_label_values_on_its_own_grid(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "eye.jpg")
    before = sha256_of(source)
    assert segment(source, "--model", model, "--output", tmp_path / "out" / "m.png") == 0
    mask = pixels(tmp_path / "out" / "m.png")
    assert mask.shape == (50, 70) and mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1} and 0.2 < mask.mean() < 0.8
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["m.manifest.json", "m.png"]
    assert sha256_of(source) == before
    printed = capsys.readouterr()
    assert f"disc {mask.sum()} pixels" in printed.out and RESEARCH_USE in printed.out
    assert printed.err == ""


def test_a_folder_gives_one_mask_of_the_same_stem_for_each_input(
    model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scans"
    for name in ("a.png", "eye.v2.jpg", "Ärztin 3.bmp"):
        picture(folder / name)
    volume(folder / "head.nii.gz")
    assert segment(folder, "--model", model, "--output", tmp_path / "masks") == 0
    written = {p.name for p in (tmp_path / "masks").iterdir()}
    masks = {"a.png", "eye.v2.png", "Ärztin 3.png", "head.nii.gz"}
    stems = {"a", "eye.v2", "Ärztin 3", "head"}
    assert written == masks | {f"{stem}.manifest.json" for stem in stems}


def test_masks_beside_their_inputs_are_not_taken_for_inputs(model: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "eye.png")
    words = (tmp_path, "--model", model, "--overlay", "--json", tmp_path / "r.json")
    assert segment(source, "--model", model, "--output", tmp_path / "m.png", "--overlay") == 0
    assert segment(*words, "--output", tmp_path / "masks") == 0
    cases = json.loads((tmp_path / "r.json").read_text())["cases"]
    assert [Path(case["input"]).name for case in cases] == ["eye.png"]


@pytest.mark.parametrize("name", ["head.nii.gz", "head.nii"])
def test_a_nifti_keeps_affine_shape_and_codes(model: Path, tmp_path: Path, name: str) -> None:
    affine = axis_order_affine((1, 2, 0), (1, -1, -1), (4, 5, 6), (0.8, 1.3, 2.1))
    source = volume(tmp_path / name, affine, (9, 12, 7))
    target = tmp_path / "masks" / name
    assert segment(source, "--model", model, "--output", target) == 0
    scan, mask = nib.load(source), nib.load(target)
    assert mask.shape == scan.shape and mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, scan.affine)
    for code in ("sform_code", "qform_code", "xyzt_units"):
        assert mask.header[code] == scan.header[code]
    assert set(np.unique(voxels(target))) == {0, 1}


def test_a_dicom_folder_becomes_a_nifti_in_the_same_place(model: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 900, (4, 20, 24)).astype(np.int16)
    series = Series(values)
    source = series.write(tmp_path / "Canary Cuthbert")
    box = "--roi", "5,2,9,4,1,3"  # columns, rows, slices
    assert (
        segment(source, "--model", model, "--threshold", 0, *box, "--output", tmp_path / "m") == 0
    )
    names = [p.name for p in (tmp_path / "m").iterdir()]
    assert len(names) == 2 and not any("canary" in name.casefold() for name in names)
    mask = next((tmp_path / "m").glob("*.nii.gz"))
    found = np.argwhere(voxels(mask)) @ nib.load(mask).affine[:3, :3].T
    found = np.round(found + nib.load(mask).affine[:3, 3], 3)
    expected = []
    for n, row, column in np.ndindex(2, 2, 4):
        place = series.position(n + 1) + (row + 2) * 0.7 * np.array(series.column)
        place = place + (column + 5) * 0.9 * np.array(series.row)
        expected.append(tuple(np.round(place * (-1, -1, 1), 3)))
    assert set(map(tuple, found)) == set(expected)
    text = next((tmp_path / "m").glob("*.manifest.json")).read_text().casefold()
    assert "canary" not in text and "cuthbert" not in text


def test_one_series_of_several_is_chosen_by_its_number(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(3).integers(0, 900, (3, 20, 24)).astype(np.int16)
    Series(values, number=3).write(tmp_path / "ct")
    other = Series(values[:, :16], number=4)
    other.write(tmp_path / "ct", names=[f"other{n}.dcm" for n in range(3)])
    words = (tmp_path / "ct", "--model", model, "--output", tmp_path / "m.nii.gz")
    assert "2 series" in refused(capsys, "segment", *words)
    assert segment(*words, "--series", 4) == 0
    assert voxels(tmp_path / "m.nii.gz").shape == (24, 16, 3)


def test_a_turned_photograph_keeps_its_stored_order_and_its_tag(
    model: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise(0)).save(tmp_path / "phone.jpg", exif=exif)
    assert segment(tmp_path / "phone.jpg", "--model", model, "--output", tmp_path / "m.png") == 0
    with Image.open(tmp_path / "m.png") as mask:
        assert mask.size == (70, 50) and mask.getexif()[ExifTags.Base.Orientation] == 6


def test_class_ids_are_written_and_1_for_a_named_target(tmp_path: Path) -> None:
    entry = save_tiny(
        tmp_path / "model",
        SEED,
        classes={3: "rim"},
        targets=(TargetEntry(name="disc", class_ids=(3,)),),
    )
    words = (picture(tmp_path / "a.png"), "--model", entry.folder, "--output")
    assert segment(*words, tmp_path / "ids.png") == 0
    assert segment(*words, tmp_path / "target.png", "--target", "disc") == 0
    ids, target = pixels(tmp_path / "ids.png"), pixels(tmp_path / "target.png")
    assert set(np.unique(ids)) == {0, 3} and np.array_equal(ids == 3, target == 1)
    assert set(np.unique(target)) == {0, 1}
    for name, labels in (("ids", {"3": "rim"}), ("target", {"1": "disc"})):
        manifest = json.loads((tmp_path / f"{name}.manifest.json").read_text())
        assert manifest["labels"] == labels


def test_the_manifest_says_who_made_the_mask_and_how(model: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "eye.png")
    words = ("--model", model, "--seed", 5, "--threshold", 0.45, "--samples", 2)
    assert segment(source, *words, "--output", tmp_path / "m.png") == 0
    manifest = json.loads((tmp_path / "m.manifest.json").read_text())
    total = int(pixels(tmp_path / "m.png").sum())
    assert manifest["source"] == "eye.png" and manifest["labels"] == {"1": "disc"}
    assert manifest["voxels"] == {"1": {"total": total, "hand": 0, "model": total}}
    assert manifest["notice"] == RESEARCH_USE and manifest["review"] != "approved"
    used = manifest["model"]
    assert used["name"] == "tiny" and used["sha256"] == read_entry(model).sha256
    assert (used["seed"], used["threshold"], used["samples"]) == (5, 0.45, 2)
    assert (used["device"], used["precision"], used["batch"]) == ("cpu", "fp32", 1)
    assert str(tmp_path) not in json.dumps(manifest)


def test_the_json_holds_all_that_is_promised(model: Path, tmp_path: Path) -> None:
    source = volume(tmp_path / "head.nii.gz")
    target = tmp_path / "m.nii.gz"
    words = ("--model", model, "--device", "cpu", "--seed", 3, "--json", tmp_path / "r.json")
    assert segment(source, *words, "--output", target) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["outputs"] == [str(target)]
    assert report["model"] == {"name": "tiny", "sha256": read_entry(model).sha256}
    assert (report["device"], report["precision"], report["seed"]) == ("cpu", "fp32", 3)
    assert report["slices"] == 5 and "failed" not in report
    seconds = report["seconds"]
    assert set(seconds) == {"load", "total", "encode", "unet", "decode", "per_slice"}
    assert all(value > 0 for value in seconds.values())
    assert seconds["total"] >= seconds["encode"] + seconds["unet"] + seconds["decode"]
    assert seconds["per_slice"] * 5 <= seconds["total"]
    case = report["cases"][0]
    count = int(voxels(target).sum())
    assert case["found"]["disc"] == {"voxels": count, "ml": pytest.approx(count * 0.003)}


def test_the_overlay_is_coloured_only_where_the_mask_is(model: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "eye.png")
    words = ("--model", model, "--overlay", "--json", tmp_path / "r.json")
    assert segment(source, *words, "--output", tmp_path / "m.png") == 0
    overlay, mask = pixels(tmp_path / "m.overlay.png"), pixels(tmp_path / "m.png") > 0
    original = pixels(source)
    assert overlay.shape == (50, 70, 3)
    assert np.array_equal(overlay[~mask], original[~mask])
    assert (overlay[mask] != original[mask]).any(axis=1).mean() > 0.95
    files = json.loads((tmp_path / "r.json").read_text())["cases"][0]["files"]
    assert {Path(f).name for f in files} == {"m.png", "m.overlay.png", "m.manifest.json"}
    assert all(Path(f).is_file() for f in files)


def test_probabilities_of_a_volume_agree_with_its_mask(model: Path, tmp_path: Path) -> None:
    source = volume(tmp_path / "head.nii.gz")
    chance, mask = tmp_path / "p" / "chance.nii.gz", tmp_path / "m.nii.gz"
    words = ("--model", model, "--threshold", 0.6, "--probability", chance)
    assert segment(source, *words, "--output", mask) == 0
    values = voxels(chance)
    assert nib.load(chance).get_data_dtype() == np.float32
    assert np.array_equal(nib.load(chance).affine, nib.load(source).affine)
    assert 0 <= values.min() < 0.6 < values.max() <= 1
    assert np.array_equal(values > np.float32(0.6), voxels(mask) == 1)


def test_probabilities_of_pictures_are_16_bit_and_agree_with_their_masks(
    model: Path, tmp_path: Path
) -> None:
    for n in range(2):
        picture(tmp_path / "in" / f"{n}.png", noise(n))
    words = ("--model", model, "--output", tmp_path / "m", "--probability", tmp_path / "p")
    assert segment(tmp_path / "in", *words) == 0
    for n in range(2):
        steps = pixels(tmp_path / "p" / f"{n}.png")
        assert steps.shape == (50, 70) and steps.max() > 255
        assert np.array_equal(steps > 32767, pixels(tmp_path / "m" / f"{n}.png") == 1)


def test_a_stability_map_is_written_where_samples_differ(model: Path, tmp_path: Path) -> None:
    source, spread = volume(tmp_path / "head.nii.gz"), tmp_path / "spread.nii.gz"
    words = ("--model", model, "--output", tmp_path / "m.nii.gz", "--samples", 4)
    assert segment(source, *words, "--stability-map", spread) == 0
    values = voxels(spread)
    assert nib.load(spread).get_data_dtype() == np.float32
    assert np.array_equal(nib.load(spread).affine, nib.load(source).affine)
    assert 0 <= values.min() < values.max() <= 0.5
    manifest = json.loads((tmp_path / "m.manifest.json").read_text())
    assert manifest["model"]["samples"] == 4
    assert (manifest["model"]["fit"], manifest["model"]["size"]) == ("squeeze", 64)


def test_the_manifest_tells_what_shaped_the_mask(fitted: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "eye.png", noise(0))
    words = ("--model", fitted, "--output", tmp_path / "m.png", "--threshold", 0.7)
    assert segment(source, *words, "--roi", "4,6,30,40", "--window", "100,180") == 0
    manifest = json.loads((tmp_path / "m.manifest.json").read_text())
    used = manifest["model"]
    assert used["box"] == [[0, 6, 4], [1, 40, 30]] and used["window"] == [100.0, 180.0]
    assert used["threshold"] == 0.7 and used["plane"] == 0
    assert manifest["review"] == "proposed"


def test_a_model_that_does_not_fit_is_noted_in_the_manifest(fitted: Path, tmp_path: Path) -> None:
    source = volume(tmp_path / "head.nii.gz")
    assert segment(source, "--model", fitted, "--output", tmp_path / "m.nii.gz") == 0
    manifest = json.loads((tmp_path / "m.manifest.json").read_text())
    assert any("may not fit head" in warning for warning in manifest["warnings"])


def test_one_sample_has_no_stability_map(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = volume(tmp_path / "head.nii.gz")
    words = ("--model", model, "--output", tmp_path / "m", "--stability-map", tmp_path / "s.nii")
    assert segment(source, *words) == 2
    assert "--samples" in capsys.readouterr().err


# Part of the scan


@pytest.mark.parametrize(
    ("order", "signs"), [((0, 1, 2), (-1, -1, 1)), ((1, 2, 0), (1, -1, -1)), ((2, 0, 1), (1, 1, 1))]
)
def test_the_box_counts_along_the_file_s_own_axes(
    model: Path, tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    source = volume(tmp_path / "head.nii.gz", axis_order_affine(order, signs), (9, 12, 7))
    words = ("--model", model, "--threshold", 0, "--roi", "1,3,6,11,2,5")
    assert segment(source, *words, "--output", tmp_path / "m.nii.gz") == 0
    expected = np.zeros((9, 12, 7), dtype=np.uint8)
    expected[1:6, 3:11, 2:5] = 1
    assert np.array_equal(voxels(tmp_path / "m.nii.gz"), expected)


def test_the_box_of_a_picture_is_columns_then_rows(model: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "eye.png")
    words = ("--model", model, "--threshold", 0, "--roi", "10,5,60,25")
    assert segment(source, *words, "--output", tmp_path / "m.png") == 0
    expected = np.zeros((50, 70), dtype=np.uint8)
    expected[5:25, 10:60] = 1
    assert np.array_equal(pixels(tmp_path / "m.png"), expected)


def test_a_box_gives_what_the_cropped_picture_gives(model: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "eye.png")
    crop = picture(tmp_path / "crop.png", noise(0)[5:45, 10:60])
    box = ("--roi", "10,5,60,45")
    assert segment(source, "--model", model, *box, "--output", tmp_path / "whole.png") == 0
    assert segment(crop, "--model", model, "--output", tmp_path / "part.png") == 0
    part = pixels(tmp_path / "part.png")
    assert np.array_equal(pixels(tmp_path / "whole.png")[5:45, 10:60], part) and part.any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_counted_along_the_plane_of_acquisition(
    model: Path, tmp_path: Path, axis: int
) -> None:
    spacing = np.ones(3)
    spacing[axis] = 4.0
    affine = np.diag([*(spacing * (-1, -1, 1)), 1.0])
    source = volume(tmp_path / "head.nii.gz", affine, (8, 9, 10))
    words = ("--model", model, "--threshold", 0, "--slices", "2:5", "--json", tmp_path / "r.json")
    assert segment(source, *words, "--output", tmp_path / "m.nii.gz") == 0
    expected = np.zeros((8, 9, 10), dtype=np.uint8)
    expected[(slice(None),) * axis + (slice(2, 5),)] = 1
    assert np.array_equal(voxels(tmp_path / "m.nii.gz"), expected)
    assert json.loads((tmp_path / "r.json").read_text())["slices"] == 3


def test_another_plane_cuts_the_volume_another_way(model: Path, tmp_path: Path) -> None:
    source = volume(tmp_path / "head.nii.gz")
    coronal = save_tiny(tmp_path / "coronal", SEED, plane="coronal").folder
    words = ("--json", tmp_path / "r.json", "--output")
    assert segment(source, "--model", model, *words, tmp_path / "axial.nii") == 0
    assert segment(source, "--model", coronal, *words, tmp_path / "own.nii") == 0
    assert segment(source, "--model", model, "--plane", "coronal", *words, tmp_path / "p.nii") == 0
    assert json.loads((tmp_path / "r.json").read_text())["slices"] == 20
    asked, own = voxels(tmp_path / "p.nii"), voxels(tmp_path / "own.nii")
    assert np.array_equal(asked, own) and not np.array_equal(asked, voxels(tmp_path / "axial.nii"))


def test_slices_of_a_volume_cut_another_way_are_still_those_of_its_own_plane(
    model: Path, tmp_path: Path
) -> None:
    source = volume(tmp_path / "head.nii.gz")
    words = ("--model", model, "--threshold", 0, "--plane", "sagittal", "--slices", "1:3")
    assert segment(source, *words, "--output", tmp_path / "m.nii.gz") == 0
    mask = voxels(tmp_path / "m.nii.gz")
    assert mask[:, :, 1:3].all() and mask.sum() == 24 * 20 * 2


def test_a_slice_missing_in_a_series_is_empty_in_every_plane(model: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 900, (7, 20, 24)).astype(np.int16)
    source = Series(values).write(tmp_path / "ct", skip=(2,))
    for plane in ("axial", "coronal", "sagittal"):
        files = ("--output", tmp_path / f"{plane}.nii", "--probability", tmp_path / "p.nii")
        words = ("--model", model, "--threshold", 0, "--plane", plane)
        assert segment(source, *words, *files) == 0
        for file in (files[1], files[3]):
            found = voxels(file).any(axis=(0, 1))
            assert found.sum() == 6 and not found[2]


def test_a_chosen_window_replaces_the_model_s_rule(model: Path, tmp_path: Path) -> None:
    source = volume(tmp_path / "head.nii.gz")
    chances = []
    for name, words in (("own", ()), ("dark", ("--window", "2000,100"))):
        files = ("--output", tmp_path / f"{name}.nii", "--probability", tmp_path / f"p{name}.nii")
        assert segment(source, "--model", model, *words, *files) == 0
        chances.append(voxels(tmp_path / f"p{name}.nii"))
    assert np.abs(chances[0] - chances[1]).max() > 0.01
    # Below the window everything is black: all slices look the same.
    assert np.array_equal(chances[1][:, :, 0], chances[1][:, :, 4])


# Equal bytes


@pytest.mark.parametrize("name", ["m.png", "m.nii.gz"])
def test_equal_seeds_give_equal_bytes(model: Path, tmp_path: Path, name: str) -> None:
    is_picture = name == "m.png"
    source = picture(tmp_path / "a.png") if is_picture else volume(tmp_path / "a.nii.gz")
    for run, seed in (("first", 4), ("second", 4), ("third", 5)):
        files = ("--output", tmp_path / run / name, "--probability", tmp_path / run / f"p{name}")
        assert segment(source, "--model", model, "--seed", seed, *files) == 0
    first, second, third = (sha256_of(tmp_path / run) for run in ("first", "second", "third"))
    assert first == second and first[f"p{name}"] != third[f"p{name}"]


def test_neither_the_order_nor_the_neighbours_change_a_byte(model: Path, tmp_path: Path) -> None:
    for n in range(3):
        picture(tmp_path / "up" / f"{n}.png", noise(n, 50 + n, 70))
        picture(tmp_path / "down" / f"{n}.png", noise(2 - n, 52 - n, 70))
    picture(tmp_path / "alone" / "0.png", noise(0))
    for name in ("up", "down", "alone"):
        words = ("--model", model, "--output", tmp_path / f"{name}-masks", "--batch", 2)
        assert segment(tmp_path / name, *words) == 0
    for n in range(3):
        one = (tmp_path / "up-masks" / f"{n}.png").read_bytes()
        assert one == (tmp_path / "down-masks" / f"{2 - n}.png").read_bytes()
    alone = (tmp_path / "alone-masks" / "0.png").read_bytes()
    assert alone == (tmp_path / "up-masks" / "0.png").read_bytes()
