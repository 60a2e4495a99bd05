"""What `segment` does with one input after the other."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.cli.main import say_warning
from engine.cli.segment_plan import Job, final, refuse_equal_targets
from engine.domain.box import Box, full_box, slice_box
from engine.domain.case import Case
from engine.domain.label_map import Origin
from engine.domain.labels import PALETTE, Label, LabelList
from engine.domain.requests import SegmentRequest
from engine.domain.volume import PLANE_AXIS, Volume
from engine.errors import Cancelled, UserError
from engine.io import open_case, save_mask, save_probability
from engine.io.kinds import MASK_ENDINGS, suffix_of
from engine.io.masks import check_same_case
from engine.io.orientation import array_box
from engine.io.replacing import check_can_be_made, check_targets
from engine.io.samples import sample_picture
from engine.models.store import ModelEntry, find_model, list_models
from engine.models.suitability import needs_box, slicing_axis
from engine.sdseg.choose import choose_model
from engine.sdseg.fit_check import FitResult, check_fit
from engine.sdseg.segmenter import Segmenter


@dataclass(frozen=True)
class Outcome:
    """What was done with one input.

    Attributes:
        source: the input.
        title: of the case.
        mask: the mask's file.
        files: everything that was written.
        segmenter: the model that answered.
        fit: how well it suits the case.
        slices: how many were segmented.
        found: label name -> {"voxels", and "share" of a single slice or "ml" of a volume whose
            voxels have a known size}.
    """

    source: Path
    title: str
    mask: Path
    files: list[Path]
    segmenter: Segmenter
    fit: FitResult
    slices: int
    found: dict[str, dict[str, float]]


class Run:
    """One call of `segment`: its options, and the models loaded so far."""

    def __init__(
        self, args: argparse.Namespace, inputs: Sequence[Path], is_stopped: Callable[[], bool]
    ) -> None:
        self.args = args
        self.inputs = inputs
        self.is_stopped = is_stopped
        self.named = find_model(args.model) if args.model else None
        self._loaded: dict[str, Segmenter] = {}

    def one(self, job: Job) -> Outcome:
        """Segments one case and writes its mask.

        Raises:
            Cancelled: asked to stop.
            UserError: it can't be read, segmented or written.
        """
        if self.is_stopped():
            raise Cancelled
        args = self.args
        if args.demo:
            case = sample_picture()
        else:
            case = open_case(job.source, series=args.series, time=args.time)
        for warning in case.warnings:
            say_warning(f"{case.name}: {warning}")
        mask, extras = self._targets(job, case)
        if args.roi:
            case.box = stored_box(args.roi, case.scan)
        segmenter, fit = self._model_for(case)
        request = self._request(case, segmenter)
        count, values, maps = self._segment(case, segmenter, request, list(extras))
        if args.slices and len(args.slices) < case.scan.slice_count:
            values = _only(values, case.scan, args.slices)
            case.warnings = (*case.warnings, _only_some(case.scan, args.slices))
        case.labels = _labels(segmenter, args.target)
        _write(case, values)
        use = segmenter.use(request)
        files = save_mask(case, mask, overlay=args.overlay, model=use, deidentify=args.deidentify)
        for kind, path in extras.items():
            files.append(save_probability(maps[kind], case.scan, path, case.source))
        found = _found(case)
        return Outcome(job.source, case.name, mask, files, segmenter, fit, count, found)

    def _targets(self, job: Job, case: Case) -> tuple[Path, dict[str, Path]]:
        """The mask's file, and those of the maps; refused before anything is computed."""
        args = self.args
        mask = final(job.mask, case)
        extras = {
            kind: final(target, case)
            for kind, target in (("probability", job.probability), ("stability", job.stability))
            if target is not None
        }
        targets = {"--output": mask, **{f"--{kind}": path for kind, path in extras.items()}}
        refuse_equal_targets(targets)
        check_targets(targets.values(), self.inputs)
        for path in targets.values():
            check_can_be_made(path)
        if suffix_of(args.output) not in MASK_ENDINGS:  # nobody named the file
            check_same_case(case, mask)
        return mask, extras

    def _load(self, entry: ModelEntry) -> Segmenter:
        if entry.sha256 not in self._loaded:
            loaded = Segmenter.load(entry, self.args.device, self.args.precision)
            self._loaded[entry.sha256] = loaded
        return self._loaded[entry.sha256]

    def _model_for(self, case: Case) -> tuple[Segmenter, FitResult]:
        """The named model, with a warning where it does not fit; else the one that fits.

        Raises:
            UserError: none fits, or the one that does wants a box first.
        """
        if self.named is None:
            return self._fitting_model(case)
        segmenter = self._load(self.named)
        fit = check_fit(self.named, case.scan, box=case.box)
        if not fit.fits:
            _warn(case, f"{segmenter.info.title} may not fit {case.name}: {fit.reason}.")
        if needs_box(segmenter.info, case.scan, case.box):
            _warn(case, f"{_too_large(case, segmenter)} {_box_hint(case)}")
        return segmenter, fit

    def _fitting_model(self, case: Case) -> tuple[Segmenter, FitResult]:
        entries, broken = list_models()
        for error in broken:
            say_warning(error.message)
        segmenter, results = choose_model(case.scan, case.box, entries, self._load)
        if segmenter is None:
            boxed = [e for e in entries if needs_box(e.info, case.scan, case.box)]
            names = ", ".join(entry.name for entry in entries) or "none is installed"
            box = " A box (--roi) may be missing." if boxed and not case.scan.is_picture else ""
            raise UserError(
                f"No installed model fits {case.name}.",
                hint=f"Name one with --model ({names}), or draw the mask by hand.{box}",
            )
        if needs_box(segmenter.info, case.scan, case.box):
            raise UserError(_too_large(case, segmenter), hint=_box_hint(case))
        return segmenter, results[segmenter.entry.name]

    def _request(self, case: Case, segmenter: Segmenter) -> SegmentRequest:
        """Raises UserError for a target the model does not have, or slices outside the scan."""
        args, scan = self.args, case.scan
        segmenter.target(args.target)
        axis = PLANE_AXIS[args.plane] if args.plane else slicing_axis(segmenter.info, scan)
        if args.slices and args.slices.stop > scan.slice_count:
            raise UserError(
                f"{case.name} has slices 0 to {scan.slice_count - 1}, "
                f"not {args.slices.start} to {args.slices.stop - 1}.",
                hint="--slices is half-open: 0:10 are the first ten.",
            )
        if scan.is_picture and axis != scan.plane:
            raise UserError(
                f"{case.name} is a picture, which can't be sliced another way.",
                hint="Leave --plane out, or name another model.",
            )
        span = (case.box or full_box(scan.grid.shape)).range_along(scan.plane)
        if args.slices and not set(args.slices) & set(span):
            raise UserError(
                f"The box and the slices asked for do not meet in {case.name}.",
                hint=f"The box covers slices {span.start} to {span.stop - 1}.",
            )
        # A slice is counted along the scan's own plane; cut the other way, all are needed.
        own = args.slices if args.slices and axis == scan.plane else None
        return SegmentRequest(
            scan=scan,
            slices=own or range(scan.grid.shape[axis]),
            target=args.target,
            box=case.box,
            plane=axis,
            seed=args.seed,
            samples=args.samples,
            steps=args.steps,
            threshold=args.threshold,
            window=args.window,
            batch=args.batch,
        )

    def _segment(
        self, case: Case, segmenter: Segmenter, request: SegmentRequest, kinds: list[str]
    ) -> tuple[int, NDArray[np.uint8], dict[str, NDArray[np.float32]]]:
        """Number of slices, label values ``[k, j, i]``, and the wanted maps by kind."""
        from tqdm import tqdm

        scan, axis = case.scan, request.axis
        values = np.zeros(scan.grid.shape, dtype=np.uint8)
        maps = {kind: np.zeros(scan.grid.shape, dtype=np.float32) for kind in kinds}
        count = 0
        noted = len(segmenter.inference.notes)
        with tqdm(unit="slice", disable=None, leave=False) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            for proposal in segmenter.segment(request, progress, self.is_stopped):
                place = (slice(None),) * axis + (proposal.index,)
                values[place][proposal.region] = proposal.labels
                for kind, whole in maps.items():
                    whole[place][proposal.region] = getattr(proposal, kind)
                count += 1
        for note in segmenter.inference.notes[noted:]:
            say_warning(f"{case.name}: {note}")
        return count, values, maps

    def report(self, outcomes: list[Outcome], load: float, total: float) -> dict[str, Any]:
        """What `--json` writes.

        Args:
            outcomes: of the inputs that were segmented.
            load: seconds until the program's own parts were there.
            total: seconds in all.
        """
        used = {o.segmenter.entry.sha256: o.segmenter for o in outcomes}
        seconds = {
            stage: sum(m.timings[stage] for m in used.values())
            for stage in ("load", "encode", "unet", "decode", "total")
        }
        slices = sum(o.slices for o in outcomes)
        models = [{"name": m.info.name, "sha256": m.entry.sha256} for m in used.values()]
        first = next(iter(used.values()), None)
        return {
            "outputs": [str(o.mask) for o in outcomes],
            "model": models[0] if models else None,
            "models": models,
            "device": first.inference.device.type if first else None,
            "precision": first.inference.precision if first else None,
            "batch": first.inference.batch if first else None,
            "seed": self.args.seed,
            "slices": slices,
            "cases": [_case_json(o) for o in outcomes],
            "seconds": {
                **seconds,
                "load": load + seconds["load"],
                "total": total,
                "per_slice": seconds["total"] / max(slices, 1),
            },
        }


