"""docs/paper_tables.md: what is rendered from results, from none, and from the peers'."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.paper.figures import chart, draw_all, grid
from benchmarks.paper.measure import latent_content
from benchmarks.paper.page import BEGIN, END, read_all, render, write_document
from benchmarks.paper.peers import read_peer
from benchmarks.paper.plan import DATA_SETS, planned
from benchmarks.paper.tables import both_cell, departures, table_4, table_5
from benchmarks.paper.watching import REVERSE, SHAPES, drawn_masks, photograph, save_arrays
from benchmarks.paper_tables import DOCUMENT, PEERS, RESULTS
from engine.errors import UserError
from engine.models.schema import Preprocessing
from engine.sdseg.config import TINY
from engine.sdseg.network import SDSegNetwork

STEPS = ("1", "2", "3", "5", "10", "20", "50")


def result(name: str, dice: float, **more) -> dict:
    return {
        "row": name, "minutes": 20.0, "cpu_minutes": 40.0, "steps": 3000,
        "parameters": {"unet": 4_655_956},
        "by_steps": {n: {"dice": dice, "iou": dice - 0.1, "interval": None} for n in STEPS},
        **more,
    }  # fmt: skip


def write(folder: Path, name: str, content: dict) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content))


def lines_with(lines: list[str], *words: str) -> list[str]:
    return [line for line in lines if all(word in line for word in words)]


def test_without_results_every_own_cell_says_so(tmp_path: Path) -> None:
    lines = render(read_all(tmp_path), tmp_path, tmp_path)
    own = [line for line in lines if line.startswith("| here")]
    assert len(own) > 15
    for line in own:
        assert "not run yet" in line and not any(c.isdigit() for c in line)
    text = "\n".join(lines)
    assert "| paper: SDSeg | 89.4 | - | 92.8 | - | 89.4 |" in text
    assert "| paper: SDSeg | 95.8/92.6 | 94.9/92.1 | - | 89.4/81.8 | - |" in text
    assert (
        "| cross-attention, frozen encoder, no latent estimation | 32.67/23.69 | not run yet"
        in text
    )
    assert "![" not in text  # no figure is there


def test_cells_follow_from_the_results(tmp_path: Path) -> None:
    write(tmp_path, "published-polyp", result("published-polyp", 0.5))
    write(tmp_path, "trunk-polyp", result("trunk-polyp", 0.625))
    found = read_all(tmp_path)
    assert both_cell(found, "published", "polyp") == "50.0/40.0"
    lines = departures(found)
    assert lines_with(lines, "+ trunk", "| 62.5 (+12.5) |")
    assert lines_with(lines, "+ velocity", "not run yet")
    assert lines_with(lines, "all but the trunk", "| - | - |")  # not in the plan of the others
    assert lines_with(render(found, tmp_path, tmp_path), "trunk-polyp | 40 | 3000 | 4.7 | 0.80")


def test_speed_and_stability_are_set_beside_the_papers(tmp_path: Path) -> None:
    way = {"per_second": 4.0, "seconds": 0.25, "dice": 0.8}
    ways = {"1x1": way, "10x1": {**way, "seconds": 0.5, "per_second": 2.0}, "50x25": way}
    kinds = {"masks": {"lpips": None, "psnr": 30.0, "ssim": 0.9, "ms_ssim": 0.95}}
    kinds["scores"] = {**kinds["masks"], "psnr": 35.0}
    row = result("x", 0.8, speed={"slices": 10, "ways": ways}, stability=kinds)
    write(tmp_path, "published-ct", row)
    found = read_all(tmp_path)
    assert lines_with(table_4(found), "here: the same network", "10 x 1 | DDIM | 2.00 | 2.0 | 80.0")
    assert lines_with(table_4(found), "paper: MedSegDiff-V1", "| 27.9 |")
    line = lines_with(table_5(found), "here, ct: SDSeg, as published")[0]
    assert "| not measured | 30.00 / 35.00 | 0.9000 / 0.9000 |" in line


def test_the_peers_nearest_in_time_are_taken(tmp_path: Path) -> None:
    def peer(seconds: float, dice: float) -> dict:
        return {"cpu_seconds": seconds, "test": {"targets": {"cup": dice, "disc": 0.99}}}

    write(tmp_path, "a-disc-cup-unet-0", peer(600.0, 0.5))
    write(tmp_path, "a-disc-cup-unet-1", peer(601.0, 0.7))
    write(tmp_path, "b-disc-cup-unet-0", peer(6000.0, 0.9))
    write(tmp_path, "t-disc-cup-unet-0.001", {"val": {}})
    found = read_peer(tmp_path, "unet", "cup", 20.0)
    assert found is not None and (found.minutes, found.runs) == (5, 2)
    assert found.dice == pytest.approx(0.6)
    later = read_peer(tmp_path, "unet", "cup", 45.0)
    assert later is not None and later.dice == 0.9
    assert read_peer(tmp_path, "fpn", "cup", 20.0) is None
    (tmp_path / "a-polyp-fpn-0.json").write_text('{"cpu_seconds": 1}')
    with pytest.raises(UserError, match=r"a-polyp-fpn-0\.json is no result"):
        read_peer(tmp_path, "fpn", "polyp", 20.0)


def test_only_what_stands_between_the_markers_is_renewed(tmp_path: Path) -> None:
    document = tmp_path / "docs" / "page.md"
    document.parent.mkdir()
    document.write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    told = write_document(document, tmp_path / "none", tmp_path / "none", tmp_path / "none")
    text = document.read_text()
    assert text.startswith("Before.") and text.endswith("After.\n") and "old" not in text
    assert "## Table 6" in text and any("nothing to draw it from" in line for line in told)
    write_document(document, tmp_path / "none", tmp_path / "none", tmp_path / "none")
    assert document.read_text() == text
    document.write_text("no markers")
    with pytest.raises(UserError, match="lacks"):
        write_document(document, tmp_path, tmp_path, tmp_path)


def test_the_document_in_the_repository_is_rendered_and_names_every_row() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert all(f"| {row.name} |" in text for row in planned())
    pictures = DOCUMENT.parent / "images" / "paper"
    body = "\n".join(render(read_all(RESULTS), PEERS, pictures))
    assert body == text.partition(BEGIN)[2].partition(END)[0].strip("\n")


def test_figures_are_drawn_from_what_rows_left(tmp_path: Path) -> None:
    work = tmp_path / "work"
    shapes, run = work / "autoencoder-cup-64px-3", work / "published-cup" / "model.run"
    for folder in (shapes, run):
        folder.mkdir(parents=True)
    masks = drawn_masks(64)[:, 0].numpy()
    arrays = {"masks": masks, "decoded": masks, "latents": np.zeros((4, 4, 8, 8))}
    save_arrays(shapes / f"{SHAPES}.npz", **arrays)
    arrays = {"maps": np.ones((10, 64, 64)), "picture": np.zeros((3, 64, 64))}
    save_arrays(run / f"{REVERSE}.npz", **arrays)
    for share in (0, 0.05):
        save_arrays(run / f"retina-{share:g}.npz", latent=np.zeros((4, 8, 8)), step=np.array(7.0))
    results = {"published-ct": result("published-ct", 0.8)}
    told = draw_all(tmp_path / "pictures", results, work)
    assert told == [f"drew figure-{n}.png" for n in (2, 3, 5, 6)]
    with Image.open(tmp_path / "pictures" / "figure-5.png") as picture:
        assert picture.width > 1000 and picture.height < 200
    assert (tmp_path / "pictures" / "figure-2.png").stat().st_size < 100_000


def test_a_grid_and_a_chart_show_their_values() -> None:
    tiles = [[np.zeros((4, 4)), np.ones((4, 4))]]
    picture = np.asarray(grid(tiles, ["a", "b"], [""]))
    assert picture[60, 40].max() == 0 and picture[60, 10 + 96 + 6 + 40].min() == 255
    low, high = (np.asarray(chart({"x": [v, v]}, (1, 10), "", "")) for v in (0.1, 0.9))
    red = [np.argwhere((p == (200, 60, 40)).all(axis=2))[:, 0].mean() for p in (low, high)]
    assert red[0] > red[1] + 100  # rows count downwards


def test_the_photograph_and_the_masks_are_made_for_the_network() -> None:
    picture = photograph(Preprocessing(size=64))
    assert picture.shape == (1, 3, 64, 64) and -1.001 < picture.min() < picture.max() < 1.001
    masks = drawn_masks(64)
    assert masks.shape == (4, 1, 64, 64) and set(masks.unique().tolist()) == {0.0, 1.0}
    assert 0.03 < float(masks.mean()) < 0.6


def test_a_latent_that_holds_the_mask_explains_it() -> None:
    torch.manual_seed(0)
    network = SDSegNetwork.build(TINY).eval()
    masks = drawn_masks(64)[:, :1]
    pictures = torch.rand(4, 3, 64, 64) * 2.0 - 1.0

    class Knows(torch.nn.Module):
        def forward(self, picture):
            here = next(n for n in range(4) if torch.equal(pictures[n], picture[0]))
            cells = torch.nn.functional.adaptive_avg_pool2d(masks[here], 8)
            return torch.cat([cells, torch.zeros(3, 8, 8)])[None]

    network.vision_encoder = Knows()  # type: ignore[assignment]
    found = latent_content(network, pictures, masks)
    assert found["mask"] == pytest.approx(1.0, abs=1e-6) and found["picture"] < 0.5


def test_every_data_set_has_its_recipe() -> None:
    from engine.system.resources import resource_path

    files = [resource_path("recipes") / f"{d.recipe}.args" for d in DATA_SETS.values()]
    assert all(file.is_file() for file in files)
