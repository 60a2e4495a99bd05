"""The table of the mutants in docs/reliability.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.document import around
from benchmarks.mutants.formats import FORMATS
from engine.errors import UserError
from engine.system.atomic import atomic_write_text

BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"
HEAD = (
    "| format | mutants | opened | refused | other errors | deaths | over 5 s | over 1 GB "
    "| slowest, s | most memory, MB |"
)


def write_table(document: Path, results: Path) -> None:
    """Renews the part of the document between its markers.

    Raises:
        UserError: the document has no markers, or a result is damaged.
    """
    before, after = around(document, BEGIN, END)
    body = "\n".join(render(read_all(results)))
    atomic_write_text(document, f"{before}\n\n{body}\n\n{after}")


def read_all(folder: Path) -> dict[str, dict[str, Any]]:
    """The results that are there, by format."""
    found: dict[str, dict[str, Any]] = {}
    for fmt in FORMATS:
        file = folder / f"{fmt.name}.json"
        if not file.is_file():
            continue
        try:
            found[fmt.name] = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UserError(f"{file.name} is damaged.", hint="Delete it and run again.") from error
    return found


def render(results: dict[str, dict[str, Any]]) -> list[str]:
    lines = [HEAD, "|---|" + "---:|" * 9]
    for fmt in FORMATS:
        result = results.get(fmt.name)
        lines.append(f"| {fmt.name} | not run yet |" + " |" * 8 if result is None else _row(result))
    done = list(results.values())
    if done:
        names = ("count", "opened", "refused", "errors", "deaths", "slow", "large")
        sums = " | ".join(f"{sum(r[name] for r in done):,}" for name in names)
        worst = (max(r[name] for r in done) for name in ("worst_seconds", "worst_mb"))
        lines.append("| all | {} | {:.2f} | {:.0f} |".format(sums, *worst))
        days, machines = sorted({r["date"] for r in done}), sorted({r["cpu"] for r in done})
        seeds = sorted({r["seed"] for r in done})
        lines += [
            "",
            f"Measured {' to '.join({days[0]: 0, days[-1]: 0})} on {' and '.join(machines)}; "
            f"seed {', '.join(map(str, seeds))}.",
        ]
    return lines


def _row(result: dict[str, Any]) -> str:
    names = ("count", "opened", "refused", "errors", "deaths", "slow", "large")
    counts = " | ".join(f"{result[name]:,}" for name in names)
    name, seconds, mb = result["format"], result["worst_seconds"], result["worst_mb"]
    return f"| {name} | {counts} | {seconds:.2f} | {max(0.0, mb):.0f} |"
