"""The tables of docs/accuracy.md, made of the results that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.peers.plan import DATA_SETS, RATES, SIDES, TUNED_ON, Run
from benchmarks.peers.results import Result, Results
from benchmarks.peers.scores import case_means
from benchmarks.peers.shifts import KINDS
from engine.errors import UserError
from engine.evaluation.scores import interval
from engine.system.atomic import atomic_write_text

MISSING = "not run yet"
NOTHING = "-"
REFERENCE = "sdseg"
PARTS = ("a", "b", "c")
Row = list[str]
Group = tuple[str, str, list[Run]]  # data set, side, its runs (one a seed)
Line = tuple[str, str, list[Run], list[Result]]  # with those that are done


def write_tables(document: Path, runs: list[Run], results: Results) -> None:
    """Replaces what stands between the markers of a document.

    Raises:
        UserError: a marker is missing.
    """
    text = document.read_text(encoding="utf-8")
    text = between(text, "tuning", tuning_table(results))
    for part in PARTS:
        text = between(text, part, part_tables(part, runs, results))
    atomic_write_text(document, text)


def between(text: str, name: str, content: str) -> str:
    """The text with new content between ``<!-- NAME -->`` and ``<!-- end of NAME -->``.

    Raises:
        UserError: a marker is missing.
    """
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, found, rest = text.partition(first)
    _, ended, tail = rest.partition(last)
    if not (found and ended):
        raise UserError(f"The document has no place for the table '{name}'.", hint=f"Add {first}.")
    return f"{head}{first}\n{content}\n{last}{tail}"


def part_tables(part: str, runs: list[Run], results: Results) -> str:
    """Both tables of a part: scores, and Dice by kind of shift."""
    groups = groups_of([r for r in runs if r.part == part])
    if part == "c":  # beside the shipped model, which had at most the same time
        groups = [g for name, side, own in groups for g in (_shipped(name), (name, side, own))]
    lines = [
        (name, side, own, [r for r in map(results.read, own) if r]) for name, side, own in groups
    ]
    found = {(name, side): done for name, side, _, done in lines}
    scores = [
        [name, SIDES[side], *_score_cells(own, done, found.get((name, REFERENCE), []))]
        for name, side, own, done in lines
    ]
    shifts = [[name, SIDES[side], *_shift_cells(done)] for name, side, _, done in lines]
    head = [
        "data set", "side", "runs", "test Dice", "by target", "SDSeg minus this", "shifted",
        "SDSeg minus this, shifted", "finds without target", "steps", "CPU minutes",
    ]  # fmt: skip
    by_kind = table(["data set", "side", *KINDS], shifts)
    notes = [f"{note}\n\n" for note in _processors(lines)]
    return f"{table(head, scores)}\n\n{''.join(notes)}Dice by kind of shift:\n\n{by_kind}"


def _processors(lines: list[Line]) -> Iterator[str]:
    """A sentence for each data set whose runs were not trained on equal processors."""
    places: dict[str, dict[str, list[str]]] = {}
    for name, _, _, done in lines:
        for result in done:
            if "trained_in" in result:  # the shipped models are only scored here
                places.setdefault(name, {}).setdefault(result["processor"], []).append(
                    result["run"]
                )
    for name, found in places.items():
        if len(found) > 1:
            told = "; ".join(f"{where}: {', '.join(runs)}" for where, runs in found.items())
            yield f"Trained on different processors: {name}. {told}."


def _shipped(data_set: str) -> Group:
    return data_set, REFERENCE, [Run("b", data_set, REFERENCE)]


def groups_of(runs: Iterable[Run]) -> list[Group]:
    """Runs that differ in their seed alone, together; by data set, then side."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.data_set, run.side), []).append(run)
    sets, sides = list(DATA_SETS), list(SIDES)
    order = sorted(found, key=lambda k: (sets.index(k[0]), sides.index(k[1])))
    return [(*key, found[key]) for key in order]


def table(head: Row, rows: list[Row]) -> str:
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _score_cells(runs: list[Run], done: list[Result], reference: list[Result]) -> Row:
    count = f"{len(done)} of {len(runs)}"
    if not done:
        return [count, MISSING, *[NOTHING] * 7]
    same = done is reference
    targets = done[0]["test"]["targets"]
    return [
        count,
        _with_range([r["test"]["dice"] for r in done]),
        ", ".join(f"{t} {fmean(r['test']['targets'][t] for r in done):.3f}" for t in targets),
        NOTHING if same else lead(reference, done, plain_cases),
        _with_range([r["shifted_dice"] for r in done]),
        NOTHING if same else lead(reference, done, shifted_cases),
        finds_cell(done),
        _mean_number([r["steps"] for r in done]),
        f"{fmean(r['cpu_seconds'] for r in done) / 60.0:.0f}",
    ]


def _with_range(values: list[float]) -> str:
    """Mean, and from several runs the smallest and largest in brackets."""
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{spread}"


def _mean_number(values: list[int | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{fmean(known):.0f}" if known else NOTHING


def finds_cell(done: list[Result]) -> str:
    """Share of the views without target in which something was found, of how many views."""
    views = sum(r["target_free"]["views"] for r in done)
    found = sum(r["target_free"]["found"] for r in done)
    return f"{found / views:.1%} of {views}" if views else NOTHING


def plain_cases(result: Result) -> dict[str, float]:
    """Dice of each case of the test list, mean over targets."""
    return case_means(result["test"]["cases"])


def shifted_cases(result: Result) -> dict[str, float]:
    """Dice of each case, mean over targets and changes."""
    return dict(result["shifted_cases"])


def lead(
    reference: list[Result], peer: list[Result], cases: Callable[[Result], dict[str, float]]
) -> str:
    """Mean difference over cases, seeds averaged first, with its 95 % bootstrap interval."""
    if not reference:
        return NOTHING
    ours, theirs = _averaged(map(cases, reference)), _averaged(map(cases, peer))
    differences = [ours[case] - theirs[case] for case in ours if case in theirs]
    if not differences:
        return NOTHING
    ends = interval(differences)
    between_ends = f" ({ends[0]:+.3f} to {ends[1]:+.3f})" if ends else ""
    return f"{fmean(differences):+.3f}{between_ends}"


def _averaged(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    collected: dict[str, list[float]] = {}
    for row in rows:
        for case, value in row.items():
            collected.setdefault(case, []).append(value)
    return {case: fmean(values) for case, values in collected.items()}


def _shift_cells(done: list[Result]) -> Row:
    if not done:
        return [MISSING, *[NOTHING] * (len(KINDS) - 1)]
    return [_kind_cell(kind, done) for kind in KINDS]


def _kind_cell(kind: str, done: list[Result]) -> str:
    """Mean over strengths and runs."""
    values = [
        value
        for result in done
        for name, value in result["shifts"].items()
        if name.startswith(f"{kind}: ")
    ]
    return f"{fmean(values):.3f}" if values else NOTHING


def tuning_table(results: Results) -> str:
    """Dice on val of each rate that was tried."""
    rates: list[Any] = sorted({rate for found in RATES.values() for rate in found})
    rows = [
        [name, SIDES[side], *[_tuned(results, name, side, rate) for rate in rates]]
        for name in TUNED_ON
        for side in RATES
    ]
    return table(["data set", "side", *[f"{rate:g}" for rate in rates]], rows)


def _tuned(results: Results, data_set: str, side: str, rate: float) -> str:
    if rate not in RATES[side]:
        return NOTHING
    result = results.read(Run("t", data_set, side, rate=rate))
    return f"{result['val']['dice']:.3f}" if result else MISSING