def _warn(case: Case, text: str) -> None:
    """One `warning:` line, and a line of the manifest: whoever gets the mask should know, too."""
    say_warning(text)
    case.warnings = (*case.warnings, text)


def _only_some(scan: Volume, slices: range) -> str:
    """A line of the manifest: an empty slice may be one that nobody looked at."""
    return (
        f"Of slices 0 to {scan.slice_count - 1} only {slices.start} to {slices.stop - 1} "
        "were segmented."
    )


def _box_hint(case: Case) -> str:
    return "Name a smaller box with --roi." if case.box else "Name a box with --roi."


def _too_large(case: Case, segmenter: Segmenter) -> str:
    field = segmenter.info.preprocessing.field_mm or 0.0
    return (
        f"{case.name} is much larger than the {field:.0f} mm that {segmenter.info.title} "
        "was trained on."
    )


def stored_box(numbers: tuple[int, ...], scan: Volume) -> Box:
    """The --roi numbers, along the stored file's axes, as a box of the array.

    Raises:
        UserError: they leave the scan, or hold nothing.
    """
    lengths = [scan.grid.shape[scan.stored.axes.index(axis)] for axis in range(3)]
    starts, stops = (numbers[:2], numbers[2:4])
    ranges = [range(a, b) for a, b in zip(starts, stops, strict=True)]
    ranges.append(range(numbers[4], numbers[5]) if len(numbers) == 6 else range(lengths[2]))
    for inside, length in zip(ranges, lengths, strict=True):
        if not 0 <= inside.start < inside.stop <= length:
            size = " x ".join(str(n) for n in (lengths[:2] if scan.is_picture else lengths))
            raise UserError(
                f"--roi leaves the scan, which has {size} voxels, or is empty.",
                hint="The numbers are X0,Y0,X1,Y1[,Z0,Z1], half-open, along the file's axes.",
            )
    return array_box(scan.stored, (ranges[0], ranges[1], ranges[2]), scan.grid.shape)


