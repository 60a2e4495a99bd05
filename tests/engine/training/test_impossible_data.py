"""Data that can't be meant are refused before anything is trained, with the file's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from engine.domain.targets import Target
from engine.errors import UserError
from engine.models.schema import Preprocessing
from engine.training.options import Identity, TrainOptions
from engine.training.patients import check_sides, patient_in, read_patients
from engine.training.reading import read_data
from tests.engine.training.projects import write_picture, write_volume

STEMS = ["a", "b", "c", "d"]


def write_mask(path: Path, values: Sequence[int] = (0, 1), side: int = 64) -> Path:
    """Stripes of the given values, upright."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stripes = np.array(values)[np.arange(side) * len(values) // side]
    Image.fromarray(np.tile(stripes, (side, 1)).astype(np.uint8)).save(path)
    return path


def make(folder: Path, stems: Sequence[str] = STEMS, values: Sequence[int] = (0, 1)) -> Path:
    """Pictures and masks; the last stem is val, the one before it test."""
    for seed, stem in enumerate(stems):
        write_picture(folder / "images" / f"{stem}.png", seed)
        write_mask(folder / "masks" / f"{stem}.png", values)
    *train, test, val = stems
    for name, names in (("train", train), ("test", [test]), ("val", [val])):
        (folder / f"{name}.txt").write_text("\n".join(names) + "\n")
    return folder


def options(folder: Path, *targets: Target, **changes) -> TrainOptions:
    chosen = TrainOptions(
        *(folder / name for name in ("images", "masks", "train.txt", "val.txt", "m")),
        targets or (Target("polyp", (1,)),),
        Preprocessing(size=32),
        Identity("m"),
        test=folder / "test.txt",
    )
    return replace(chosen, **changes)


def names_of(chosen: TrainOptions) -> tuple[set[str], set[str]]:
    """Cases of train and val of data that are fine."""
    train, val = read_data(chosen, lambda text: None)
    return set(train.names), set(val.names)


def refused(chosen: TrainOptions) -> UserError:
    with pytest.raises(UserError) as caught:
        read_data(chosen, lambda text: None)
    assert not chosen.run_folder.exists()
    return caught.value


def test_what_is_whole_is_read(tmp_path: Path) -> None:
    said: list[str] = []
    train, val = read_data(options(make(tmp_path)), said.append)
    assert (train.names, val.names) == (("a", "b"), ("d",))
    assert said == ["train.txt: 2 cases, 2 slices", "val.txt: 1 cases, 1 slices"]


# Values of masks


def test_a_mask_of_255_is_told_with_what_to_write(tmp_path: Path) -> None:
    make(tmp_path)
    write_mask(tmp_path / "masks" / "b.png", (0, 255))
    error = refused(options(tmp_path))
    assert "b.png holds the value 255" in error.message
    assert "--target polyp=255" in error.hint and "labels.json" in error.hint


def test_the_target_keeps_the_values_that_occur_beside_it(tmp_path: Path) -> None:
    make(tmp_path)
    write_mask(tmp_path / "masks" / "b.png", (0, 1, 255))
    assert "--target polyp=1,255" in refused(options(tmp_path)).hint


def test_values_that_labels_json_names_may_be_left_unlearned(tmp_path: Path) -> None:
    make(tmp_path, values=(0, 1, 7))
    assert "value 7" in refused(options(tmp_path)).message
    data, _ = read_data(options(tmp_path, named_values=frozenset({7})), lambda text: None)
    assert len(data) == 2


def test_a_mask_that_went_through_jpeg_is_told_apart_from_a_forgotten_class(tmp_path: Path) -> None:
    make(tmp_path)
    smooth = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    Image.fromarray(smooth).save(tmp_path / "masks" / "a.png")
    error = refused(options(tmp_path))
    assert "a.png holds 62 values that no class has" in error.message and "JPEG" in error.hint


def test_a_colour_mask_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    colour = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(colour).save(tmp_path / "masks" / "a.png")
    assert "a.png is a colour picture" in refused(options(tmp_path)).message


