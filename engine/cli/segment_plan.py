"""Which file each input becomes, decided before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.domain.case import Case
from engine.errors import UserError
from engine.io import check_format, list_cases
from engine.io.kinds import GRID_OUT, MASK_ENDINGS, Kind, kind_of, stem_of, suffix_of

_MAP_ENDINGS = (".png", *GRID_OUT)
# Endings of files that nothing is written to; anything else is the name of a folder.
_OTHER_ENDINGS = (
    ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".nhdr", ".mhd", ".hdr", ".img",
    ".img.gz", ".hdr.gz", ".npy", ".xml", ".txt",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One input and where its mask goes.

    Attributes:
        source: the picture, NIfTI file, or DICOM file or folder.
        mask: the file to write, or a folder that the mask is put into under the case's own name
            (a DICOM folder is often named after the patient, so its name is not passed on).
        probability, stability: likewise for the maps, or None.
    """

    source: Path
    mask: Path
    probability: Path | None = None
    stability: Path | None = None


def plan(
    source: Path, output: Path, probability: Path | None = None, stability: Path | None = None
) -> list[Job]:
    """One job a case.

    Raises:
        UserError: two inputs would be written to the same file, or a name can't hold a mask.
    """
    inputs = list_cases(source)
    options = {"--output": output, "--probability": probability, "--stability-map": stability}
    wanted = {option: target for option, target in options.items() if target is not None}
    for option, target in wanted.items():
        _refuse_ending(option, target)
        if suffix_of(target) in MASK_ENDINGS and len(inputs) > 1:
            raise UserError(
                f"{source.name} holds {len(inputs)} cases and {target.name} is one file.",
                hint="Name a folder instead.",
            )
    refuse_equal_targets(wanted)
    _refuse_equal_stems(source, inputs)

    def place(path: Path, target: Path | None) -> Path | None:
        return None if target is None else _target(path, target)

    return [
        Job(path, _target(path, output), place(path, probability), place(path, stability))
        for path in inputs
    ]


def refuse_equal_targets(wanted: dict[str, Path]) -> None:
    """Refuses two options that name one file or folder, however it is spelt.

    Raises:
        UserError: they do.
    """
    seen: dict[Path, str] = {}
    for option, target in wanted.items():
        place = target.resolve()
        if place in seen:
            raise UserError(
                f"{seen[place]} and {option} can't both go to {target.name}.",
                hint=f"Name another file or folder with {option}.",
            )
        seen[place] = option


def _refuse_ending(option: str, target: Path) -> None:
    ending, is_mask = suffix_of(target), option == "--output"
    known = MASK_ENDINGS if is_mask else _MAP_ENDINGS
    if ending in (*_OTHER_ENDINGS, *MASK_ENDINGS) and ending not in known and not target.is_dir():
        raise UserError(
            f"A {'mask' if is_mask else 'map'} can't be written as {ending}.",
            hint="Name a .png file for a picture, a .nii.gz file, or a folder.",
        )


def _refuse_equal_stems(source: Path, inputs: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in inputs:
        # Some disks do not tell A.png from a.png.
        other = seen.setdefault(stem_of(path).casefold(), path)
        if other != path:
            raise UserError(
                f"{other.relative_to(source)} and {path.relative_to(source)} would be written "
                "under the same name.",
                hint="Rename one of them, or segment them one at a time.",
            )


def _target(source: Path, output: Path) -> Path:
    if suffix_of(output) in MASK_ENDINGS or kind_of(source) in (Kind.FOLDER, Kind.DICOM):
        return output
    return output / file_name(stem_of(source), is_picture=kind_of(source) is Kind.PICTURE)


def file_name(stem: str, is_picture: bool) -> str:
    """The name of a mask inside a folder."""
    return f"{stem}.png" if is_picture else f"{stem}.nii.gz"


def final(target: Path, case: Case) -> Path:
    """The file itself, now that the case is open.

    Raises:
        UserError: its format can't hold a mask of this case.
    """
    if suffix_of(target) not in MASK_ENDINGS:
        target = target / file_name(case.name.replace(" ", "_"), case.scan.is_picture)
    if suffix_of(target) == ".png" and case.scan.slice_count > 1:  # a folder gets no PNGs here
        raise UserError(
            f"{target.name} can hold one slice, and {case.name} has {case.scan.slice_count}.",
            hint="Name a file that ends in .nii.gz, or a folder for one.",
        )
    check_format(case, target)
    return target
