"""Which cases are of one patient."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from engine.errors import UserError
from engine.evaluation.pairs import composed

# A part of a name, between underscores, hyphens or dots, that numbers what a case was cut from.
WORDS = (
    "p", "pat", "patient", "sub", "subject", "case", "vol", "volume", "seq", "sequence", "video",
)  # fmt: skip
_PART = re.compile(rf"(?:^|[_.\-])(?:{'|'.join(WORDS)})-?[0-9]+(?=$|[_.\-])", re.IGNORECASE)


def patient_in(stem: str) -> str:
    """The patient that a file's stem names, or "".

    It is all up to the end of the first part that is one of `WORDS` and a number:
    ``curvas_p10001_394`` -> ``curvas_p10001``, ``cvc_seq12_250`` -> ``cvc_seq12``,
    ``case0005_slice012`` -> ``case0005``, ``sub-03_T1w`` -> ``sub-03``.
    """
    found = _PART.search(stem)
    return stem[: found.end()].casefold() if found else ""


USUAL = ("patients.csv", "groups.csv")
HEADER = ("stem", "patient")


def read_patients(file: Path) -> dict[str, str]:
    """Stem -> patient, of a CSV file whose first line is ``stem,patient``.

    Raises:
        UserError: it can't be read, or a line does not name a stem and a patient.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = [[composed(cell.strip()) for cell in line] for line in csv.reader(stream)]
    except OSError as error:
        raise UserError(f"{file.name} can't be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file.name} is not a CSV file.", hint=_LOOKS) from error
    if not lines or not is_header(lines[0]):
        raise UserError(f"The first line of {file.name} is not stem,patient.", hint=_LOOKS)
    found: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        if not any(line):
            continue
        if len(line) < 2 or not line[0] or not line[1]:
            raise UserError(f"Line {number} of {file.name} lacks stem or patient.", hint=_LOOKS)
        if found.setdefault(line[0], line[1]) != line[1]:
            raise UserError(f"{file.name} gives {line[0]} two patients.", hint="Keep one line.")
    return found


_LOOKS = "It should begin: stem,patient; then one line a case: ct_001,anna."


def is_header(cells: Sequence[str]) -> bool:
    """True for ``stem,patient``, whatever columns follow."""
    return tuple(cell.casefold() for cell in cells[:2]) == HEADER


def usual_file(folders: Iterable[Path], say: Callable[[str], None]) -> Path | None:
    """`patients.csv` or `groups.csv` in the first of some folders where it begins with
    ``stem,patient``.
    """
    for file in dict.fromkeys(folder / name for folder in folders for name in USUAL):
        if not file.is_file():
            continue
        with file.open(encoding="utf-8-sig", errors="replace") as stream:
            cells = [cell.strip() for cell in stream.readline().split(",")]
        if is_header(cells):
            return file
        say(f"{file.name} does not begin with stem,patient and is not used")
    return None


def check_sides(splits: Sequence[tuple[str, Sequence[str]]], file: Path | None) -> None:
    """No patient that is learned from stands in another split.

    Args:
        splits: names of split files and their stems; the first is the one that is learned from.
        file: tells the patients of all stems; None lets their names tell them (`patient_in`).

    Raises:
        UserError: naming both cases, or a stem that the file lacks.
    """
    known = read_patients(file) if file else None
    (learned, stems), *others = splits
    ours = {_patient(stem, known, file): stem for stem in reversed(stems)}
    for split, checked in others:
        for stem in checked:
            patient = _patient(stem, known, file)
            if patient in ours:
                _refuse(f"{ours[patient]} ({learned})", f"{stem} ({split})", patient, file)


def _patient(stem: str, known: Mapping[str, str] | None, file: Path | None) -> str:
    if known is None:
        return patient_in(stem) or stem
    if stem not in known:
        name = file.name if file else "The file"
        raise UserError(f"{name} does not tell the patient of {stem}.", hint=_LOOKS)
    return known[stem]


def _refuse(learned: str, checked: str, patient: str, file: Path | None) -> None:
    source = f"as {file.name} says" if file else "as their names say"
    hint = "A patient who is learned from can't tell how good the model is on others."
    if file is None:
        hint += " If the names mean something else, tell the patients with --groups FILE."
    raise UserError(f"{learned} and {checked} are of one patient, {patient}, {source}.", hint=hint)