def _only(values: NDArray[np.uint8], scan: Volume, slices: range) -> NDArray[np.uint8]:
    """Nothing but some slices along the scan's own plane."""
    inside = (slice(None),) * scan.plane + (slice(slices.start, slices.stop),)
    kept = np.zeros_like(values)
    kept[inside] = values[inside]
    return kept


def _labels(segmenter: Segmenter, target: str) -> LabelList:
    names = {1: target} if target else segmenter.info.classes
    return LabelList(
        tuple(Label(n, name, PALETTE[(n - 1) % len(PALETTE)]) for n, name in names.items())
    )


def _write(case: Case, values: NDArray[np.uint8]) -> None:
    """The model's answer into the label map, slice by slice along the scan's own plane."""
    label_map = case.label_map
    for index in range(case.scan.slice_count):
        box = slice_box(label_map.shape, label_map.plane, index)
        part = values[box.slices]
        edit = label_map.make_edit(box, part > 0, part, Origin.MODEL)
        if edit is not None:
            label_map.apply(edit)
    case.review = case.review.after_proposal()


def _found(case: Case) -> dict[str, dict[str, float]]:
    scan, values = case.scan, case.label_map.array
    counts = np.bincount(values.reshape(-1), minlength=256)
    found: dict[str, dict[str, float]] = {}
    for label in case.labels:
        voxels = int(counts[label.id])
        found[label.name] = {"voxels": voxels}
        if scan.slice_count == 1:
            found[label.name]["share"] = voxels / values.size
        elif scan.grid.calibrated:
            found[label.name]["ml"] = scan.volume_ml(values == label.id)
    return found


def _case_json(outcome: Outcome) -> dict[str, Any]:
    fit = outcome.fit
    return {
        "input": str(outcome.source),
        "output": str(outcome.mask),
        "files": [str(path) for path in outcome.files],
        "model": outcome.segmenter.info.name,
        "slices": outcome.slices,
        "found": outcome.found,
        "fit": {"fits": fit.fits, "distance": fit.distance, "threshold": fit.threshold},
    }
