"""The card of a model, as Markdown."""

from __future__ import annotations

from typing import Any

from engine.models.schema import ModelInfo


def render_card(info: ModelInfo, notes: str = "") -> str:
    """CARD.md: data, licence, command, minutes, scores, departures from the paper.

    Args:
        info: everything that is known of the model.
        notes: limits that a user should know.
    """
    lines = [f"# {info.title}", "", "Research use only. Not a medical device.", ""]
    lines += _table(
        {
            "name": f"`{info.name}`",
            "finds": ", ".join(target.name for target in info.targets),
            "made for": info.kind,
            "data": info.lineage.data,
            "licence of the weights": info.licence,
            "starting weights": "; ".join(info.lineage.initial_weights) or "none",
            "recipe": f"`resources/recipes/{info.lineage.recipe}.args`"
            if info.lineage.recipe
            else "",
            "command": f"`{info.lineage.command}`",
            "training": f"{info.lineage.steps} steps, {info.lineage.cpu_minutes:.0f} CPU minutes",
            "trained timesteps": _TIMESTEPS[info.trained_timesteps],
            "picture size": f"{info.preprocessing.size} x {info.preprocessing.size}",
        }
    )
    lines += ["", "## Scores", ""]
    lines += _table({name: _figure(value) for name, value in info.scores.items()})
    if info.departures:
        lines += ["", "## Departures from the paper", "", *(f"- {x}" for x in info.departures)]
    if notes:
        lines += ["", "## Limits", "", notes]
    return "\n".join(lines) + "\n"


_TIMESTEPS = {
    "last": "T-1 only",
    "mixed": "part of the samples at T-1, the rest uniform",
    "uniform": "uniform",
}


def _table(rows: dict[str, Any]) -> list[str]:
    head = ["| | |", "|---|---|"]
    return head + [f"| {name} | {value} |" for name, value in rows.items() if value]


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
