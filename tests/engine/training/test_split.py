"""The validation split of a project: by patient, chosen once, then kept."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.review import ReviewState
from engine.errors import UserError
from engine.io.project import ProjectFile, read_project, write_project
from engine.models.schema import TargetEntry
from engine.training.project_cases import Wanted, cases_of, read_cases
from engine.training.split import Split, split_cases
from tests.engine.training.projects import (
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
        classes={1: "rim", 2: "cup"},
        class_coding="channels",
        targets=tuple(TargetEntry(name=n, class_ids=(i,)) for i, n in ((1, "rim"), (2, "cup"))),
    )
)


def names(split: Split) -> tuple[set[str], set[str]]:
    return {s.name for s in split.train}, {s.name for s in split.val}


def frozen(path: Path) -> Path:
    """The project with its split written into it."""
    split = split_cases([read_cases(path, DISC)])
    write_project(path, split.kept_in(read_project(path), path))
    return path


def test_about_a_fifth_becomes_validation_and_the_same_each_time(tmp_path: Path) -> None:
    path = picture_project(tmp_path, [f"eye{n}" for n in range(10)])
    split = split_cases([read_cases(path, DISC)])
    train, val = names(split)
    assert len(val) == 2 and len(train) == 8 and split.chosen
    assert names(split_cases([read_cases(path, DISC)])) == (train, val)
    project = read_project(path)
    project.cases.reverse()
    assert names(split_cases([cases_of(project, path, DISC)])) == (train, val)


def test_a_frozen_split_stays_when_cases_come_and_go(tmp_path: Path) -> None:
    path = frozen(picture_project(tmp_path, [f"eye{n}" for n in range(5)]))
    project = read_project(path)
    (held,) = [entry.name for entry in project.cases if entry.validation]
    more = read_project(picture_project(tmp_path / "more", [f"late{n}" for n in range(15)]))
    gone = next(entry for entry in project.cases if not entry.validation)
    grown = ProjectFile(cases=[*more.cases, *(c for c in project.cases if c is not gone)])
    split = split_cases([cases_of(grown, path, DISC)])
    assert names(split)[1] == {held} and len(split.train) == 18 and not split.chosen


def test_a_new_case_of_a_validation_patient_joins_the_split(tmp_path: Path) -> None:
    path = frozen(picture_project(tmp_path, [f"ct_p{n}_001" for n in range(4)]))
    project = read_project(path)
    (held,) = [entry.name for entry in project.cases if entry.validation]
    again = read_project(picture_project(tmp_path / "more", [held.replace("001", "002")]))
    grown = project.model_copy(update={"cases": [*project.cases, *again.cases]})
    split = split_cases([cases_of(grown, path, DISC)])
    assert names(split)[1] == {held, held.replace("001", "002")} and split.chosen
    kept = split.kept_in(grown, path)
    assert not split_cases([cases_of(kept, path, DISC)]).chosen


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=12))
def test_no_patient_is_ever_on_both_sides(tmp_path_factory, patients: list[int]) -> None:
    folder = tmp_path_factory.mktemp("project")
    path = picture_project(folder, [f"ct_p{p}_{n}" for n, p in enumerate(patients)])
    offer = read_cases(path, DISC)
    if len(set(patients)) == 1:
        with pytest.raises(UserError, match="one patient"):
            split_cases([offer])
        return
    split = split_cases([offer])
    assert split.train and split.val
    assert not {s.group for s in split.train} & {s.group for s in split.val}
    assert len(split.train) + len(split.val) == len(patients)


def test_both_sides_show_every_class_where_that_can_be(tmp_path: Path) -> None:
    cases = [
        worked_on(
            write_picture(tmp_path / f"eye{n}.png"),
            labels=("rim", "cup"),
            empty=() if n in (3, 7) else ("cup",),
        )
        for n in range(10)
    ]
    path = write_cases(tmp_path / "p.sdseg.json", cases)
    split = split_cases([read_cases(path, TWO)])
    assert len({"eye3", "eye7"} & names(split)[1]) == 1
    cases[3] = worked_on(cases[3].source, labels=("rim", "cup"), empty=("cup",))
    with pytest.raises(UserError, match="shows the label cup"):
        split_cases([read_cases(write_cases(path, cases), TWO)])


def test_one_volume_is_not_enough(tmp_path: Path) -> None:
    case = worked_on(write_volume(tmp_path / "ct.nii.gz", depth=40))
    new = worked_on(write_picture(tmp_path / "eye.png"), review=ReviewState.PROPOSED)
    path = write_cases(tmp_path / "p.sdseg.json", [case, new])
    with pytest.raises(UserError, match=r"only ct can be used: eye is neither") as caught:
        split_cases([read_cases(path, DISC)])
    assert "slices of a single volume" in caught.value.hint
    path = write_cases(path, [new])
    with pytest.raises(UserError, match=r"Two cases of p\.sdseg\.json"):
        split_cases([read_cases(path, DISC)])


def test_validation_cases_that_fell_back_are_named(tmp_path: Path) -> None:
    path = frozen(picture_project(tmp_path, ["a", "b", "c"]))
    project = read_project(path)
    for entry in project.cases:
        if entry.validation:
            entry.review, held = ReviewState.PROPOSED, entry.name
    with pytest.raises(UserError, match=rf"validation cases \({held}\)"):
        split_cases([cases_of(project, path, DISC)])


def test_several_projects_keep_their_own_splits(tmp_path: Path) -> None:
    first = frozen(picture_project(tmp_path / "one", ["a", "b", "c"]))
    second = picture_project(tmp_path / "two", ["a", "d", "e"])
    held = {e.name for e in read_project(first).cases if e.validation}
    split = split_cases([read_cases(first, DISC), read_cases(second, DISC)])
    assert {s.entry.name for s in split.val if s.project == first} == held
    assert [s.project for s in split.val].count(second) == 1
    every = [s.name for s in (*split.train, *split.val)]
    assert len(set(every)) == 6  # both projects have a case called a


def test_projects_of_one_case_each_are_dealt_together(tmp_path: Path) -> None:
    paths = [picture_project(tmp_path / name, [name]) for name in ("a", "b")]
    split = split_cases([read_cases(path, DISC) for path in paths])
    assert len(split.train) == len(split.val) == 1
