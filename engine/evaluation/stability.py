"""How much a model's answers change with the noise (section 3.3, appendix A and table 5).

The whole set is segmented several times, each run with its own seed. On the network's square every
two runs' maps of the same slice are compared. The runs of a slice advance together, so that memory
holds a few maps a run, however many slices there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import Cancelled
from engine.evaluation.lpips import Lpips
from engine.evaluation.pairs import Pair, naming
from engine.evaluation.scoring import requests_of
from engine.evaluation.squares import square_mask, square_score
from engine.sdseg.segmenter import Segmenter

FIGURES = ("psnr", "ssim", "ms_ssim", "dice", "lpips")
PAIRS_AT_ONCE = 16
# MS-SSIM halves the picture four times and lays an 11-pixel window over what is left: at 160
# pixels nothing would be.
MS_SSIM_HALVED, MS_SSIM_WINDOW = 16, 11


def measure_stability(
    segmenter: Segmenter,
    pairs: list[Pair],
    runs: int,
    seed: int = 0,
    lpips: Lpips | None = None,
    progress: Callable[[], object] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Compares runs over a whole set, every two of them.

    Args:
        segmenter: the model.
        pairs: the cases; their masks are not looked at.
        runs: at least 2, with the seeds seed, seed + 1, ...
        seed: of the first run.
        lpips: None leaves LPIPS out.
        progress: called after each case.
        is_cancelled: asked by the segmenter and between comparisons.

    Returns:
        {"runs", "size": pixels, "pairs": of maps, "masks": figures, "scores": figures}; figures
        are "psnr" (dB, without the identical pairs, which have none), "ssim", "ms_ssim", "dice",
        "lpips" and "identical_pairs": each the mean over all pairs, None if there is none.

    Raises:
        Cancelled: asked to stop.
        UserError: a file can't be read.
    """
    masks, scores = PairFigures(lpips), PairFigures(lpips)
    for pair in pairs:
        with naming(pair):
            for maps in _slices_of(segmenter, pair, runs, seed, is_cancelled):
                masks.add(np.stack([square_mask(m) for m in maps]), is_cancelled)
                scores.add(np.stack([square_score(m) for m in maps]), is_cancelled)
        if progress:
            progress()
    figures = {"masks": masks.as_json(), "scores": scores.as_json()}
    size = segmenter.info.preprocessing.size
    return {"runs": runs, "size": size, "pairs": masks.pairs, **figures}


def _slices_of(
    segmenter: Segmenter,
    pair: Pair,
    runs: int,
    seed: int,
    is_cancelled: Callable[[], bool] | None,
) -> Iterator[list[NDArray[np.float32]]]:
    """Slice by slice, the maps [C, size, size] of all runs."""
    scan = pair.open()
    requests = (requests_of(segmenter, pair, scan, seed + n) for n in range(runs))
    for alike in zip(*requests, strict=True):
        answers = [segmenter.squares(r, is_cancelled=is_cancelled) for r in alike]
        for together in zip(*answers, strict=True):
            yield [maps for _, maps in together]


class PairFigures:
    """Sums of figures over pairs of maps in 0..1.

    LPIPS is the mean over every two runs of the set; as all runs have the same slices, that is the
    mean over pairs.

    Attributes:
        pairs: compared so far.
        identical: of them, equal in every pixel.
    """

    def __init__(self, lpips: Lpips | None = None) -> None:
        self.pairs = 0
        self.identical = 0
        self._lpips = lpips
        self._sums: dict[str, float] = dict.fromkeys(FIGURES, 0.0)
        self._counts: dict[str, int] = dict.fromkeys(FIGURES, 0)

    def add(
        self, maps: NDArray[np.float32], is_cancelled: Callable[[], bool] | None = None
    ) -> None:
        """Compares every two maps of one slice.

        Args:
            maps: [runs, size, size].
            is_cancelled: asked between comparisons.

        Raises:
            Cancelled: asked to stop.
        """
        stack = torch.from_numpy(maps)
        features = self._lpips.features(stack) if self._lpips else None
        chosen = list(combinations(range(len(stack)), 2))
        for start in range(0, len(chosen), PAIRS_AT_ONCE):
            if is_cancelled and is_cancelled():
                raise Cancelled
            part = chosen[start : start + PAIRS_AT_ONCE]
            first, second = [a for a, _ in part], [b for _, b in part]
            self._add_pairs(stack[first], stack[second])
            if self._lpips and features:
                a, b = ([layer[side] for layer in features] for side in (first, second))
                self._note("lpips", self._lpips.distance(a, b))

    def as_json(self) -> dict[str, float | int | None]:
        """The means, and how many pairs were identical."""
        means = {
            name: self._sums[name] / self._counts[name] if self._counts[name] else None
            for name in FIGURES
        }
        return {**means, "identical_pairs": self.identical}

    def _add_pairs(self, a: Tensor, b: Tensor) -> None:
        error = (a.double() - b.double()).square().mean(dim=(1, 2))
        self.pairs += len(a)
        self.identical += int((error == 0).sum())
        self._note("psnr", psnr(error[error > 0]))
        self._note("dice", soft_dice(a, b))
        self._note("ssim", ssim(a, b))
        if has_ms_ssim(a.shape[-1]):
            self._note("ms_ssim", ms_ssim(a, b))

    def _note(self, figure: str, values: Tensor) -> None:
        self._sums[figure] += float(values.double().sum())
        self._counts[figure] += len(values)


def psnr(error: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors of maps in 0..1."""
    return -10.0 * torch.log10(error)


def soft_dice(a: Tensor, b: Tensor) -> Tensor:
    """Dice [N] of maps [N, size, size] in 0..1; two empty maps agree (1).

    2 sum min(a, b) / (sum a + sum b): of masks the Dice coefficient, and 1 for equal scores.
    """
    a, b = a.double(), b.double()
    common, total = torch.minimum(a, b).sum(dim=(1, 2)), (a + b).sum(dim=(1, 2))
    return torch.where(total > 0, 2.0 * common / total.clamp(min=1e-300), 1.0)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """MONAI's SSIM [N] of maps [N, size, size] in 0..1."""
    from monai.metrics.regression import SSIMMetric

    metric = SSIMMetric(spatial_dims=2, data_range=1.0)
    return torch.as_tensor(metric(a[:, None], b[:, None]))[:, 0]


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MONAI's multi-scale SSIM [N] of maps [N, size, size] in 0..1; see `has_ms_ssim`."""
    from monai.metrics.regression import MultiScaleSSIMMetric

    metric = MultiScaleSSIMMetric(spatial_dims=2, data_range=1.0)
    return torch.as_tensor(metric(a[:, None], b[:, None]))[:, 0]


def has_ms_ssim(size: int) -> bool:
    """True if maps of this side are large enough for MS-SSIM: more than 160 pixels."""
    return size // MS_SSIM_HALVED >= MS_SSIM_WINDOW
