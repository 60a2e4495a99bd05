"""The damaged files of the benchmark: the same each time, and all that happens is counted."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from benchmarks.mutants.__main__ import main
from benchmarks.mutants.formats import FORMATS, Format, chosen, gzipped
from benchmarks.mutants.page import BEGIN, END, write_table
from benchmarks.mutants.runner import Run, Tally
from engine.errors import UserError
from engine.io.kinds import ITK_SUFFIXES, PICTURE_SUFFIXES, suffix_of

SAME_KIND = {".jpeg": ".jpg", ".tiff": ".tif"}


def line(outcome: str, seconds: float = 0.1, mb: float = 1.0) -> dict:
    return {"outcome": outcome, "seconds": seconds, "mb": mb, "helper_mb": 0.0, "text": "E: why"}


def test_every_ending_of_a_picture_or_an_itk_file_has_mutants() -> None:
    endings = {suffix_of(Path(fmt.opens)) for fmt in FORMATS if fmt.opens}
    assert {SAME_KIND.get(s, s) for s in (*PICTURE_SUFFIXES, *ITK_SUFFIXES)} <= endings
    assert {".nii", ".nii.gz", ".hdr", ".dcm"} <= endings
    assert len({fmt.name for fmt in FORMATS}) == len(FORMATS)
    with pytest.raises(UserError, match="no format tga"):
        chosen(["tga"])


@pytest.mark.parametrize("name", ["png", "nifti-gz", "nifti-pair", "dicom-series"])
def test_a_mutant_is_made_again_by_its_number_and_hurts_one_file(name: str) -> None:
    fmt = chosen([name])[0]
    files = fmt.files()
    mutants = [fmt.mutant(files, 0, n) for n in range(40)]
    assert mutants == [fmt.mutant(files, 0, n) for n in range(40)]
    assert mutants != [fmt.mutant(files, 1, n) for n in range(40)]
    for mutant in mutants:
        changed = [name for name in files if mutant[name] != files[name]]
        assert mutant.keys() == files.keys() and len(changed) <= 1
        assert set(changed) <= set(fmt.hurt or (fmt.opens,))


def test_packed_files_are_also_damaged_behind_their_packing() -> None:
    fmt = chosen(["nifti-gz"])[0]
    files = fmt.files()
    found = [fmt.mutant(files, 0, n)["x.nii.gz"] for n in range(60)]
    whole = [content for content in found if content == repacked(fmt, content)]
    assert 15 < len(whole) < 45


def repacked(fmt: Format, content: bytes) -> bytes:
    try:
        return gzipped(fmt.unpack(content))
    except (OSError, EOFError, zlib.error):
        return b""


def test_all_that_may_happen_is_counted() -> None:
    tally = Tally()
    assert tally.add(line("opened")) == "" and tally.add(line("refused", 4.9, 900)) == ""
    assert tally.add(line("error")) == "E: why"
    assert "opened after 6.0 s" in tally.add(line("opened", 6.0))
    assert "refused with 2000 MB" in tally.add(line("refused", 1.0, 2000.0))
    assert (tally.opened, tally.refused, tally.errors, tally.slow, tally.large) == (2, 2, 1, 1, 1)
    assert tally.failed == 3 and tally.worst_seconds == 6.0 and tally.worst_mb == 2000.0


def test_a_run_writes_a_result_that_the_table_shows(tmp_path: Path) -> None:
    arguments = ["--format", "bmp", "--count", "25", "--results", str(tmp_path / "results")]
    arguments += ["--work", str(tmp_path / "work")]
    assert main(arguments) == 0
    result = json.loads((tmp_path / "results" / "bmp.json").read_text())
    assert result["opened"] + result["refused"] == result["count"] == 25
    before = (tmp_path / "results" / "bmp.json").read_bytes()
    assert main(arguments) == 0  # done
    assert (tmp_path / "results" / "bmp.json").read_bytes() == before
    document = tmp_path / "d.md"
    document.write_text(f"a\n{BEGIN}\n{END}\nb\n")
    write_table(document, tmp_path / "results")
    text = document.read_text()
    assert f"| bmp | 25 | {result['opened']} |" in text and "| png | not run yet |" in text
    assert text.startswith("a\n") and text.endswith("b\n")


def test_a_mutant_that_ends_its_worker_is_kept_and_the_run_goes_on(tmp_path: Path) -> None:
    tally = Tally()
    run = Run(chosen(["bmp"])[0], 0, 10, tmp_path / "kept")
    run._death(tally, 3, "", -11, "Segmentation fault")
    run._death(tally, 4, "it takes too long", -9, "")
    run._death(tally, 5, "it needs more memory than it should", -9, "")
    assert (tally.deaths, tally.slow, tally.large) == (1, 1, 1)
    assert (tmp_path / "kept" / "3" / "x.bmp").is_file()
    assert "Segmentation fault" in (tmp_path / "kept" / "3.txt").read_text()
