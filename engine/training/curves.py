"""The course of a run: a table, a picture of it, and TensorBoard where it is asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.io.kinds import writing
from engine.system.atomic import atomic_write, atomic_write_text
from engine.training.chart import draw_chart
from engine.training.checkpoint import make_run_folder

TABLE, PICTURE, BOARD = "curves.csv", "curves.png", "tensorboard"
LOSSES = ("loss", "noise", "latent", "mask", "pyramid")
COLUMNS = ("step", "cpu_minutes", *LOSSES, "val_dice")
EVERY = 20  # steps between two rows without a score on val


def board_writer() -> Any:
    """The class that writes files for TensorBoard.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds
    except ImportError as error:
        raise UserError(
            "The package tensorboard is not installed.",
            hint="Leave --tensorboard out, or install it with: pip install 'sdseg-studio[train]'",
        ) from error
    return SummaryWriter


class Curves:
    """Loss terms and Dice on val over the steps of one run, in its folder."""

    def __init__(self, folder: Path, board: bool = False) -> None:
        self.folder = folder
        self._wants_board = board
        self._board: Any = None
        self._rows: list[dict[str, str]] = []

    def begin(self, step: int) -> None:
        """Keeps what an earlier part of the run wrote up to `step`; later rows will come again.

        Raises:
            UserError: the folder can't be written, or TensorBoard is missing.
        """
        make_run_folder(self.folder)
        self._rows = [row for row in self._read() if int(row["step"]) <= step]
        text = io.StringIO(newline="")
        self._writer(text).writeheader()
        self._writer(text).writerows(self._rows)
        atomic_write_text(self.folder / TABLE, text.getvalue())
        if self._wants_board:
            self._board = board_writer()(str(self.folder / BOARD), purge_step=step + 1)

    def _read(self) -> list[dict[str, str]]:
        file = self.folder / TABLE
        if not file.exists():
            return []
        with file.open(newline="", encoding="utf-8", errors="replace") as stream:
            rows = list(csv.DictReader(stream))
        # A row that a crash cut off is not taken over.
        return [
            {name: row[name] or "" for name in COLUMNS}
            for row in rows
            if row.keys() >= set(COLUMNS) and row["val_dice"] is not None and row["step"].isdigit()
        ]

    @staticmethod
    def _writer(stream: Any) -> csv.DictWriter[str]:
        return csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")

    def add(
        self, step: int, cpu_minutes: float, losses: Mapping[str, float], val_dice: float | None
    ) -> None:
        """One row; with a score on val the picture is drawn anew.

        Raises:
            UserError: the disk refused.
        """
        row = {"step": str(step), "cpu_minutes": f"{cpu_minutes:.2f}"}
        row |= {name: str(value) for name, value in losses.items()}
        row["val_dice"] = "" if val_dice is None else f"{val_dice:.4f}"
        self._rows.append(row)
        with writing(self.folder / TABLE):
            with (self.folder / TABLE).open("a", newline="", encoding="utf-8") as stream:
                self._writer(stream).writerow(row)
            if self._board is not None:
                self._add_to_board(step, losses, val_dice)
        if val_dice is not None:
            self._draw()

    def _add_to_board(self, step: int, losses: Mapping[str, float], val_dice: float | None) -> None:
        for name, value in losses.items():
            self._board.add_scalar(f"train/{name}", value, step)
        if val_dice is not None:
            self._board.add_scalar("val/dice", val_dice, step)
        self._board.flush()

    def _draw(self) -> None:
        with atomic_write(self.folder / PICTURE) as draft:
            draw_chart(
                {name: self._course(name) for name in LOSSES}, self._course("val_dice")
            ).save(draft, "PNG")

    def _course(self, name: str) -> list[tuple[int, float]]:
        return [(int(row["step"]), float(row[name])) for row in self._rows if row.get(name)]

    def end(self) -> None:
        """Closes TensorBoard's file."""
        if self._board is not None:
            self._board.close()
