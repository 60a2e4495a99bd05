"""What `evaluate` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.cli.main import counted

if TYPE_CHECKING:
    from engine.domain.targets import Target

PLACES = {"dice": 4, "iou": 4, "hd95": 2}
STABILITY = {"lpips": "LPIPS", "psnr": "PSNR (dB)", "ssim": "SSIM", "ms_ssim": "MS-SSIM",
             "dice": "Dice"}  # fmt: skip
WHERE = {
    "native": "on the pictures' own grid",
    "authors": "at the network's size, by the authors' definition (not comparable with others)",
}


def score_lines(report: dict[str, Any]) -> list[str]:
    """A row a target, the mean of several, and what the figures are."""
    if not report["cases"]:
        return ["Nothing was scored."]
    rows = dict(report["targets"])
    if len(rows) > 1:
        rows["mean"] = report["mean"]
    figures = _figures(report)
    head = ["", *(_title(figure, report["unit"]) for figure in figures)]
    table = [[name, *(_with_interval(row, f) for f in figures)] for name, row in rows.items()]
    note = f"{counted(len(report['cases']), 'case')}, {WHERE[report['definition']]}"
    if report["mean"]["interval"]["dice"]:
        note += "; in brackets 95 % bootstrap intervals"
    return [*columns([head, *table]), note + ".", *_notes(report)]


def value_warnings(targets: dict[str, Target], values: set[int]) -> list[str]:
    """A sentence for each target of which no truth has a value, though they hold others.

    Masks of 0 and 255 are common, and class ids start at 1: the scores would all be 0.
    """
    other = sorted(values - {0} - {n for target in targets.values() for n in target.class_ids})
    if not other:
        return []
    shown = ", ".join(map(str, other[:5])) + (", ..." if len(other) > 5 else "")
    return [
        f"No mask has the value {' or '.join(map(str, target.class_ids))} of {name}; they have "
        f"{shown}. Name its values with --target, as in --target {name}={other[-1]}."
        for name, target in targets.items()
        if not values & set(target.class_ids)
    ]


def case_lines(report: dict[str, Any]) -> list[str]:
    """A row a case and target."""
    figures = _figures(report)
    table = [
        [row["case"], name, *(_number(found[f], PLACES[f]) for f in figures)]
        for row in report["cases"]
        for name, found in row["targets"].items()
    ]
    head = ["case", "target", *(_title(figure, report["unit"]) for figure in figures)]
    return [*columns([head, *table]), ""]


def stability_lines(found: dict[str, Any]) -> list[str]:
    """The two rows of table 5."""
    head = [f"stability over {found['runs']} runs", *STABILITY.values()]
    table = [
        [kind, *(_stable(found[kind], figure) for figure in STABILITY)]
        for kind in ("masks", "scores")
    ]
    same = ", ".join(f"{found[k]['identical_pairs']} ({k})" for k in ("masks", "scores"))
    note = f"{counted(found['pairs'], 'pair')} of {found['size']}-pixel maps; identical: {same}"
    return ["", *columns([head, *table]), f"{note}, which PSNR leaves out."]


def columns(rows: list[list[str]]) -> list[str]:
    """Rows as lines whose columns stand below each other."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]


def _figures(report: dict[str, Any]) -> list[str]:
    return [f for f in PLACES if f != "hd95" or report["definition"] == "native"]


def _title(figure: str, unit: str | None) -> str:
    name = {"dice": "Dice", "iou": "IoU", "hd95": "HD95"}[figure]
    return f"{name} ({unit or 'mm or px'})" if figure == "hd95" else name


def _notes(report: dict[str, Any]) -> list[str]:
    notes: list[str] = []
    undefined = report["mean"]["hd95_undefined"]
    if undefined:
        masks = counted(undefined, "mask")
        notes.append(f"HD95 is undefined for {masks}: nothing was found, or nothing was there.")
    if report["definition"] == "native" and report["unit"] is None:
        notes.append("Some cases are in mm and some in px: their HD95 has no mean.")
    return notes


def _with_interval(row: dict[str, Any], figure: str) -> str:
    places = PLACES[figure]
    ends = row["interval"][figure]
    text = _number(row[figure], places)
    return f"{text} [{ends[0]:.{places}f}, {ends[1]:.{places}f}]" if ends else text


def _stable(row: dict[str, Any], figure: str) -> str:
    if figure == "lpips" and row[figure] is None:
        return "not measured"
    return _number(row[figure], 2 if figure == "psnr" else 4)


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"
