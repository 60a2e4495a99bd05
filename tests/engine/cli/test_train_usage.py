"""What can't be meant is wrong usage: exit code 2, and the option is named."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

import pytest

from engine.cli.main import build_parser
from engine.training.effects import EFFECTS
from tests.engine.cli.calls import sdseg

RIGHT = ("train", "--data", "d", "--output", "m")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--steps", "0"),
        ("--steps", "-5"),
        ("--batch", "0"),
        ("--batch", "2.5"),
        ("--base-lr", "-1e-4"),
        ("--base-lr", "nan"),
        ("--warmup", "-1"),
        ("--weight-decay", "-0.1"),
        ("--clip", "inf"),
        ("--ema-decay", "1.5"),
        ("--encoder-factor", "-1"),
        ("--latent-variants", "-1"),
        ("--pretrain-prior", "-1"),
        ("--autoencoder-steps", "0"),
        ("--autoencoder-lr", "0"),
        ("--seed", "-1"),
        ("--val-every", "0"),
        ("--checkpoint-every", "0"),
        ("--threads", "-1"),
        ("--lambda", "-1"),
        ("--mask-weight", "-1"),
        ("--mask-crop", "0"),
        ("--mask-crop", "1.2"),
        ("--last-share", "1.2"),
        ("--last-share", "-0.1"),
        ("--empty-share", "2"),
        ("--field-mm", "0"),
        ("--flips", "x"),
        ("--flips", "hh"),
        ("--scale", "1.4,0.7"),
        ("--scale", "0,2"),
        ("--scale", "1"),
        ("--levels", "0.8,0.2"),
        ("--levels", "-0.1,0.9"),
        ("--window", "40"),
        ("--window", "40,wide"),
        ("--rotate", "200"),
        ("--gamma", "0.5"),
        ("--jpeg", "0"),
        ("--jpeg", "101"),
        ("--blur", "-1"),
        ("--effects", "fog=0.5"),
        ("--effects", "gibbs=1.5"),
        ("--effects", "gibbs"),
        ("--effects", "gibbs=0.1,gibbs=0.2"),
        ("--target", "disc=300"),
        ("--target", " =1"),
        ("--sdseg-weight", "0"),  # and no other term
    ],
)
def test_a_value_out_of_range_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert sdseg(*RIGHT, f"{option}={value}") == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert option in last and last.startswith("sdseg train: error: ")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--target", "disc=1", "--target", "disc=2"), "--target disc stands twice"),
        (("--from", "base", "--pretrain-prior", "5"), "--pretrain-prior and --from exclude"),
    ],
)
def test_options_that_make_no_sense_together_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
) -> None:
    assert sdseg(*RIGHT, *more) == 2
    assert said in capsys.readouterr().err


def test_a_file_of_options_may_begin_with_a_mark_and_must_close_its_quotes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.args"
    file.write_bytes(BOM_UTF8 + b"# mine\r\n--steps 7\r\n")
    assert build_parser().parse_args([*RIGHT, f"@{file}"]).steps == 7
    file.write_text("--title the patient's lungs\n")
    assert sdseg(*RIGHT, f"@{file}") == 2
    assert "a quotation mark is missing: --title the patient's" in capsys.readouterr().err
    file.write_bytes(b"--title M\xfcller\n")
    assert sdseg(*RIGHT, f"@{file}") == 2
    assert "not text in UTF-8" in capsys.readouterr().err


def test_values_at_the_edges_are_taken() -> None:
    typed = (
        "--base-lr=0", "--warmup=0", "--clip=0", "--ema-decay=0", "--mask-crop=1", "--jpeg=100",
        "--flips=", "--scale=1,1", "--levels=0,1", "--last-share=1", "--steps=1",
    )  # fmt: skip
    args = build_parser().parse_args([*RIGHT, *typed])
    assert (args.base_lr, args.flips, args.scale, args.last_share) == (0.0, "", (1.0, 1.0), 1.0)
    assert build_parser().parse_args([*RIGHT, "--flips=vh"]).flips == "hv"


def test_the_help_shows_the_five_that_matter_first_and_explains_every_option(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert sdseg("train", "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 135
    first = lines[lines.index("the ones that matter:") + 1 :]
    options = [line.split()[0] for line in first if line.startswith("  --")]
    assert options[:5] == ["--data", "--output", "--preset", "--from", "--target"]
    parser = build_parser()._subparsers._group_actions[0].choices["train"]  # type: ignore[union-attr,index]
    assert all(action.help for action in parser._actions)


def test_every_effect_can_be_asked_for() -> None:
    words = ",".join(f"{name}=0.5" for name in EFFECTS)
    args = build_parser().parse_args([*RIGHT, "--effects", words])
    assert [name for name, _ in args.effects] == list(EFFECTS)
