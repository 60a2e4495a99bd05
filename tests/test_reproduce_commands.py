"""docs/reproduce.md: every command is understood, and its tables say what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from engine.cli.main import build_parser
from engine.cli.prepare_data import KINDS
from engine.training.layouts.data_set import DISC_SIDE
from engine.training.layouts.groups import ALIKE, THUMBNAIL
from engine.training.layouts.volumes import BTCV_TEST

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "reproduce.md").read_text("utf-8")


def commands() -> list[list[str]]:
    """The words behind `sdseg`, or behind `main.py` of accelerate's line, of every command."""
    blocks = re.findall(r"^```\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found: list[list[str]] = []
    for line in lines:
        words = shlex.split(line)
        if words[:2] == ["accelerate", "launch"]:
            found.append(words[words.index("main.py") + 1 :])
        else:
            assert words[0] == "sdseg", line
            found.append(words[1:])
    return found


def prepared_folders() -> set[str]:
    return {str(args.output) for args in map(parsed, commands()) if args.command == "prepare-data"}


def parsed(words: list[str]):
    return build_parser().parse_args(words)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_of_the_document_is_understood(words: list[str]) -> None:
    assert parsed(words).command == words[0]


def test_every_data_set_is_prepared_trained_and_scored() -> None:
    found = [parsed(words) for words in commands()]
    of = {name: [a for a in found if a.command == name] for name in ("train", "evaluate")}
    assert len(found) > 20
    for kind in KINDS:
        assert f"data/{kind}" in prepared_folders()
        assert any(str(a.data) == f"data/{kind}" for a in of["train"])
        assert any(str(a.images) == f"data/{kind}/images" for a in of["evaluate"])
    trained = {str(a.output) for a in of["train"]}
    assert {a.model for a in of["evaluate"]} <= trained
    assert {str(a.data) for a in of["train"]} <= prepared_folders()


def test_training_is_the_papers_where_it_does_not_say_otherwise() -> None:
    for args in (parsed(words) for words in commands() if words[0] == "train"):
        assert (args.preset, args.steps, args.batch) == ("paper", 100_000, 4)
        assert (args.base_lr, args.warmup, args.mask_weight, args.last_share) == (
            1e-5, 10_000, 0.0, 0.0,
        )  # fmt: skip
        assert args.init or args.resume


def test_the_tables_say_what_the_code_does() -> None:
    assert " ".join(BTCV_TEST) in TEXT
    assert f"side is {DISC_SIDE} pixels" in TEXT
    assert f"{THUMBNAIL} x {THUMBNAIL} that correlate by more than {ALIKE}" in TEXT
    # 16 + 2 = 18 and so on: tests/engine/training/test_splits.py asserts the counts themselves.
    for row in ("488 | 62 | 62", "800 | 100 | 100", "720 | 80 | 400", "16 | 2 | 12", "8 | 1 | 3"):
        assert f"| {row} |" in TEXT