@pytest.mark.parametrize("split", ["train", "val"])
def test_only_empty_masks_are_named_with_their_list(tmp_path: Path, split: str) -> None:
    make(tmp_path)
    for stem in (tmp_path / f"{split}.txt").read_text().split():
        write_mask(tmp_path / "masks" / f"{stem}.png", (0,))
    message = refused(options(tmp_path)).message
    assert f"No mask of {split}.txt shows the target polyp (value 1): the masks are" in message


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_that_never_occurs_is_named_with_its_value(tmp_path: Path, split: str) -> None:
    make(tmp_path, values=(0, 1, 4))
    for stem in (tmp_path / f"{split}.txt").read_text().split():
        write_mask(tmp_path / "masks" / f"{stem}.png", (0, 1))
    two = options(tmp_path, Target("rim", (1,)), Target("cup", (4,)))
    message = refused(two).message
    assert f"No mask of {split}.txt shows the target cup (value 4): the masks hold 1" in message


def test_a_target_that_vanishes_at_the_network_s_size_is_told_apart(tmp_path: Path) -> None:
    make(tmp_path)
    dot = np.zeros((640, 640), np.uint8)
    dot[300, 300] = 1
    write_picture(tmp_path / "images" / "d.png", side=640)
    Image.fromarray(dot).save(tmp_path / "masks" / "d.png")
    error = refused(options(tmp_path))
    assert "polyp is left in val.txt at 32 x 32 pixels" in error.message and "--size" in error.hint


def test_pictures_and_masks_of_different_sizes_are_named_both(tmp_path: Path) -> None:
    make(tmp_path)
    wide = np.zeros((32, 48), np.uint8)
    Image.fromarray(wide).save(tmp_path / "masks" / "c.png")  # of test, which is scored last
    message = refused(options(tmp_path)).message
    assert "c.png (48 x 32)" in message and "c.png (64 x 64)" in message


# Volumes


def volumes(folder: Path, mask: nib.Nifti1Image | None = None) -> Path:  # type: ignore[name-defined]
    """Four volumes with masks; that of `b` may be another one."""
    make(folder)
    for name in ("images", "masks"):
        for file in (folder / name).iterdir():
            file.unlink()
    for stem in STEMS:
        scan = write_volume(folder / "images" / f"{stem}.nii.gz")
        values = np.zeros((40, 32, 4), np.uint8)
        values[10:30, 10:20] = 1
        plain = nib.Nifti1Image(values, nib.load(scan).affine)  # type: ignore[attr-defined]
        chosen = mask if mask is not None and stem == "b" else plain
        chosen.to_filename(folder / "masks" / f"{stem}.nii.gz")
    return folder


def nifti(values: np.ndarray, affine: np.ndarray | None = None):
    usual = np.diag([-1.0, -1.0, 3.0, 1.0])
    return nib.Nifti1Image(values, usual if affine is None else affine)  # type: ignore[attr-defined]


def test_volumes_on_one_grid_are_read(tmp_path: Path) -> None:
    train, _ = read_data(options(volumes(tmp_path)), lambda text: None)
    assert len(train) == 8


def test_whole_numbers_may_be_stored_as_floats(tmp_path: Path) -> None:
    values = np.zeros((40, 32, 4), np.float32)
    values[10:30, 10:20] = 1 + 1e-5
    train, _ = read_data(options(volumes(tmp_path, nifti(values))), lambda text: None)
    assert (train.masks[4:] > 127).any()


def test_voxels_that_hold_no_number_are_background_and_said(tmp_path: Path) -> None:
    values = np.full((40, 32, 4), np.nan, np.float32)
    values[10:30, 10:20] = 1
    plain, _ = read_data(options(volumes(tmp_path)), lambda text: None)
    said: list[str] = []
    train, _ = read_data(options(volumes(tmp_path, nifti(values))), said.append)
    assert np.array_equal(train.masks, plain.masks)
    assert said[0] == "4320 voxels of b.nii.gz hold no number; they are background."


def test_infinite_values_are_refused(tmp_path: Path) -> None:
    values = np.zeros((40, 32, 4), np.float32)
    values[5, 6, 1] = np.inf
    assert "b.nii.gz is no mask" in refused(options(volumes(tmp_path, nifti(values)))).message


