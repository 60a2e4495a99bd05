"""docs/paper_tables.md from the results: the paper's own figures beside ours."""

from __future__ import annotations

from pathlib import Path

from benchmarks.document import around
from benchmarks.paper.figures import draw_all
from benchmarks.paper.plan import BASE, CONVERGENCE, DATA_SETS, MORE_STEPS, SETTINGS, planned
from benchmarks.paper.runner import read_result
from benchmarks.paper.tables import (
    NOT_RUN,
    Results,
    costs,
    departures,
    dice_cell,
    table,
    table_2,
    table_3,
    table_4,
    table_5,
    table_6,
)
from engine.system.atomic import atomic_write_text

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def write_document(document: Path, results: Path, peers: Path, work: Path) -> list[str]:
    """Renews the part of the document between its markers, and the figures.

    Args:
        document: with both markers.
        results: folder of rows' results.
        peers: folder of the peers' results.
        work: where rows have left what can be drawn.

    Returns:
        What was done, a line each.

    Raises:
        UserError: the document has no markers, or a result is damaged.
    """
    before, after = around(document, BEGIN, END)
    found = read_all(results)
    pictures = document.parent / "images" / "paper"
    told = draw_all(pictures, found, work)
    body = "\n".join(render(found, peers, pictures))
    atomic_write_text(document, f"{before}\n\n{body}\n\n{after}")
    return [*told, f"wrote {document.name}"]


def read_all(folder: Path) -> Results:
    """Every row's result, and each autoencoder's; None where there is none."""
    names = [row.name for row in planned()] + [f"autoencoder-{d}" for d in DATA_SETS]
    return {name: read_result(folder, name) for name in names}


def render(results: Results, peers: Path, pictures: Path) -> list[str]:
    """The lines between the markers."""
    return [
        *table_2(results, peers), "", *table_3(results, peers), "", *departures(results), "",
        *table_4(results), "", *table_5(results), "", *table_6(results), "",
        *_figure_2(results, pictures), "", *_figure_3(results, pictures), "",
        *_figure_5(results, pictures), "", *_figure_6(results, pictures), "", *costs(results),
    ]  # fmt: skip


def _picture(pictures: Path, name: str, words: str) -> list[str]:
    return [f"![{words}](images/paper/{name})", ""] if (pictures / name).is_file() else []


def _figure_2(results: Results, pictures: Path) -> list[str]:
    rows: list[list[str]] = []
    for name in DATA_SETS:
        found = results[f"autoencoder-{name}"]
        cells = [NOT_RUN, NOT_RUN]
        if found:
            cells = [f"{100.0 * found['ceiling']:.2f}", f"{found['picture_psnr']:.1f}"]
        rows.append([name, *cells])
    head = ["autoencoder of", "masks, encode -> decode, Dice", "pictures, PSNR in dB"]
    words = "Masks drawn by the program, what decoding leaves of them, and their latents"
    return [
        "## Figure 2: masks and their latents",
        "",
        *_picture(pictures, "figure-2.png", words),
        "The masks in the figure are drawn by the program; the table is measured on the test "
        "lists. No row can pass its autoencoder's Dice.",
        "",
        *table(head, rows),
    ]


def _figure_3(results: Results, pictures: Path) -> list[str]:
    rows = [
        [
            f"{data_set}, lambda {SETTINGS[setting].latent_lambda:g}",
            *(dice_cell(results, setting, data_set, n) for n in MORE_STEPS),
        ]
        for setting, data_set in CONVERGENCE
    ]
    head = ["Dice after DDIM steps", *(str(n) for n in MORE_STEPS)]
    words = "Dice over the number of DDIM steps, with and without the latent loss"
    return [
        "## Figure 3: steps with and without latent estimation",
        "",
        *_picture(pictures, "figure-3.png", words),
        *table(head, rows),
    ]


def _figure_5(results: Results, pictures: Path) -> list[str]:
    rows: list[list[str]] = []
    for data_set in DATA_SETS:
        result = results[f"{BASE}-{data_set}"]
        along = result.get("along") if result else None
        cells = [f"{100.0 * x:.1f}" for x in along] if along else [NOT_RUN] * 10
        rows.append([data_set, *cells])
    words = "Probability of the cup in the built-in fundus photograph over ten DDIM steps"
    return [
        "## Figure 5: the reverse process",
        "",
        *_picture(pictures, "figure-5.png", words),
        "The figure shows the built-in photograph. Dice of the estimate after each of ten steps, "
        "on some test pictures at the network's size:",
        "",
        *table(["step", *(str(n + 1) for n in range(10))], rows),
    ]


def _figure_6(results: Results, pictures: Path) -> list[str]:
    rows: list[list[str]] = []
    for data_set in DATA_SETS:
        result = results[f"{BASE}-{data_set}"]
        if not result or "latents" not in result:
            rows.append([data_set, *[NOT_RUN] * 3])
            continue
        rows += [
            [data_set, f"{seen['step']:.0f}", f"{seen['picture']:.2f}", f"{seen['mask']:.2f}"]
            for seen in result["latents"]
        ]
    head = ["data set", "step", "picture, R²", "mask, R²"]
    words = "The condition latent of the built-in fundus photograph while the encoder learns"
    return [
        "## Figure 6: the condition latent while the encoder learns",
        "",
        *_picture(pictures, "figure-6.png", words),
        "How much of the grey picture and of the true mask a linear map reads off the condition "
        "latent, cell by cell, on some test pictures (1 is all):",
        "",
        *table(head, rows),
    ]
