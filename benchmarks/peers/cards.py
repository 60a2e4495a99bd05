"""What the cards of the shipped models say of the peers that had as much time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.plan import COMPARED, SHIPPED, SIDES, Run
from benchmarks.peers.results import Result, Results
from benchmarks.peers.tables import (
    NOTHING,
    between,
    finds_cell,
    lead,
    plain_cases,
    shifted_cases,
    table,
)
from engine.models.schema import CARD
from engine.system.atomic import atomic_write_text

NAME = "peers"
MARKERS = f"<!-- {NAME} --><!-- end of {NAME} -->"
HEAD = "## Beside other networks, trained for as long"
COLUMNS = ["", "Dice on test.txt", "this model minus it", "shifted", "this model minus it, shifted",
           "target-free views marked"]  # fmt: skip
WHERE = "How it was measured, and what was tried: `docs/accuracy.md`, part b."
# What is known of the reason where a peer is ahead; the figures are those of the committed runs.
POLYP_FPN = (
    "Five of the 50 frames make 0.012 of the difference, the median frame 0.003. Likely reasons: "
    "the peer makes 1.6 times as many steps in the time, and sees features at a quarter of the "
    "picture's size, where a latent has an eighth of it. It marks more of the views without a "
    "polyp."
)
DISC_CUP_FPN = (
    "Disc and cup share it, 0.970 against 0.974 and 0.905 against 0.910. Likely reasons: the peer "
    "makes 1.7 times as many steps in the time, and a latent loses something of the edge itself "
    "(encode -> decode of the true masks of test.txt: disc 0.986, cup 0.988 at the network's size)."
)
WHY = {("polyp", "fpn"): POLYP_FPN, ("disc-cup", "fpn"): DISC_CUP_FPN}


def write_cards(models: Path, results: Results) -> list[Path]:
    """Renews the section in the card of each shipped model that was compared.

    Args:
        models: resources/models.
        results: of part b.

    Returns:
        The cards that changed.
    """
    changed: list[Path] = []
    for data_set in SHIPPED:
        runs = {side: Run("b", data_set, side) for side in COMPARED}
        done = {side: result for side, run in runs.items() if (result := results.read(run))}
        card = models / runs["sdseg"].recipe / CARD
        if "sdseg" not in done or len(done) == 1:
            continue
        old = card.read_text(encoding="utf-8")
        new = with_section(old, section(data_set, done))
        if new != old:
            atomic_write_text(card, new)
            changed.append(card)
    return changed


def with_section(card: str, text: str) -> str:
    """A card with the section renewed, or added at its end."""
    if f"<!-- {NAME} -->" not in card:
        card = f"{card.rstrip()}\n\n{HEAD}\n\n{MARKERS}\n"
    return between(card, NAME, text)


def section(data_set: str, done: dict[str, Result]) -> str:
    """Scores of the model and of the peers, and in a sentence where a peer is ahead.

    Args:
        data_set: of the plan.
        done: results by side; "sdseg" is among them.
    """
    ours = done["sdseg"]
    rows = [_row(side, result, ours) for side, result in done.items()]
    told = [text for side in done if (text := _ahead(data_set, side, done[side], ours))]
    return "\n\n".join([table(COLUMNS, rows), *told, WHERE])


def _row(side: str, result: Result, ours: Result) -> list[str]:
    title = "this model" if result is ours else SIDES[side]
    leads = [
        NOTHING if result is ours else lead([ours], [result], f)
        for f in (plain_cases, shifted_cases)
    ]
    return [title, f"{result['test']['dice']:.3f}", leads[0], f"{result['shifted_dice']:.3f}",
            leads[1], finds_cell([result])]  # fmt: skip


def _ahead(data_set: str, side: str, peer: Result, ours: Result) -> str:
    figures: dict[str, Callable[[Result], float]] = {
        "on test.txt": lambda r: r["test"]["dice"],
        "on shifted pictures": lambda r: r["shifted_dice"],
    }
    gaps = {place: of(peer) - of(ours) for place, of in figures.items()}
    told = [f"{gap:.3f} {place}" for place, gap in gaps.items() if gap > 0]
    if not told:
        return ""
    why = WHY.get((data_set, side), "")
    return f"Ahead of this model by {' and '.join(told)}: {SIDES[side]}. {why}".rstrip()