@pytest.mark.parametrize(("value", "said"), [(0.37, "value 0.37"), (-1.0, "-1"), (300.0, "300")])
def test_values_that_are_no_class_ids_are_named(tmp_path: Path, value: float, said: str) -> None:
    values = np.zeros((40, 32, 4), np.float32)
    values[5, 6, 1] = value
    message = refused(options(volumes(tmp_path, nifti(values)))).message
    assert "b.nii.gz" in message and said in message


def test_a_mask_that_lies_elsewhere_is_named(tmp_path: Path) -> None:
    moved = np.diag([-1.0, -1.0, 3.0, 1.0])
    moved[2, 3] = 6.0
    other = nifti(np.ones((40, 32, 4), np.uint8), moved)
    message = refused(options(volumes(tmp_path / "moved", other))).message
    assert "b.nii.gz" in message and "up to 6 mm away" in message
    thin = nifti(np.ones((40, 32, 4), np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]))
    message = refused(options(volumes(tmp_path / "thin", thin))).message
    assert "1 x 1 x 1 mm, the scan's 1 x 1 x 3 mm" in message


def test_a_hair_s_breadth_between_two_headers_is_no_other_place(tmp_path: Path) -> None:
    close = np.diag([-1.0, -1.0, 3.0, 1.0])
    close[0, 3] = 0.02
    values = np.ones((40, 32, 4), np.uint8)
    read = names_of(options(volumes(tmp_path, nifti(values, close))))
    assert "b" in read[0] | read[1]


# Lists


def test_files_of_one_stem_are_named(tmp_path: Path) -> None:
    make(tmp_path)
    write_picture(tmp_path / "images" / "B.jpg")
    message = refused(options(tmp_path)).message
    assert "B.jpg" in message and "b.png" in message
    (tmp_path / "train.txt").write_text("a\n")  # nobody asks for b any more
    assert names_of(options(tmp_path)) == ({"a"}, {"d"})


def test_capital_letters_count_and_are_told(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "val.txt").write_text("D\n")
    error = refused(options(tmp_path))
    assert "val.txt names D, but images" in error.message and "d.png" in error.hint


def test_a_missing_file_of_test_is_named_before_training(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "masks" / "c.png").unlink()
    assert "test.txt names c, but masks has no file c" in refused(options(tmp_path)).message


def test_a_picture_without_a_mask_that_nobody_names_is_fine(tmp_path: Path) -> None:
    write_picture(make(tmp_path) / "images" / "spare.png")
    assert names_of(options(tmp_path)) == ({"a", "b"}, {"d"})


def test_a_name_that_stands_twice_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "train.txt").write_text("a\nb\na\n")
    assert "train.txt names a twice" in refused(options(tmp_path)).message


@pytest.mark.parametrize("other", ["val", "test"])
def test_a_case_on_both_sides_is_named(tmp_path: Path, other: str) -> None:
    make(tmp_path)
    (tmp_path / f"{other}.txt").write_text("b\n")
    assert f"b stands in train.txt and in {other}.txt" in refused(options(tmp_path)).message


def test_val_may_be_the_test_list(tmp_path: Path) -> None:
    make(tmp_path)
    assert names_of(options(tmp_path, test=tmp_path / "val.txt")) == ({"a", "b"}, {"d"})


# Patients


@pytest.mark.parametrize(
    ("stem", "patient"),
    [
        ("curvas_p10001_394", "curvas_p10001"),
        ("cvc_seq12_250", "cvc_seq12"),
        ("case0005_slice012", "case0005"),
        ("sub-03_T1w", "sub-03"),
        ("Patient7.left", "patient7"),
        ("volume-12", "volume-12"),
        ("CHNCXR_0567_1", ""),
        ("drishti_066", ""),
        ("kvasir_cju7b1ygu1msd0801hywhy0mc", ""),
        ("hippocampus_325", ""),
        ("step12_3", ""),
        ("p_12", ""),
    ],
)
def test_stems_that_name_a_patient(stem: str, patient: str) -> None:
    assert patient_in(stem) == patient


