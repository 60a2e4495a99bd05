"""Cases of a project: only what a person has looked at is learned, by the names of the labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.domain.box import Box
from engine.domain.review import ReviewState
from engine.errors import UserError
from engine.io.project import read_project, write_project
from engine.models.schema import TargetEntry
from engine.training.project_cases import ProjectSource, Wanted, group_of, read_cases
from tests.engine.io.phantoms import Series
from tests.engine.training.projects import (
    APPROVED,
    CORRECTED,
    picture_project,
    worked_on,
    write_cases,
    write_picture,
    write_volume,
)
from tests.tiny_model import tiny_info

DISC = Wanted.of(tiny_info())
TWO = Wanted.of(
    tiny_info(
        classes={2: "rim", 5: "cup"},
        class_coding="channels",
        targets=(
            TargetEntry(name="disc", class_ids=(2, 5)),
            TargetEntry(name="cup", class_ids=(5,)),
        ),
    )
)


def only(path: Path, wanted: Wanted = DISC) -> ProjectSource:
    (source,) = read_cases(path, wanted).usable
    return source


def test_only_corrected_and_approved_cases_are_offered(tmp_path: Path) -> None:
    cases = [
        worked_on(write_picture(tmp_path / f"{state}.png"), review=state) for state in ReviewState
    ]
    offer = read_cases(write_cases(tmp_path / "p.sdseg.json", cases), DISC)
    assert [source.name for source in offer.usable] == ["corrected", "approved"]
    assert [name for name, _ in offer.left_out] == ["new", "proposed"]
    assert all("neither corrected nor approved" in reason for _, reason in offer.left_out)


def test_of_a_corrected_volume_only_the_slices_that_were_looked_at(tmp_path: Path) -> None:
    states = {0: ReviewState.PROPOSED, 1: CORRECTED, 3: APPROVED}
    case = worked_on(write_volume(tmp_path / "ct.nii.gz"), review=CORRECTED, slices=states)
    loaded = only(write_cases(tmp_path / "p.sdseg.json", [case])).load()
    assert loaded.slices is not None and list(loaded.slices) == [1, 3]


def test_all_slices_of_an_approved_volume_count(tmp_path: Path) -> None:
    case = worked_on(write_volume(tmp_path / "ct.nii.gz"), slices={1: CORRECTED})
    assert only(write_cases(tmp_path / "p.sdseg.json", [case])).load().slices is None


def test_a_model_that_slices_across_unseen_slices_gets_no_such_case(tmp_path: Path) -> None:
    case = worked_on(
        write_volume(tmp_path / "ct.nii.gz"), review=CORRECTED, slices={1: CORRECTED, 2: CORRECTED}
    )
    sagittal = replace(DISC, plane="sagittal")
    path = write_cases(tmp_path / "p.sdseg.json", [case])
    offer = read_cases(path, sagittal)
    assert not offer.usable and "nobody has corrected or approved" in offer.left_out[0][1]
    case.box = Box((1, 0, 0), (3, 32, 40))  # nothing unseen lies inside
    loaded = only(write_cases(path, [case]), sagittal).load()
    assert loaded.slices is None and loaded.box == case.box


def test_a_case_without_a_seen_slice_inside_its_box_is_left_out(tmp_path: Path) -> None:
    case = worked_on(write_volume(tmp_path / "ct.nii.gz"), review=CORRECTED, slices={3: CORRECTED})
    case.box = Box((0, 0, 0), (2, 32, 40))
    offer = read_cases(write_cases(tmp_path / "p.sdseg.json", [case]), DISC)
    assert not offer.usable and "no slice" in offer.left_out[0][1]


def test_labels_are_told_apart_by_name_not_by_number(tmp_path: Path) -> None:
    case = worked_on(write_picture(tmp_path / "a.png"), labels=("vessel", "Cup ", "rim"))
    path = write_cases(tmp_path / "p.sdseg.json", [case])
    source = only(path, TWO)
    truth, drawn = source.load().truth, case.label_map.array
    assert truth.dtype == np.uint8 and source.shows == {2, 5}
    assert np.array_equal(truth == 5, drawn == 2)
    assert np.array_equal(truth == 2, drawn == 3)
    assert not truth[drawn == 1].any()
    assert read_cases(path, TWO).unlearned == ("vessel",)


def test_a_single_target_takes_the_label_of_its_name(tmp_path: Path) -> None:
    targets = (TargetEntry(name="disc", class_ids=(4, 7)),)
    wanted = Wanted.of(tiny_info(targets=targets))
    case = worked_on(write_picture(tmp_path / "a.png"), labels=("x", "DISC"))
    truth = only(write_cases(tmp_path / "p.sdseg.json", [case]), wanted).load().truth
    assert np.array_equal(truth, np.where(case.label_map.array == 2, 4, 0))


def test_a_case_that_lacks_a_label_was_not_searched_for_it(tmp_path: Path) -> None:
    cases = [
        worked_on(write_picture(tmp_path / "a.png"), labels=("rim",)),
        worked_on(write_picture(tmp_path / "b.png"), labels=("rim", "cup"), empty=("cup",)),
    ]
    offer = read_cases(write_cases(tmp_path / "p.sdseg.json", cases), TWO)
    assert [source.name for source in offer.usable] == ["b"]
    assert offer.left_out == (("a", "has no label cup"),)


def test_a_label_that_could_be_either_class_is_named(tmp_path: Path) -> None:
    labels = ("rim", "cup", "disc")
    cases = [
        worked_on(write_picture(tmp_path / "a.png"), labels=labels),
        worked_on(write_picture(tmp_path / "b.png"), labels=labels, empty=("disc",)),
    ]
    offer = read_cases(write_cases(tmp_path / "p.sdseg.json", cases), TWO)
    assert [source.name for source in offer.usable] == ["b"]
    assert "voxels of disc" in offer.left_out[0][1]


def test_a_scan_that_is_gone_is_named_with_project_and_case(tmp_path: Path) -> None:
    path = picture_project(tmp_path, ["eye"])
    (tmp_path / "scans" / "eye.png").unlink()
    with pytest.raises(UserError, match=r"case eye of p\.sdseg\.json: eye\.png was not found"):
        only(path).load()


def test_a_scan_of_another_size_is_named(tmp_path: Path) -> None:
    path = picture_project(tmp_path, ["eye"])
    write_picture(tmp_path / "scans" / "eye.png", side=48)
    with pytest.raises(UserError, match=r"eye\.png has changed"):
        only(path).load()


def test_two_classes_of_one_name_are_refused() -> None:
    targets = tuple(TargetEntry(name=f"t{n}", class_ids=(n,)) for n in (1, 2))
    info = tiny_info(classes={1: "kidney", 2: "Kidney"}, targets=targets, class_coding="channels")
    with pytest.raises(UserError, match="Kidney"):
        Wanted.of(info)


def test_dicom_tells_the_patient_other_files_by_their_name_or_not_at_all(tmp_path: Path) -> None:
    names = ["ct_p7_001", "ct_p7_002", "ct_p8_001", "left", "right"]
    project = read_project(picture_project(tmp_path, names))
    groups = [group_of(entry) for entry in project.cases]
    assert groups[0] == groups[1] and len(set(groups)) == 4
    key = "0123456789abcdef01234567"
    project.cases[3].patient_key = project.cases[4].patient_key = key
    assert {group_of(entry) for entry in project.cases[3:]} == {key}
    write_project(tmp_path / "q.sdseg.json", project)
    assert {s.group for s in read_cases(tmp_path / "q.sdseg.json", DISC).usable[3:]} == {key}


def dicom(folder: Path, patient: str, skip: tuple[int, ...] = ()) -> Path:
    pixels = np.random.default_rng(1).integers(0, 900, (5, 48, 40)).astype(np.int16)
    return Series(pixels, tags={"PatientID": patient}).write(folder, skip=skip)


def test_series_of_one_patient_belong_together(tmp_path: Path) -> None:
    folders = [dicom(tmp_path / name, name[0]) for name in ("a1", "a2", "b1")]
    path = write_cases(tmp_path / "p.sdseg.json", [worked_on(folder) for folder in folders])
    first, second, third = (source.group for source in read_cases(path, DISC).usable)
    assert first == second != third and "a" not in first.split("/")


def test_slices_that_are_missing_in_a_series_are_not_learned(tmp_path: Path) -> None:
    case = worked_on(dicom(tmp_path / "ct", "x", skip=(2,)))
    missing = int(np.flatnonzero(~case.scan.loaded)[0])
    loaded = only(write_cases(tmp_path / "p.sdseg.json", [case])).load()
    assert loaded.slices is not None and set(loaded.slices) == {*range(5)} - {missing}
