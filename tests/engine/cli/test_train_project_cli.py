"""`train --project`: from corrected and approved cases to a model; the project is never written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.domain.box import Box
from engine.domain.review import ReviewState
from engine.io.project import read_project, write_project
from engine.models.store import read_entry
from engine.sdseg.folder import file_sha256
from tests.engine.cli.calls import refused, sdseg
from tests.engine.training.projects import (
    CORRECTED,
    picture_project,
    worked_on,
    write_cases,
    write_picture,
    write_volume,
)

NEW = (
    "--preset", "tiny", "--size", "64", "--target", "disc=1", "--autoencoder-steps", "2",
)  # fmt: skip
SHORT = (
    "--steps", "2", "--batch", "2", "--warmup", "1", "--val-every", "2", "--checkpoint-every", "2",
    "--threads", "1", "--device", "cpu",
)  # fmt: skip


def lists(model: Path) -> tuple[set[str], set[str]]:
    run = model.with_name(f"{model.name}.run")
    return set((run / "train.txt").read_text().split("\n")) - {""}, set(
        (run / "val.txt").read_text().split("\n")
    ) - {""}


def train(project: Path, output: Path, *more: Any) -> tuple[Any, ...]:
    return ("train", "--project", project, "--output", output, *NEW, *SHORT, *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project `p.sdseg.json`, the model `m` and its report; don't change it."""
    folder = tmp_path_factory.mktemp("made")
    cases = [
        worked_on(write_picture(folder / f"eye{n}.png", n), labels=("vessel", "disc"))
        for n in range(4)
    ]
    cases.append(worked_on(write_picture(folder / "new.png"), review=ReviewState.NEW))
    project = write_cases(folder / "p.sdseg.json", cases)
    before = file_sha256(project)
    assert sdseg(*train(project, folder / "m", "--json", folder / "r.json")) == 0
    assert file_sha256(project) == before
    return folder


def test_the_model_learns_from_the_approved_cases_alone(made: Path) -> None:
    learned, checked = lists(made / "m")
    assert learned | checked == {f"eye{n}" for n in range(4)} and len(checked) == 1
    info = read_entry(made / "m").info
    assert info.lineage.train_cases == 3 and info.classes == {1: "disc"}
    assert "Dice on val.txt, 1 cases, native grid" in info.scores
    assert json.loads((made / "r.json").read_text())["steps"] == 2


def test_it_says_what_was_left_out(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sdseg(*train(made / "p.sdseg.json", tmp_path / "m")) == 0
    said = capsys.readouterr().out
    assert "left out: new is neither corrected nor approved" in said
    assert "labels not learned: vessel" in said and "validation cases: eye" in said


def test_a_run_goes_on_with_the_split_it_began_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = picture_project(tmp_path, [f"eye{n}" for n in range(4)])
    assert sdseg(*train(path, tmp_path / "m")) == 0
    kept = lists(tmp_path / "m")
    (tmp_path / "m").rename(tmp_path / "done")
    project = read_project(path)
    more = read_project(picture_project(tmp_path / "more", [f"late{n}" for n in range(9)]))
    write_project(path, project.model_copy(update={"cases": [*more.cases, *project.cases]}))
    capsys.readouterr()
    assert sdseg(*train(path, tmp_path / "m", "--resume")) == 0
    assert lists(tmp_path / "m") == kept and "resumed at step 2" in capsys.readouterr().out
    (tmp_path / "m").rename(tmp_path / "again")
    project.cases[0].box = project.cases[1].box = None
    project.cases[0].label_map = {}
    write_project(path, project)
    assert "another --project" in refused(capsys, *train(path, tmp_path / "m", "--resume"))
    project.cases[0].review = ReviewState.PROPOSED
    write_project(path, project)
    assert "uses the case eye0" in refused(capsys, *train(path, tmp_path / "m", "--resume"))


def test_partly_corrected_volumes_and_a_base_model(model: Path, tmp_path: Path) -> None:
    states = {1: CORRECTED, 2: CORRECTED}
    cases = [
        worked_on(write_volume(tmp_path / f"{n}.nii.gz", 4 + n), review=CORRECTED, slices=states)
        for n in range(3)
    ]
    cases[0].box = Box((0, 2, 2), (2, 30, 38))
    project = write_cases(tmp_path / "p.sdseg.json", cases)
    words = ("--project", project, "--from", model, "--output", tmp_path / "m", *SHORT)
    assert sdseg("train", *words, "--json", tmp_path / "r.json") == 0
    info = read_entry(tmp_path / "m").info
    assert info.lineage.parent_sha256 == read_entry(model).sha256
    dice = info.scores["Dice on val.txt, 1 cases, native grid"]
    assert 0 <= dice <= 1 and np.isfinite(dice)


def test_two_projects_together(tmp_path: Path) -> None:
    paths = [picture_project(tmp_path / name, ["a", "b"]) for name in ("one", "two")]
    words = train(paths[0], tmp_path / "m", "--project", paths[1])
    assert sdseg(*words) == 0
    learned, checked = lists(tmp_path / "m")
    assert len(learned) == len(checked) == 2


def test_projects_that_can_t_be_used_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = picture_project(tmp_path, ["eye0"])
    assert "only eye0 can be used" in refused(capsys, *train(path, tmp_path / "m"))
    path = picture_project(tmp_path, ["eye0", "eye1"], labels=("Scheibe",))
    assert "eye0 has no label disc" in refused(capsys, *train(path, tmp_path / "m"))
    path = picture_project(tmp_path, ["eye0", "eye1"])
    (tmp_path / "scans" / "eye1.png").unlink()
    assert "eye1.png was not found" in refused(capsys, *train(path, tmp_path / "m"))
    assert "gone.json" in refused(capsys, *train(tmp_path / "gone.json", tmp_path / "m"))
    assert not (tmp_path / "m.run").exists()


@pytest.mark.parametrize("more", [("--data", "d"), ("--val", "v.txt"), ("--groups", "g.csv")])
def test_a_project_is_no_folder_of_pictures(more: tuple[str, str]) -> None:
    assert sdseg("train", "--project", "p.json", "--output", "m", "--target", "a=1", *more) == 2


def test_a_project_needs_to_know_which_label() -> None:
    assert sdseg("train", "--project", "p.json", "--output", "m") == 2
