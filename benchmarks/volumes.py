"""Memory, speed and stopping of a volume's segmentation, on this computer.

    python -m benchmarks.volumes [--model NAME] [--json FILE]

Prints: resident memory after volumes of growing length, slices a second the first and the second
time (condition latents are kept), seconds from the wish to stop until the segmenter has stopped,
and what several samples cost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from engine.domain.grid import Grid
from engine.domain.requests import SegmentRequest
from engine.domain.volume import Volume
from engine.errors import Cancelled
from engine.models.store import find_model
from engine.sdseg.segmenter import Segmenter

SIDE = 256
LENGTHS = (20, 40, 80, 160)
STOPS = 20
SAMPLES = 8


def scan_of(slices: int, seed: int = 0) -> Volume:
    shape = (slices, SIDE, SIDE)
    values = np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)
    return Volume(values, Grid(shape, np.diag([-0.2, -0.2, 1.0, 1.0])), modality="MR")


def run(segmenter: Segmenter, request: SegmentRequest) -> float:
    """Seconds a slice."""
    started = time.perf_counter()
    count = sum(1 for _ in segmenter.segment(request))
    return (time.perf_counter() - started) / count


def memory_by_length(segmenter: Segmenter) -> list[dict[str, float]]:
    rows = []
    process = psutil.Process()
    for length in LENGTHS:
        scan = scan_of(length)
        before = process.memory_info().rss
        first = run(segmenter, SegmentRequest(scan, range(length)))
        grown = process.memory_info().rss - before
        again = run(segmenter, SegmentRequest(scan, range(length)))
        latents = segmenter.inference.latents
        rows.append({
            "slices": length, "grown_mb": grown / 2**20, "latents_kept": latents.count,
            "seconds_a_slice": first, "seconds_a_slice_again": again,
        })  # fmt: skip
    return rows


def stopping(segmenter: Segmenter, batch: int) -> list[float]:
    """Seconds from the wish to the end, the wish coming at any moment of a batch."""
    found = []
    scan = scan_of(40)
    for n in range(STOPS):
        wish = threading.Event()
        asked = []

        def ask(wish: threading.Event = wish, asked: list[float] = asked) -> None:
            asked.append(time.perf_counter())
            wish.set()

        timer = threading.Timer(0.3 + 0.07 * n, ask)
        timer.start()
        try:
            for _ in segmenter.segment(
                SegmentRequest(scan, range(40), seed=n, batch=batch, window=(500.0 + n, 900.0)),
                is_cancelled=wish.is_set,
            ):
                pass
        except Cancelled:
            found.append(time.perf_counter() - asked[0])
        timer.cancel()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mri-hippocampus")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    segmenter = Segmenter.load(find_model(args.model), "cpu")
    run(segmenter, SegmentRequest(scan_of(3, seed=1), range(3)))  # warm
    report: dict[str, Any] = {"model": args.model, "memory": memory_by_length(segmenter)}
    for batch in (1, 8):
        stops = stopping(segmenter, batch)
        report[f"stop_s_batch_{batch}"] = {
            "median": statistics.median(stops), "max": max(stops), "runs": len(stops),
        }  # fmt: skip
    scan = scan_of(10)
    one = run(segmenter, SegmentRequest(scan, range(10), window=(500.0, 800.0)))
    many = run(segmenter, SegmentRequest(scan, range(10), samples=SAMPLES, window=(500.0, 801.0)))
    report["samples"] = {"count": SAMPLES, "seconds_a_slice": many, "seconds_a_slice_of_one": one}
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
