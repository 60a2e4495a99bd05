"""One JSON file a run; a run whose file is there is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.peers.plan import RATES, TUNED_ON, UNTUNED, Run
from engine.errors import UserError
from engine.system.atomic import atomic_write_text

Result = dict[str, Any]


class Results:
    """A folder of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, run: Run) -> Path:
        """Where a run's result is, or will be."""
        return self.folder / f"{run.name}.json"

    def read(self, run: Run) -> Result | None:
        """A run's result, or None if it is not done.

        Raises:
            UserError: the file is damaged.
        """
        file = self.file(run)
        if not file.is_file():
            return None
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{file.name} is damaged.", hint="Delete it; the run is redone."
            ) from error

    def write(self, run: Run, result: Result) -> None:
        """Writes a result as a whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(self.file(run), json.dumps(result, indent=1) + "\n")

    def tuning_left(self, run: Run) -> list[str]:
        """Names of the tuning runs that a peer's rate still depends on."""
        if run.rate is not None:
            return []
        wanted = [
            Run("t", name, run.side, rate=rate)
            for name in _tuned_on(run)
            for rate in RATES.get(run.side, ())
        ]
        return [tuning.name for tuning in wanted if self.read(tuning) is None]

    def rate_of(self, run: Run) -> tuple[float | None, int]:
        """Learning rate of a run, and the number of tuning runs that it was chosen from.

        The best on val of the data set's own tuning runs; where it has none, the best mean over the
        data sets that were tuned. SDSeg's (None) stands in its recipe.
        """
        if run.rate is not None:
            return run.rate, 0
        if run.side == "sdseg":
            return None, 0
        sets = _tuned_on(run)
        scores: dict[float, float] = {}
        count = 0
        for rate in RATES.get(run.side, ()):
            found = [self.read(Run("t", name, run.side, rate=rate)) for name in sets]
            done = [result["val"]["dice"] for result in found if result]
            if len(done) == len(sets):  # a rate that was tried on one set only can't be compared
                scores[rate] = sum(done) / len(done)
                count += len(done)
        return (max(scores, key=lambda r: scores[r]), count) if scores else (UNTUNED, 0)


def _tuned_on(run: Run) -> tuple[str, ...]:
    """Data sets whose tuning runs decide a run's rate."""
    return (run.data_set,) if run.data_set in TUNED_ON else TUNED_ON
