"""The data of a run: looked for, checked and read before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import UserError
from engine.evaluation.pairs import Pair, composed, find_pairs, read_names
from engine.system.atomic import atomic_write_text
from engine.training.checkpoint import make_run_folder
from engine.training.dataset import SliceDataset, read_dataset
from engine.training.options import TrainOptions
from engine.training.patients import check_sides, usual_file
from engine.training.sources import CaseSource, LoadedCase, PairSource
from engine.training.truths import Known, values_of

Say = Callable[[str], None]


def pairs_of(options: TrainOptions, split: Path) -> list[Pair]:
    """The cases of a split as something to score on.

    Raises:
        UserError: the split can't be read, or names what is not there.
    """
    if options.dealt is not None:
        cases = options.dealt.val if split == options.val else options.dealt.train
        return [source.pair for source in cases]
    return find_pairs(options.images, options.masks, read_names(split), split.name)


def read_data(options: TrainOptions, say: Say) -> tuple[SliceDataset, SliceDataset]:
    """Reads train and val, and looks at test.

    What names alone can tell is refused before the first picture is read; the rest while each file
    is read once (those of test once more, when they are scored).

    Args:
        options: of the run.
        say: told what was read, and what was odd about masks.

    Raises:
        UserError: a file is missing, damaged, or can't be meant; a case or patient stands on both
            sides; a class never occurs.
    """
    dealt = options.dealt
    found: dict[Path, Sequence[CaseSource]] = (
        {options.train: dealt.train, options.val: dealt.val}
        if dealt
        else _file_sources(options, say)
    )
    train = _read(options, options.train, found[options.train], say)
    val = _read(options, options.val, found[options.val], say)
    for source in found.get(options.test, []) if options.test else []:
        _say_all(source.load().remarks, say)
    return train, val


def _file_sources(options: TrainOptions, say: Say) -> dict[Path, Sequence[CaseSource]]:
    splits = [options.train, options.val, *([options.test] if options.test else [])]
    names = {split: [composed(name) for name in read_names(split)] for split in splits}
    for split in splits:
        _check_once(split, names[split])
    for split in splits[1:]:
        _check_apart(options.train, split, names)
    beside = (options.train.parent, options.images.parent)
    patients = options.patients or usual_file(beside, say)
    check_sides([(split.name, names[split]) for split in splits], patients)
    known = Known(options.targets, options.named_values)
    pairs = {split: pairs_of(options, split) for split in splits}
    return {split: [PairSource(pair, known) for pair in pairs[split]] for split in splits}


def _check_once(split: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"{split.name} names {name} twice.", hint="Keep one of the lines.")
        seen.add(name)


def _check_apart(train: Path, other: Path, names: dict[Path, list[str]]) -> None:
    both = sorted({*names[train]} & {*names[other]})
    if both:
        raise UserError(
            f"{both[0]} stands in {train.name} and in {other.name}.",
            hint="A case that is trained on can't tell how good the model is on others.",
        )


def _say_all(remarks: Sequence[str], say: Say) -> None:
    for text in remarks:
        say(text)


@dataclass
class _Watched:
    """A source whose mask values are noted while it is read, and what was odd is said."""

    source: CaseSource
    say: Say
    values: set[int] = field(default_factory=set[int])

    @property
    def name(self) -> str:
        return self.source.name

    def load(self) -> LoadedCase:
        case = self.source.load()
        _say_all(case.remarks, self.say)
        self.values |= values_of(case.truth)
        return case


def _read(
    options: TrainOptions, split: Path, sources: Sequence[CaseSource], say: Say
) -> SliceDataset:
    watched = [_Watched(source, say) for source in sources]
    data = read_dataset(watched, options.preprocessing, options.groups, options.plane)
    values = {n for source in watched for n in source.values} - {0}
    for place, name in enumerate(options.classes.values()):
        if not (data.masks[:, place] > 127).any():
            raise _never(split.name, name, options.groups[place], values, data.size)
    say(f"{split.name}: {len(sources)} cases, {len(data)} slices")
    return data


def _never(split: str, name: str, group: Sequence[int], values: set[int], size: int) -> UserError:
    """A class that never occurs can't be learned, nor scored."""
    ids = ", ".join(str(n) for n in group)
    if values & {*group}:
        return UserError(
            f"Nothing of {name} is left in {split} at {size} x {size} pixels: it is too small.",
            hint="Train with a larger --size, or on crops around it.",
        )
    found = "hold " + ", ".join(str(n) for n in sorted(values)) if values else "are empty"
    return UserError(
        f"No mask of {split} shows the target {name} (value {ids}): the masks {found}.",
        hint="A class must occur in train and in val. Move a case that shows it, or train without "
        "this target.",
    )


def keep_split(options: TrainOptions) -> None:
    """Writes down which cases of the projects the run learns from; a source is never written."""
    if options.dealt is None:
        return
    for split, sources in (
        (options.train, options.dealt.train),
        (options.val, options.dealt.val),
    ):
        make_run_folder(split.parent)
        atomic_write_text(split, "".join(f"{source.name}\n" for source in sources))
