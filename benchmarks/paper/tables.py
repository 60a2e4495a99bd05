"""The tables of docs/paper_tables.md, as lines of Markdown. Dice and IoU are in per cent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.paper.peers import read_peer
from benchmarks.paper.plan import (
    ABLATION,
    BASE,
    DATA_SETS,
    DEPARTURES,
    LEAVE_ONE_OUT,
    MINUTES,
    SETTINGS,
    STABLE,
    planned,
)
from benchmarks.paper.published import TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6

NOT_RUN, DASH = "not run yet", "-"
Result = dict[str, Any]
Results = dict[str, Result | None]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _one(result: Result | None, figure: str, steps: int = 1) -> float | None:
    value = result["by_steps"].get(str(steps), {}).get(figure) if result else None
    return None if value is None else 100.0 * value


def dice_cell(results: Results, setting: str, data_set: str, steps: int = 1) -> str:
    """Dice in per cent, or that it was not run."""
    value = _one(results[f"{setting}-{data_set}"], "dice", steps)
    return NOT_RUN if value is None else f"{value:.1f}"


def both_cell(results: Results, setting: str, data_set: str, digits: int = 1) -> str:
    """Dice/IoU in per cent, or that it was not run."""
    result = results[f"{setting}-{data_set}"]
    dice, iou = _one(result, "dice"), _one(result, "iou")
    return NOT_RUN if dice is None or iou is None else f"{dice:.{digits}f}/{iou:.{digits}f}"


def _given(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"


def _given_both(value: tuple[float, float] | None, digits: int = 1) -> str:
    return DASH if value is None else f"{value[0]:.{digits}f}/{value[1]:.{digits}f}"


def _minutes(results: Results) -> float:
    done = [r["minutes"] for r in results.values() if r and "minutes" in r]
    return max(done, default=MINUTES)


def _peer_cell(results: Results, peers: Path, side: str, data_set: str) -> str:
    found = read_peer(peers, side, data_set, _minutes(results))
    if found is None:
        return NOT_RUN
    runs = "" if found.runs == 1 else f", {found.runs} runs"
    return f"{100.0 * found.dice:.1f} ({found.minutes:g} min{runs})"


PEERS = (
    ("U-Net from scratch (MONAI)", "unet"),
    ("U-Net from scratch, nnU-Net's plan (MONAI DynUNet)", "dynunet"),
    ("the trunk with an FPN head", "fpn"),
)


def table_2(results: Results, peers: Path) -> list[str]:
    rows = [
        [f"paper: {name}", _given(ref), DASH, _given(btcv), DASH, _given(sts)]
        for name, (ref, btcv, sts) in TABLE_2.items()
    ]
    for title, side in PEERS:
        cell = _peer_cell(results, peers, side, "cup")
        rows.append([f"here: {title}", DASH, cell, DASH, "three targets there", DASH])
    for setting in (BASE, "all"):
        cells = [dice_cell(results, setting, name) for name in ("cup", "ct")]
        title = f"here: SDSeg, {SETTINGS[setting].title}"
        rows.append([title, DASH, cells[0], DASH, cells[1], DASH])
    head = ["Dice", "REF", "fundus cup", "BTCV", "CT organs", "STS"]
    return ["## Table 2: against segmentation networks", "", *table(head, rows)]


def table_3(results: Results, peers: Path) -> list[str]:
    rows = [
        [f"paper: {name}", _given_both(cvc), _given_both(kseg), DASH, _given_both(ref), DASH]
        for name, (cvc, kseg, ref) in TABLE_3.items()
    ]
    for title, side in PEERS:
        polyp, cup = (_peer_cell(results, peers, side, name) for name in ("polyp", "cup"))
        rows.append([f"here: {title}, Dice", DASH, DASH, polyp, DASH, cup])
    for setting in (BASE, "all"):
        polyp, cup = (both_cell(results, setting, name) for name in ("polyp", "cup"))
        rows.append([f"here: SDSeg, {SETTINGS[setting].title}", DASH, DASH, polyp, DASH, cup])
    head = ["Dice/IoU", "CVC", "KSEG", "polyp", "REF", "fundus cup"]
    return ["## Table 3: against diffusion models", "", *table(head, rows)]


def departures(results: Results) -> list[str]:
    rows = [_departure(results, setting) for setting in (*DEPARTURES, *LEAVE_ONE_OUT)]
    head = ["row", "polyp", "polyp, 10 steps", "fundus cup", "CT organs", "differs by"]
    return [
        "## What each departure is worth",
        "",
        f'Dice after one step, in brackets the difference from "{SETTINGS[BASE].title}". The last '
        "rows take one departure away from all.",
        "",
        *table(head, rows),
    ]


def _departure(results: Results, setting: str) -> list[str]:
    names = {row.name for row in planned()}
    cells: list[str] = []
    for data_set in DATA_SETS:
        if f"{setting}-{data_set}" not in names:
            cells.append(DASH)
            continue
        cell = dice_cell(results, setting, data_set)
        here, base = (_one(results[f"{s}-{data_set}"], "dice") for s in (setting, BASE))
        if here is not None and base is not None and setting != BASE:
            cell += f" ({here - base:+.1f})"
        cells.append(cell)
    ten = dice_cell(results, setting, "polyp", 10)
    told = SETTINGS[setting]
    return [told.title, cells[0], ten, *cells[1:], told.changes]


def table_4(results: Results) -> list[str]:
    fastest = TABLE_4[-1][2]
    rows = [
        [f"paper: {name}", training, process, sampler, f"{rate:.2f}", f"{fastest / rate:.1f}",
         f"{score:.1f}"]
        for name, training, rate, sampler, process, score in TABLE_4
    ]  # fmt: skip
    result = results[f"{BASE}-ct"]
    speed = result.get("speed") if result else None
    if result is None or not speed:
        rows.append(["here: SDSeg, as published, compact", *[NOT_RUN] * 6])
        return _under_table_4(rows, "")
    one = speed["ways"]["1x1"]["seconds"]
    for way, figures in reversed(speed["ways"].items()):
        steps = way.split("x")[0]
        rows.append([
            "here: the same network", f"{result['minutes']:g} min, 1 CPU thread",
            way.replace("x", " x "), "none" if steps == "1" else "DDIM",
            f"{figures['per_second']:.2f}", f"{figures['seconds'] / one:.1f}",
            f"{100.0 * figures['dice']:.1f}",
        ])  # fmt: skip
    told = (
        f"Ours: medians over {speed['slices']} slices, each answered in all three ways in turn; "
        "Dice of these slices alone."
    )
    return _under_table_4(rows, told)


def _under_table_4(rows: list[list[str]], told: str) -> list[str]:
    head = ["", "training", "steps x samples", "sampler", "samples/s", "times 1 x 1's time", "Dice"]
    return [
        "## Table 4: time",
        "",
        "Our lines compare reverse processes of **one and the same network of ours**. Many steps "
        "and many samples are MedSegDiff's manner; neither its network nor its pixel space is "
        "here, so the ratio says nothing about its authors' program. A second is one of processor "
        f"time on one thread, from the picture to the mask. {told}".rstrip(),
        "",
        *table(head, rows),
    ]


def table_5(results: Results) -> list[str]:
    rows = [
        [f"paper, BTCV: {name}", *(f"{mask:g} / {score:g}" for mask, score in values)]
        for name, values in TABLE_5.items()
    ]
    for setting, data_set in STABLE:
        result = results[f"{setting}-{data_set}"]
        cells = _stability_cells(result) if result and "stability" in result else [NOT_RUN] * 4
        rows.append([f"here, {data_set}: SDSeg, {SETTINGS[setting].title}", *cells])
    head = ["masks / scores", "LPIPS (less is better)", "PSNR, dB", "SSIM", "MS-SSIM"]
    return [
        "## Table 5: stability",
        "",
        "Every two of four runs with their own noise; PSNR without the pairs that are equal in "
        "every pixel. A network that leans little on its noise is stable without being right. "
        "LPIPS needs weights that are not shipped (`--lpips-weights`).",
        "",
        *table(head, rows),
    ]


def _stability_cells(result: Result) -> list[str]:
    found = result["stability"]
    cells: list[str] = []
    for figure, digits in (("lpips", 4), ("psnr", 2), ("ssim", 4), ("ms_ssim", 4)):
        values = [found[kind][figure] for kind in ("masks", "scores")]
        if None in values:
            cells.append("not measured" if figure != "psnr" else "all pairs equal")
        else:
            cells.append(" / ".join(f"{value:.{digits}f}" for value in values))
    return cells


def table_6(results: Results) -> list[str]:
    rows = [
        [words, _given_both(btcv, 2), both_cell(results, setting, "ct", 2), _given_both(ref, 2),
         both_cell(results, setting, "cup", 2)]
        for (words, btcv, ref), setting in zip(TABLE_6, ABLATION, strict=True)
    ]  # fmt: skip
    head = ["Dice/IoU", "paper: BTCV", "here: CT organs", "paper: REFUGE2", "here: fundus cup"]
    ten = [
        [SETTINGS[setting].title, *(dice_cell(results, setting, d, 10) for d in ("ct", "cup"))]
        for setting in ABLATION
    ]
    return [
        "## Table 6: the parts of the method",
        "",
        "Ours after one step, whatever the row:",
        "",
        *table(head, rows),
        "",
        "Ours after ten steps of DDIM, Dice. The paper does not say how many its rows without "
        "latent estimation take:",
        "",
        *table(["", "CT organs", "fundus cup"], ten),
    ]


def costs(results: Results) -> list[str]:
    rows: list[list[str]] = []
    for row in planned():
        result = results[row.name]
        if result is None:
            rows.append([row.name, *["extra" if row.extra else NOT_RUN] * 3, DASH])
            continue
        millions = sum(result["parameters"].values()) / 1e6
        rows.append([
            row.name, f"{result['cpu_minutes']:.0f}", f"{result['steps']}", f"{millions:.1f}",
            f"{60.0 * result['cpu_minutes'] / max(result['steps'], 1):.2f}",
        ])  # fmt: skip
    head = ["row", "CPU minutes", "steps", "parameters, millions", "CPU seconds a step"]
    told = "Extra rows are only done where `--only` gives their full names."
    return ["## What each row got", "", told, "", *table(head, rows)]
