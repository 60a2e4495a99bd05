"""Which runs there are: part, data set, side and seed of each."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

# Name here -> folder of the data, and recipe in resources/recipes (the shipped model's name too).
DATA_SETS = {
    "lungs": ("cxr_lungs", "chest-xray-lungs"),
    "polyp": ("polyp", "polyp"),
    "disc-cup": ("fundus_disc_cup", "fundus-disc-cup"),
    "ct-abdomen": ("ct_abdomen_2d", "ct-abdomen"),
    "hippocampus": ("mri_hippocampus_volumes", "mri-hippocampus"),
}
SIDES = {
    "sdseg": "SDSeg, compact",
    "fpn": "same trunk, FPN head",
    "unet": "MONAI U-Net from scratch",
    "dynunet": "MONAI DynUNet from scratch",
}
COMPARED = ("sdseg", "fpn", "unet")  # in parts a and b
CPU_PER_MINUTE = 2.0  # a minute stands for two minutes of processor time: both cores of a laptop
MINUTES = {"t": 5.0, "a": 5.0, "c": 60.0}  # part b: what the shipped recipe takes
SEEDS = {"lungs": 3, "polyp": 3}  # of part a; one on the others
TUNED_ON = ("polyp", "lungs")
RATES = {"fpn": (5e-4, 1e-3, 2e-3), "unet": (1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3)}
UNTUNED = 1e-3  # a peer's rate as long as no tuning run is there; SDSeg's own rate too
SHIPPED = ("polyp", "lungs", "disc-cup")
LONG = ("lungs", "disc-cup")  # where a network from scratch has the best chance


@dataclass(frozen=True)
class Run:
    """One training run with its scores, or the scores of a shipped model.

    Attributes:
        part: "t" tuning of the peers' rates on val; "a" five minutes each; "b" the time
            that the shipped recipes take; "c" an hour of DynUNet.
        data_set: of `DATA_SETS`.
        side: of `SIDES`.
        seed: of everything random.
        rate: learning rate of a tuning run; else None.
    """

    part: str
    data_set: str
    side: str
    seed: int = 0
    rate: float | None = None

    @property
    def name(self) -> str:
        """Of its result's file."""
        last = f"{self.seed}" if self.rate is None else f"{self.rate:g}"
        return f"{self.part}-{self.data_set}-{self.side}-{last}"

    @property
    def folder(self) -> str:
        """Name of the data's folder."""
        return DATA_SETS[self.data_set][0]

    @property
    def recipe(self) -> str:
        """Name of the recipe, and of the shipped model."""
        return DATA_SETS[self.data_set][1]

    @property
    def is_shipped(self) -> bool:
        """True where nothing is trained: the shipped model is scored."""
        return self.part == "b" and self.side == "sdseg"

    @property
    def only_val(self) -> bool:
        """True where nothing but val is scored: what is chosen by it never saw the test list."""
        return self.part == "t"


def planned() -> list[Run]:
    """All runs, in the order in which they are done."""
    runs = [
        Run("t", data_set, side, rate=rate)
        for data_set in TUNED_ON
        for side, rates in RATES.items()
        for rate in rates
    ]
    for seed in range(max(SEEDS.values())):
        for data_set in DATA_SETS:
            if seed < SEEDS.get(data_set, 1):
                runs += [Run("a", data_set, side, seed) for side in COMPARED]
    runs += [Run("b", data_set, side) for data_set in SHIPPED for side in COMPARED]
    return runs + [Run("c", data_set, "dynunet") for data_set in LONG]


def chosen(runs: list[Run], words: list[str] | None) -> list[Run]:
    """Those whose name a word begins (``a``, ``b-polyp``) or matches (``*-unet-*``); None: all."""
    if words is None:
        return runs
    return [r for r in runs if any(fnmatch(r.name, w) or fnmatch(r.name, f"{w}-*") for w in words)]
