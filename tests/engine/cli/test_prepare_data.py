"""`prepare-data`: from tiny folders as the owners publish them to a folder that trains."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.cli.prepare_data import KINDS
from engine.evaluation.pairs import find_pairs, read_names
from engine.models.store import read_entry
from engine.training.layouts.prepare import DATA_SETS
from tests.engine.cli.calls import pixels, refused, sdseg, text_file, voxels
from tests.engine.io.phantoms import write_nifti
from tests.engine.training import owners

# A tenth of the real sets or less; `authors` needs whole ones.
SMALL: dict[str, Callable[[Path], Path]] = {
    "cvc": lambda folder: owners.cvc(folder, 58),
    "kvasir": lambda folder: owners.kvasir(folder, 20),
    "refuge2": lambda folder: owners.refuge2(folder, 5),
    "btcv": lambda folder: owners.btcv(folder, (1, 2, 5, 6, 7)),
    "sts3d": lambda folder: owners.sts3d(folder, (4, 5, 6, 10)),
}
TINY = ("--preset", "tiny", "--size", 64, "--steps", 2, "--batch", 2, "--warmup", 1,
        "--autoencoder-steps", 2, "--threads", 1, "--device", "cpu")  # fmt: skip


def prepared(folder: Path, kind: str, *more: Any) -> Path:
    """The data folder of a small source."""
    source = SMALL[kind](folder / "source")
    words = ("--output", folder / "data", "--split", "leak-free", *more)
    assert sdseg("prepare-data", kind, source, *words) == 0
    return folder / "data"


def stems(folder: Path) -> list[str]:
    return sorted(p.name.split(".")[0] for p in folder.iterdir())


def content(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def lists(data: Path) -> dict[str, list[str]]:
    return {name: read_names(data / f"{name}.txt") for name in ("train", "val", "test")}


def test_the_door_knows_every_data_set() -> None:
    assert set(DATA_SETS) == set(KINDS) == set(SMALL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_folder_holds_all_that_train_reads(kind: str, tmp_path: Path) -> None:
    data = prepared(tmp_path, kind, "--json", tmp_path / "r.json")
    names = {"images", "masks", "train.txt", "val.txt", "test.txt", "labels.json", "prepared.json"}
    assert {p.name for p in data.iterdir()} == names
    everything = sorted(name for cases in lists(data).values() for name in cases)
    assert stems(data / "images") == stems(data / "masks") == everything
    labels = json.loads((data / "labels.json").read_text())
    assert labels["0"] == "background" and {int(n) for n in labels} == {*range(len(labels))}
    record = json.loads((data / "prepared.json").read_text())
    assert record["cases"] == {name: len(cases) for name, cases in lists(data).items()}
    assert record["data_set"] == kind and set(record["classes"]) == set(labels.values()) - {
        "background"
    }
    assert json.loads((tmp_path / "r.json").read_text()) == record | {"output": str(data)}
    # Every class really occurs, and pictures and masks go together as training reads them.
    pairs = find_pairs(data / "images", data / "masks", everything)
    found = {int(n) for pair in pairs for n in np.unique(pair.read()[1])}
    assert found == {int(n) for n in labels} and len(pairs) == len(everything)


@pytest.mark.parametrize("kind", KINDS)
def test_the_source_is_read_only(kind: str, tmp_path: Path) -> None:
    source = SMALL[kind](tmp_path / "source")
    before = content(source)
    output = tmp_path / "data"
    assert sdseg("prepare-data", kind, source, "--output", output, "--split", "leak-free") == 0
    assert content(source) == before


@pytest.mark.parametrize("kind", ["btcv", "sts3d", "cvc"])
def test_a_whole_set_has_the_papers_counts(kind: str, tmp_path: Path) -> None:
    source = getattr(owners, kind)(tmp_path / "source")
    assert sdseg("prepare-data", kind, source, "--output", tmp_path / "data") == 0
    counts = {name: len(cases) for name, cases in lists(tmp_path / "data").items()}
    wanted = {"btcv": (16, 2, 12), "sts3d": (8, 1, 3), "cvc": (488, 62, 62)}[kind]
    assert tuple(counts.values()) == wanted


def test_polyp_frames_are_copied_and_masks_become_class_numbers(tmp_path: Path) -> None:
    data = prepared(tmp_path, "kvasir")
    original = tmp_path / "source" / "Kvasir-SEG" / "images" / "cju0007.jpg"
    assert (data / "images" / "cju0007.jpg").read_bytes() == original.read_bytes()
    assert (pixels(data / "masks" / "cju0007.png") == owners.frame(7)[1]).all()


def test_what_is_brighter_than_half_counts_as_polyp(tmp_path: Path) -> None:
    source = owners.cvc(tmp_path / "source", 58)
    shades = np.array([[0, 3, 128, 129], [255, 250, 127, 1]], dtype=np.uint8).repeat(4, axis=1)
    owners.save(source / "PNG" / "Ground Truth" / "5.png", shades.repeat(8, axis=0))
    words = ("--output", tmp_path / "d", "--split", "leak-free")
    assert sdseg("prepare-data", "cvc", source, *words) == 0
    made = pixels(tmp_path / "d" / "masks" / "5.png")[::8, ::4]
    assert (made == [[0, 0, 0, 1], [1, 1, 0, 0]]).all()


def test_tiffs_of_clinic_db_are_taken_as_they_are(tmp_path: Path) -> None:
    source = owners.cvc(tmp_path / "source", 58, ".tif")
    (source / "PNG").rename(source / "TIF")
    words = ("--output", tmp_path / "data", "--split", "leak-free")
    assert sdseg("prepare-data", "cvc", source, *words) == 0
    assert (pixels(tmp_path / "data" / "images" / "9.tif") == owners.frame(9)[0]).all()
    assert (pixels(tmp_path / "data" / "masks" / "9.png") == owners.frame(9)[1]).all()


def test_no_sequence_is_on_two_sides(tmp_path: Path) -> None:
    data = prepared(tmp_path, "cvc")
    sides = [{(int(n) - 1) * 29 // 58 for n in cases} for cases in lists(data).values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sum(map(len, sides)) == 29 and [len(c) for c in lists(data).values()] == [46, 6, 6]


def test_sequences_are_asked_for_rather_than_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = owners.cvc(tmp_path / "source", 58)
    table = (source / "metadata.csv").rename(tmp_path / "elsewhere.csv")
    words = ("prepare-data", "cvc", source, "--output", tmp_path / "data", "--split", "leak-free")
    assert "which frames are of one sequence" in refused(capsys, *words)
    assert sdseg(*words, "--groups", table) == 0


def test_disc_and_cup_are_cropped_to_the_disc(tmp_path: Path) -> None:
    source = owners.refuge2(tmp_path / "source", 5, side=40)
    corner = np.full((40, 40), 255, dtype=np.uint8)
    corner[31:37, 33:39], corner[33:35, 35:37] = 128, 0
    owners.save(source / "REFUGE-Test-GT" / "Disc_Cup_Masks" / "G" / "T0004.bmp", corner)
    words = ("--split", "leak-free", "--crop", 20)
    assert sdseg("prepare-data", "refuge2", source, "--output", tmp_path / "d", *words) == 0
    for name, at in (("T0003", None), ("T0004", (20, 20))):
        given = pixels(next(source.rglob(f"{name}.bmp")))
        rows, columns = np.nonzero(given < 255)
        # The square's own middle, unless the picture's edge is nearer.
        top, left = at or ((int(p.min() + p.max() + 1) // 2 - 10) for p in (rows, columns))
        top, left = max(top, 0), max(left, 0)
        window = (slice(top, top + 20), slice(left, left + 20))
        mask = pixels(tmp_path / "d" / "masks" / f"{name}.png")
        wanted = np.select([given == 0, given == 128], [2, 1], 0)
        assert (mask == wanted[window]).all() and (mask > 0).sum() == len(rows)
        image = np.asarray(Image.open(source / "Test400" / f"{name}.jpg"))
        assert (pixels(tmp_path / "d" / "images" / f"{name}.png") == image[window]).all()


def test_whole_fundus_photographs_stay_as_they_are(tmp_path: Path) -> None:
    data = prepared(tmp_path, "refuge2", "--crop", 0)
    original = tmp_path / "source" / "REFUGE-Validation400" / "V0002.jpg"
    assert (data / "images" / "V0002.jpg").read_bytes() == original.read_bytes()
    assert lists(data)["val"] == [f"V{n:04d}" for n in range(1, 6)]


def test_a_copy_that_is_cropped_already_has_red_discs_and_green_cups(tmp_path: Path) -> None:
    source = tmp_path / "Train_crop"
    for name in ("g0001_560_3,4", "V0001_560_3,4", "T0001_560_3,4"):
        mask = np.zeros((8, 8, 3), dtype=np.uint8)
        mask[1:6, 1:6, 0], mask[2:4, 2:4, 1] = 255, 255
        owners.save(source / "images" / f"{name}.png", owners.frame(1, 8)[0])
        owners.save(source / "masks" / f"{name}.png", mask)
    words = ("--output", tmp_path / "d", "--split", "leak-free")
    assert sdseg("prepare-data", "refuge2", source, *words) == 0
    made = pixels(tmp_path / "d" / "masks" / "T0001_560_3,4.png")
    assert (made == 2).sum() == 4 and (made == 1).sum() == 21


def test_volumes_keep_every_byte_and_every_class(tmp_path: Path) -> None:
    data = prepared(tmp_path, "btcv")
    training = tmp_path / "source" / "Abdomen" / "RawData" / "Training"
    for part, folder in (("img", "images"), ("label", "masks")):
        original = training / part / f"{part}0006.nii.gz"
        assert (data / folder / "0006.nii.gz").read_bytes() == original.read_bytes()
    assert set(np.unique(voxels(data / "masks" / "0006.nii.gz"))) == set(range(14))
    assert lists(data)["test"] == ["0001", "0002"]


def test_teeth_of_many_values_become_one_class_on_the_same_grid(tmp_path: Path) -> None:
    source = owners.sts3d(tmp_path / "source", (4, 5, 6, 10))
    file = source / "labelled" / "label" / "Teeth_0005_0000.nii.gz"
    many = voxels(file).astype(np.float32) * 11
    write_nifti(file, many, owners.AFFINE)
    words = ("--output", tmp_path / "d", "--split", "leak-free")
    assert sdseg("prepare-data", "sts3d", source, *words) == 0
    made = voxels(tmp_path / "d" / "masks" / "Teeth_0005.nii.gz")
    assert made.dtype == np.uint8 and (made == (many > 0)).all()
    assert lists(tmp_path / "d")["test"] == ["Teeth_0010"]


# Refusals


def lose(path: str) -> Callable[[Path], None]:
    return lambda source: (source / path).unlink()


def other(path: str, values: np.ndarray) -> Callable[[Path], None]:
    return lambda source: (owners.save(source / path, values), None)[1]


def moved_label(source: Path) -> None:
    shifted = owners.AFFINE.copy()
    shifted[0, 3] += 5
    label = source / "Abdomen" / "RawData" / "Training" / "label" / "label0006.nii.gz"
    write_nifti(label, voxels(label), shifted)


def wrong_class(source: Path) -> None:
    label = source / "Abdomen" / "RawData" / "Training" / "label" / "label0006.nii.gz"
    write_nifti(label, voxels(label) + np.uint8(1), owners.AFFINE)


def no_polyps(source: Path) -> None:
    for file in (source / "PNG" / "Ground Truth").iterdir():
        owners.save(file, (pixels(file) > 0).astype(np.uint8))


DISC = "Annotation-Training400/Disc_Cup_Masks/Non-Glaucoma/n0001.bmp"
REFUSALS: list[tuple[str, Callable[[Path], Any], str]] = [
    ("cvc", lose("PNG/Ground Truth/5.png"), "5.png has no mask"),
    ("cvc", lose("PNG/Original/5.png"), "mask 5.png in Ground Truth belongs to no picture"),
    ("cvc", other("PNG/Ground Truth/5.png", np.zeros((9, 16), np.uint8)), "5.png has 16 x 9"),
    ("cvc", lambda s: (s / "PNG/Original/5.png").write_bytes(b"no"), "5.png can't be read"),
    ("cvc", no_polyps, "No mask shows anything of CVC-ClinicDB"),
    ("cvc", lambda s: shutil.rmtree(s / "PNG"), "no folder Original beside a folder Ground Truth"),
    ("kvasir", lambda s: [p.unlink() for p in s.rglob("*.jpg")], "images holds no picture"),
    ("kvasir", other("Kvasir-SEG/images/cju0003.png", owners.frame(3)[0]), "is there twice"),
    ("refuge2", lambda s: [p.unlink() for p in s.rglob("T*.*")], "lacks a part of REFUGE2"),
    ("refuge2", other(DISC, np.full((16, 16), 200, np.uint8)), "n0001.bmp has the value 200"),
    ("refuge2", other(DISC, np.full((16, 16), 255, np.uint8)), "n0001.bmp shows no disc"),
    ("refuge2", other(DISC, np.zeros((16, 9), np.uint8)), "n0001.bmp has 9 x 16 pixels"),
    ("refuge2", lose(DISC), "n0001.jpg has no mask"),
    ("btcv", moved_label, "label0006.nii.gz does not lie on the grid of img0006.nii.gz"),
    ("btcv", wrong_class, "label0006.nii.gz has the value 14"),
    ("sts3d", lose("labelled/label/Teeth_0004_0000.nii.gz"), "Teeth_0004_0000.nii.gz has no mask"),
]


@pytest.mark.parametrize(("kind", "damage", "message"), REFUSALS)
def test_what_is_not_the_owners_is_refused_and_nothing_is_left(
    kind: str,
    damage: Callable[[Path], Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = SMALL[kind](tmp_path / "source")
    damage(source)
    words = ("--output", tmp_path / "data", "--split", "leak-free")
    assert message in refused(capsys, "prepare-data", kind, source, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_the_papers_split_of_half_a_set_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SMALL["kvasir"](tmp_path / "source")
    line = refused(capsys, "prepare-data", "kvasir", source, "--output", tmp_path / "data")
    assert "Kvasir-SEG has 1000 cases with masks, and 20 are here" in line


def test_neither_source_nor_an_older_folder_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SMALL["btcv"](tmp_path / "source")
    text_file(tmp_path / "mine" / "thesis.txt")
    words = ("prepare-data", "btcv", source, "--split", "leak-free", "--output")
    assert "mine exists already" in refused(capsys, *words, tmp_path / "mine")
    assert "would lie inside source" in refused(capsys, *words, source / "data")
    line = refused(capsys, "prepare-data", "btcv", tmp_path / "no", "--output", tmp_path / "d")
    assert "no folder no" in line
    assert not (source / "data").exists() and stems(tmp_path / "mine") == ["thesis"]


@pytest.mark.parametrize(
    "words",
    [
        ("kvasir", "--groups", "g.csv"),
        ("btcv", "--groups", "g.csv", "--split", "leak-free"),
        ("cvc", "--crop", 5),
        ("refuge2", "--crop", -1),
        ("brats",),
    ],
)
def test_options_of_other_data_sets_are_wrong_usage(words: tuple[Any, ...], tmp_path: Path) -> None:
    kind, *more = words
    assert sdseg("prepare-data", kind, tmp_path, "--output", tmp_path / "d", *more) == 2


# The result trains


def test_pictures_that_were_prepared_train_and_are_scored(tmp_path: Path) -> None:
    data = prepared(tmp_path, "cvc")
    model = tmp_path / "model"
    words = ("--data", data, "--target", "polyp=1", "--output", model)
    assert sdseg("train", *words, *TINY) == 0
    assert read_entry(model).info.lineage.train_cases == 46
    assert any("test.txt, 6 cases" in name for name in read_entry(model).info.scores)


def test_volumes_that_were_prepared_train_with_all_organs_as_one(tmp_path: Path) -> None:
    data = prepared(tmp_path, "btcv")
    model = tmp_path / "model"
    organs = "organs=" + ",".join(str(n) for n in range(1, 14))
    ct = ("--modality", "CT", "--plane", "axial", "--intensity", "window", "--window", "75,400")
    words = ("--data", data, "--target", organs, "--output", model, *ct)
    assert sdseg("train", *words, *TINY) == 0
    info = read_entry(model).info
    assert info.targets[0].class_ids == tuple(range(1, 14))
    assert any("test.txt, 2 cases" in name for name in info.scores)
