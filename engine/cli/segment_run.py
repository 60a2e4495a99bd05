"""What `segment` does with one input after the other."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.cli.main import say_warning
from engine.domain.box import Box
from engine.domain.case import Case
from engine.domain.label_map import Origin
from engine.domain.labels import LabelList
from engine.domain.manifest import ModelUse
from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.volume import PLANE_AXIS, Volume
from engine.errors import UserError
from engine.io import list_cases, open_case, save_mask, save_probability
from engine.io.kinds import Kind, kind_of, stem_of, suffix_of
from engine.io.orientation import array_box
from engine.io.samples import sample_picture
from engine.models.store import ModelEntry, find_model, list_models
from engine.models.suitability import needs_box, slicing_axis
from engine.sdseg.choose import choose_model
from engine.sdseg.segmenter import Segmenter

KNOWN_ENDINGS = (".png", ".nii", ".nii.gz")


@dataclass(frozen=True)
class Outcome:
    """What was done with one input."""

    case_name: str
    model_title: str
    outputs: list[Path]
    area: str
    slices: int
    segmenter: Segmenter


def plan_outputs(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Input and output path of each case.

    Raises:
        UserError: two inputs would be written to the same file.
    """
    inputs = list_cases(source)
    if suffix_of(output) in KNOWN_ENDINGS:
        if len(inputs) > 1:
            raise UserError(
                f"{source.name} holds {len(inputs)} cases and {output.name} is one file.",
                hint="Name a folder as --output.",
            )
        return [(inputs[0], output)]
    planned: dict[Path, Path] = {}
    for path in inputs:
        target = output / (stem_of(path) + _ending(path))
        if target in planned:
            other = planned[target].name
            raise UserError(
                f"{path.name} and {other} would both become {target.name}.",
                hint="Rename one of them, or segment them one at a time.",
            )
        planned[target] = path
    return [(path, target) for target, path in planned.items()]


def _ending(path: Path) -> str:
    return ".png" if kind_of(path) is Kind.PICTURE else ".nii.gz"


