"""Runs the workers of one format, and counts how its mutants ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.mutants.formats import Format
from benchmarks.mutants.worker import ERROR, MOST_S, OPENED, REFUSED, put
from engine.errors import UserError
from engine.system.watching import ChildWatch

ROOT = Path(__file__).resolve().parents[2]
BATCH = 2500  # mutants of one worker
MOST_MB = 1024.0  # promise 4
GIVE_UP_S, GIVE_UP_BYTES = 120.0, 3 * 2**29  # a worker that needs more is ended
START_S = 300.0
NAMED = 20  # failures that a result lists


@dataclass
class Tally:
    """How the mutants of a format ended; a mutant may count as slow or large besides."""

    opened: int = 0
    refused: int = 0
    errors: int = 0
    deaths: int = 0
    slow: int = 0
    large: int = 0
    worst_seconds: float = 0.0
    worst_mb: float = 0.0
    worst_helper_mb: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return self.errors + self.deaths + self.slow + self.large

    def add(self, line: dict[str, Any]) -> str:
        """Counts one mutant; why it fails, or ""."""
        outcome, seconds, mb = line["outcome"], line["seconds"], line["mb"]
        self.opened += outcome == OPENED
        self.refused += outcome == REFUSED
        self.errors += outcome == ERROR
        self.slow += seconds > MOST_S
        self.large += mb > MOST_MB
        self.worst_seconds = max(self.worst_seconds, seconds)
        self.worst_mb = max(self.worst_mb, mb)
        self.worst_helper_mb = max(self.worst_helper_mb, line["helper_mb"])
        if outcome == ERROR:
            return line["text"].strip().splitlines()[-1]
        if seconds > MOST_S:
            return f"{outcome} after {seconds:.1f} s"
        return f"{outcome} with {mb:.0f} MB" if mb > MOST_MB else ""

    def result(self) -> dict[str, Any]:
        """As it stands in a file."""
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**rounded, "failures": self.failures[:NAMED]}


@dataclass(frozen=True)
class Run:
    """One format's mutants.

    Attributes:
        fmt: the format.
        seed, count: which mutants.
        keep: folder that gets the mutants that fail.
    """

    fmt: Format
    seed: int
    count: int
    keep: Path

    def tally(self) -> Tally:
        """Opens all of them.

        Raises:
            UserError: not even the valid file opens.
        """
        shutil.rmtree(self.keep, ignore_errors=True)
        tally, done = Tally(), 0
        while done < self.count:
            done = self._batch(tally, done, min(self.count, done + BATCH))
        return tally

    def _batch(self, tally: Tally, first: int, last: int) -> int:
        """Runs one worker until its end, or its death; the first mutant that was not opened."""
        done, swollen = first, False
        with _work_folder() as folder, _Worker(self.fmt, self.seed, first, last, folder) as worker:
            for line in worker.lines():
                done += 1
                why = tally.add(line)
                if why:
                    self._keep(tally, line["n"], why, line["text"])
                if line["mb"] > MOST_MB:  # its memory would count for the next ones too
                    swollen = True
                    worker.child.kill()
            code = worker.child.wait()
            if done == last or swollen:
                return done
            if not worker.ready:
                raise UserError(f"The worker for {self.fmt.name} failed.", hint=worker.words())
            self._death(tally, done, worker.watch.reason, code, worker.words())
        return done + 1

    def _death(self, tally: Tally, number: int, reason: str, code: int, words: str) -> None:
        if "memory" in reason:
            tally.large += 1
            tally.worst_mb = max(tally.worst_mb, GIVE_UP_BYTES / 2**20)
        elif reason:
            tally.slow += 1
            tally.worst_seconds = max(tally.worst_seconds, GIVE_UP_S)
        else:
            tally.deaths += 1
        self._keep(tally, number, reason or f"died with {code}", words)

    def _keep(self, tally: Tally, number: int, why: str, text: str) -> None:
        tally.failures.append({"n": number, "why": why})
        if len(tally.failures) > NAMED * 5:
            return
        files = self.fmt.mutant(self.fmt.files(), self.seed, number)
        put(self.keep / str(number), files, self.fmt)
        (self.keep / f"{number}.txt").write_text(f"{why}\n{text}\n", encoding="utf-8")


class _Worker:
    """A worker under watch; a context that ends it."""

    def __init__(self, fmt: Format, seed: int, first: int, last: int, folder: str) -> None:
        command = [sys.executable, "-X", "faulthandler", "-m", "benchmarks.mutants.worker"]
        command += [fmt.name, str(seed), str(first), str(last), folder]
        self.ready = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, closed when the context ends
        self.child = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said,
        )  # fmt: skip
        self.watch = ChildWatch(self.child)
        self.watch.until(START_S)
        self.watch.start()

    def lines(self) -> Iterator[dict[str, Any]]:
        """What it tells, each mutant with its own limits."""
        assert self.child.stdout is not None
        for raw in self.child.stdout:
            self.watch.until(GIVE_UP_S)
            if raw == b"ready\n":
                self.ready = True
                self.watch.within(GIVE_UP_BYTES)
            else:
                yield json.loads(raw)

    def words(self) -> str:
        """The end of what it wrote to its standard error."""
        self._said.seek(0)
        return self._said.read()[-4000:].decode("utf-8", "replace")

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.stop()
        self.child.kill()
        self.child.communicate()
        self._said.close()


def _work_folder() -> tempfile.TemporaryDirectory[str]:
    """In memory where the system has such a place."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(
        prefix="mutants-", dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True
    )
