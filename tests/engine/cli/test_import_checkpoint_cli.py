"""`import-checkpoint` from words to a model folder that `segment` can use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.models.store import read_entry
from engine.sdseg import checkpoint_network
from tests.engine.cli.calls import picture, refused, sdseg

SMALL = Path(__file__).resolve().parents[2] / "data" / "sdseg_small"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "organs"
    words = ("--target", "both=1,2", "--preprocess", "btcv", "--window", "40,350")
    report = folder.parent / "r.json"
    assert (
        sdseg("import-checkpoint", SMALL / "multi3.ckpt", "--output", folder, *words,
              "--json", report) == 0
    )  # fmt: skip
    assert json.loads(report.read_text())["model"]["name"] == "organs"
    return folder


def test_the_folder_says_how_pictures_are_prepared(imported: Path) -> None:
    info = read_entry(imported).info
    rules = info.preprocessing
    assert (rules.intensity, rules.window) == ("window_extremes", (40.0, 350.0))
    assert (rules.resample, rules.layout, info.plane) == ("corners", "file", "axial")
    assert info.classes == {1: "class 1", 2: "class 2"} and info.targets[0].class_ids == (1, 2)
    assert "--target both=1,2" in info.lineage.command


def test_segment_gives_class_ids_or_a_target(imported: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    model = ("--model", imported)
    assert sdseg("segment", source, *model, "--output", tmp_path / "ids.png") == 0
    words = ("--target", "both", "--probability", tmp_path / "p.png")
    assert sdseg("segment", source, *model, *words, "--output", tmp_path / "one.png") == 0
    ids, one = (np.asarray(Image.open(tmp_path / n)) for n in ("ids.png", "one.png"))
    assert set(np.unique(ids)) <= {0, 1, 2} and ids.any()
    assert np.array_equal(one, (ids > 0).astype(np.uint8))
    assert np.asarray(Image.open(tmp_path / "p.png")).shape == one.shape


def test_a_threshold_takes_the_place_of_the_most_probable(imported: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    found = []
    for threshold in ("0.2", "0.9"):
        output = tmp_path / f"{threshold}.png"
        words = ("--model", imported, "--output", output, "--threshold", threshold)
        assert sdseg("segment", source, *words) == 0
        found.append(int((np.asarray(Image.open(output)) > 0).sum()))
    assert found[0] > found[1]


def test_a_class_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (SMALL / "binary.ckpt", "--output", tmp_path / "m", "--target", "x=2")
    assert "classes 1 to 1" in refused(capsys, "import-checkpoint", *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("targets", "reason"),
    [(("x=0",), "not 0"), (("x=3",), "not 3"), (("x=1", "x=2"), "Two targets have the name x")],
)
def test_targets_are_checked_before_the_tensors_are_read(
    targets: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[str] = []
    monkeypatch.setattr(checkpoint_network, "build_network", lambda *_: built.append("built"))
    words = [word for text in targets for word in ("--target", text)]
    line = refused(capsys, "import-checkpoint", SMALL / "multi3.ckpt", "--output", tmp_path / "m",
                   *words)  # fmt: skip
    assert reason in line and built == [] and list(tmp_path.iterdir()) == []


def test_each_class_of_a_target_of_several_is_counted(tmp_path: Path) -> None:
    """Classes of one target had its name, and `segment --json` told the last one's size alone."""
    words = ("--target", "both=1,2", "--target", "first=1")
    model, report = tmp_path / "m", tmp_path / "r.json"
    assert sdseg("import-checkpoint", SMALL / "multi3.ckpt", "--output", model, *words) == 0
    assert read_entry(model).info.classes == {1: "first", 2: "class 2"}
    source = picture(tmp_path / "a.png")
    output = tmp_path / "ids.png"
    assert sdseg("segment", source, "--model", model, "--output", output, "--json", report) == 0
    found = json.loads(report.read_text())["cases"][0]["found"]
    ids = np.asarray(Image.open(output))
    sizes = {name: row["voxels"] for name, row in found.items()}
    assert sizes == {"first": int((ids == 1).sum()), "class 2": int((ids == 2).sum())}