class Run:
    """One call of `segment`: its options, and the models loaded so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.named = find_model(args.model) if args.model else None
        self._loaded: dict[str, Segmenter] = {}
        self._demo: Case | None = None

    def demo_jobs(self) -> list[tuple[Path, Path]]:
        """The built-in case, into the chosen folder or file."""
        self._demo = sample_picture()
        output: Path = self.args.output
        if suffix_of(output) not in KNOWN_ENDINGS:
            output = output / (stem_of(self._demo.source) + ".png")
        return [(self._demo.source, output)]

    def one(self, source: Path, output: Path) -> Outcome:
        """Segments one case and writes its mask.

        Raises:
            UserError: it can't be read, segmented or written.
        """
        case = self._demo or open_case(source, series=self.args.series)
        for warning in case.warnings:
            say_warning(f"{source.name}: {warning}")
        if self.args.roi:
            case.box = _box(self.args.roi, case.scan)
        segmenter = self._segmenter(case)
        proposals, request = self._segment(case, segmenter)
        written = save_mask(
            case, output, overlay=self.args.overlay, model=self._use(segmenter, request)
        )
        if self.args.probability:
            written.append(_write_probability(case, proposals, self.args.probability))
        area = _area(case)
        return Outcome(case.name, segmenter.info.title, written, area, len(proposals), segmenter)

    def _load(self, entry: ModelEntry) -> Segmenter:
        if entry.sha256 not in self._loaded:
            loaded = Segmenter.load(entry, self.args.device, self.args.precision)
            self._loaded[entry.sha256] = loaded
        return self._loaded[entry.sha256]

    def _segmenter(self, case: Case) -> Segmenter:
        """The named model, with a warning where it does not fit; else the one that fits."""
        if self.named is not None:
            segmenter = self._load(self.named)
            if self.args.steps > 1:
                _refuse_steps(segmenter)
            fit = segmenter.fit_distance(case.scan, box=case.box)
            if not fit.fits:
                say_warning(f"{segmenter.info.title} may not fit {case.name}: {fit.reason}.")
        else:
            entries, broken = list_models()
            for error in broken:
                say_warning(error.message)
            chosen, _ = choose_model(case.scan, case.box, entries, self._load)
            if chosen is None:
                names = ", ".join(entry.name for entry in entries) or "none"
                raise UserError(
                    f"No installed model fits {case.name}.",
                    hint=f"Name one with --model ({names}), or draw the mask by hand.",
                )
            segmenter = chosen
            if self.args.steps > 1:
                _refuse_steps(segmenter)
        if needs_box(segmenter.info, case.scan, case.box):
            field = segmenter.info.preprocessing.field_mm
            say_warning(
                f"{case.name} is much larger than the {field:.0f} mm that {segmenter.info.title} "
                "was trained on; name a box with --roi."
            )
        return segmenter

    def _segment(self, case: Case, segmenter: Segmenter) -> tuple[list[Proposal], SegmentRequest]:
        from tqdm import tqdm

        args, scan = self.args, case.scan
        axis = PLANE_AXIS[args.plane] if args.plane else slicing_axis(segmenter.info, scan)
        request = SegmentRequest(
            scan=scan,
            slices=args.slices or range(scan.grid.shape[axis]),
            target=args.target,
            box=case.box,
            plane=axis,
            seed=args.seed,
            samples=args.samples,
            threshold=args.threshold,
            window=args.window,
            batch=args.batch,
        )
        names = {1: args.target} if args.target else segmenter.info.classes
        for name in names.values():
            case.labels = LabelList(case.labels.labels).added(name)
        proposals: list[Proposal] = []
        with tqdm(total=len(request.slices), unit="slice", disable=None, leave=False) as bar:
            for proposal in segmenter.segment(request):
                _write(case, proposal)
                keep = proposal if args.probability else replace(proposal, probability=_NOTHING)
                proposals.append(keep)
                bar.update()
        for note in segmenter.notes:
            say_warning(note)
        return proposals, request

    def _use(self, segmenter: Segmenter, request: SegmentRequest) -> ModelUse:
        return ModelUse(
            name=segmenter.info.name,
            sha256=segmenter.entry.sha256,
            target=request.target or segmenter.info.targets[0].name,
            seed=request.seed,
            threshold=request.threshold,
            samples=request.samples,
            device=segmenter.device.type,
            precision=segmenter.precision,
            batch=segmenter.batch,
        )

    def report(self, outcomes: list[Outcome], total: float) -> dict[str, Any]:
        """What `--json` writes."""
        used = {o.segmenter.entry.sha256: o.segmenter for o in outcomes}
        stages = ("load", "encode", "unet", "decode")
        seconds = {s: sum(m.timings[s] for m in used.values()) for s in stages}
        slices = sum(o.slices for o in outcomes)
        work = seconds["encode"] + seconds["unet"] + seconds["decode"]
        models = [{"name": m.info.name, "sha256": m.entry.sha256} for m in used.values()]
        first = next(iter(used.values()), None)
        return {
            "outputs": [str(path) for o in outcomes for path in o.outputs],
            "model": models[0] if models else None,
            "models": models,
            "device": first.device.type if first else None,
            "precision": first.precision if first else None,
            "seed": self.args.seed,
            "slices": slices,
            "area": [o.area for o in outcomes],
            "seconds": {**seconds, "total": total, "per_slice": work / max(slices, 1)},
        }


_NOTHING = np.zeros((0, 0), dtype=np.float32)


def _refuse_steps(segmenter: Segmenter) -> None:
    raise UserError(
        f"More than one step is not available for {segmenter.info.title}.",
        hint="Leave --steps out: SDSeg answers in a single step.",
    )


def _box(numbers: tuple[int, ...], scan: Volume) -> Box:
    """The --roi numbers, along the stored file's axes, as a box of the array.

    Raises:
        UserError: nothing lies inside.
    """
    ranges = [range(numbers[0], numbers[2]), range(numbers[1], numbers[3])]
    depth = scan.grid.shape[0] if scan.is_picture else _stored_length(scan)
    ranges.append(range(numbers[4], numbers[5]) if len(numbers) == 6 else range(depth))
    box = array_box(scan.stored, (ranges[0], ranges[1], ranges[2]), scan.grid.shape)
    if box.clipped(scan.grid.shape).is_empty:
        raise UserError("No voxel of the scan lies inside --roi.", hint="Check its numbers.")
    return box.clipped(scan.grid.shape)


def _stored_length(scan: Volume) -> int:
    """Length of the stored file's third axis."""
    return scan.grid.shape[scan.stored.axes.index(2)]


def _write(case: Case, proposal: Proposal) -> None:
    """One proposal into the label map."""
    rows, columns = proposal.region
    start = [0, 0, 0]
    stop = list(case.scan.grid.shape)
    axes = [a for a in range(3) if a != proposal.plane]
    for axis, part in zip(axes, (rows, columns), strict=True):
        start[axis], stop[axis] = part.start, part.stop
    start[proposal.plane], stop[proposal.plane] = proposal.index, proposal.index + 1
    box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    labels = np.expand_dims(proposal.labels, proposal.plane)
    edit = case.label_map.make_edit(box, labels > 0, labels, Origin.MODEL)
    if edit is not None:
        case.label_map.apply(edit)


def _write_probability(case: Case, proposals: list[Proposal], path: Path) -> Path:
    whole = np.zeros(case.scan.grid.shape, dtype=np.float32)
    for proposal in proposals:
        slot = whole[(slice(None),) * proposal.plane + (proposal.index,)]
        slot[proposal.region] = proposal.probability
    return save_probability(whole, case.scan, path)


def _area(case: Case) -> str:
    """How much was found, in words."""
    parts: list[str] = []
    for label in case.labels:
        count = int((case.label_map.array == label.id).sum())
        if case.scan.is_picture:
            share = count / case.label_map.array.size
            parts.append(f"{label.name} {count} pixels ({share:.1%} of the picture)")
        else:
            volume = count * case.scan.grid.voxel_volume_ml
            parts.append(f"{label.name} {volume:.2f} mL ({count} voxels)")
    return ", ".join(parts)