@pytest.mark.parametrize("other", ["val", "test"])
def test_a_patient_on_both_sides_is_named_with_both_cases(tmp_path: Path, other: str) -> None:
    make(tmp_path, ["ct_p1_001", "ct_p2_001", "ct_p3_001", "ct_p4_001", "ct_p1_002"])
    (tmp_path / "val.txt").write_text("ct_p4_001\n")
    (tmp_path / f"{other}.txt").write_text("ct_p1_002\n")
    error = refused(options(tmp_path))
    said = f"ct_p1_001 (train.txt) and ct_p1_002 ({other}.txt) are of one patient, ct_p1"
    assert said in error.message and "--groups" in error.hint


def test_a_table_of_patients_counts_more_than_names(tmp_path: Path) -> None:
    make(tmp_path, ["x_p1_1", "x_p1_2", "x_p1_3", "x_p1_4"])
    refused(options(tmp_path))
    table = tmp_path / "patients.csv"
    table.write_text("Stem,Patient,age\nx_p1_1,anna,50\nx_p1_2,anna,50\nx_p1_3,ben,\nx_p1_4,carl,")
    assert names_of(options(tmp_path)) == ({"x_p1_1", "x_p1_2"}, {"x_p1_4"})
    table.write_text("stem,patient\nx_p1_1,anna\nx_p1_2,dora\nx_p1_3,ben\nx_p1_4,anna\n")
    message = refused(options(tmp_path)).message
    assert "x_p1_1 (train.txt) and x_p1_4 (val.txt)" in message and "patients.csv" in message
    table.write_text("stem,patient\nx_p1_1,anna\nx_p1_2,dora\nx_p1_3,ben\n")
    assert "patients.csv does not tell the patient of x_p1_4" in refused(options(tmp_path)).message


def test_a_table_that_was_named_is_taken_instead(tmp_path: Path) -> None:
    make(tmp_path)
    rows = "".join(f"{stem},{stem}\n" for stem in STEMS)
    (tmp_path / "patients.csv").write_text("stem,patient\n" + rows.replace("d,d", "d,a"))
    refused(options(tmp_path))
    (tmp_path / "mine.csv").write_text("stem,patient\n" + rows)
    assert names_of(options(tmp_path, patients=tmp_path / "mine.csv")) == ({"a", "b"}, {"d"})


def test_a_table_of_something_else_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "patients.csv").write_text("id;age\na;50\n")
    said: list[str] = []
    read_data(options(tmp_path), said.append)
    assert any("patients.csv does not begin with stem,patient" in text for text in said)
    with pytest.raises(UserError, match=r"first line of patients\.csv"):
        read_patients(tmp_path / "patients.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stem,patient\na\n", "Line 2"),
        ("stem,patient\na,x\na,y\n", "a two patients"),
        ("", "first"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "g.csv").write_text(text)
    with pytest.raises(UserError, match=r"g\.csv") as caught:
        read_patients(tmp_path / "g.csv")
    assert said in caught.value.message
    with pytest.raises(UserError, match=r"none\.csv can't be read"):
        check_sides([("train.txt", ["a"])], tmp_path / "none.csv")


# Real data


def test_none_of_the_real_lists_is_refused(shared_folder: Path) -> None:
    sets = [f for f in sorted((shared_folder / "data").glob("*")) if (f / "train.txt").exists()]
    for folder in sets:
        lists = [(n, (folder / f"{n}.txt").read_text().split()) for n in ("train", "val", "test")]
        check_sides(lists, None)


@pytest.mark.parametrize("name", ["mri_hippocampus_volumes", "fundus_disc_cup"])
def test_real_pairs_are_read(shared_folder: Path, tmp_path: Path, name: str) -> None:
    folder = shared_folder / "data" / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not here")
    for split in ("train", "val", "test"):
        names = (folder / f"{split}.txt").read_text().split()[:2]
        (tmp_path / f"{split}.txt").write_text("\n".join(names))
    lists = {n: tmp_path / f"{n}.txt" for n in ("train", "val", "test")}
    two = options(folder, Target("one", (1,)), Target("two", (2,)), output=tmp_path / "m", **lists)
    train, val = read_data(two, lambda text: None)
    assert len(train.names) == len(val.names) == 2
