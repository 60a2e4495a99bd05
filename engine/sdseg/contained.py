"""Pickled checkpoints, read in a child process that may fail; no torch here, so refusing is quick.

A pickle is a program. `engine.sdseg.unpickle` runs the harmless part of it in a child with a
deadline and a memory limit, so that the process with the window never unpickles.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

from engine.errors import Cancelled, UserError
from engine.system.children import start_child
from engine.system.watching import ChildWatch

TENSORS_FILE = "tensors.safetensors"
FACTS_FILE = "facts.json"
HINT = "Only checkpoints of the authors' code and of latent diffusion can be imported."
MAX_PROGRAM_BYTES = 64 * 1024 * 1024
ROOM_BYTES = 2 * 1024**3  # beyond twice the file: the pickle's own objects, torch's buffers
# Unpickling that takes longer is no reading but an attack; the file's bytes are checked apart.
UNPICKLE_S, UNPICKLE_S_PER_GB = 5.0, 2.0
# A slow disk may take its time with starting the child and with copying the tensors.
PATIENCE_S, PATIENCE_S_PER_GB = 60.0, 30.0
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Facts:
    """What is known of a checkpoint before its tensors are copied.

    Attributes:
        global_step: steps it was trained; 0 where it does not say.
        shapes: of all tensors, by name.
    """

    global_step: int
    shapes: dict[str, tuple[int, ...]]


def check_archive(source: Path) -> None:
    """Refuses what is no archive of torch, or unpacks to more than it is.

    Raises:
        UserError: with the file's name.
    """
    if not source.is_file():
        raise UserError(f"{source.name} was not found.", hint="Check the path.")
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UserError(f"{source.name} is damaged, or no checkpoint.", hint=HINT) from error
    programs = [m for m in members if m.filename.endswith("/data.pkl")]
    packed = any(m.compress_type != zipfile.ZIP_STORED for m in members)
    if len(programs) != 1 or packed or programs[0].file_size > MAX_PROGRAM_BYTES:
        raise UserError(f"{source.name} is no checkpoint of PyTorch.", hint=HINT)


def check_records(source: Path) -> None:
    """Compares every record of an archive with its checksum, which torch itself does not.

    Raises:
        UserError: a byte has changed.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
        raise UserError(f"{source.name} is damaged.", hint="Get the file again.") from error
    if bad is not None:
        raise UserError(f"{source.name} is damaged: {bad} has changed.", hint="Get the file again.")


def copy_tensors(
    source: Path,
    folder: Path,
    accept: Callable[[Facts], None],
    progress: Progress | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> Facts:
    """Writes a checkpoint's tensors as safetensors, without running any code of it.

    Args:
        source: the checkpoint.
        folder: gets TENSORS_FILE and FACTS_FILE.
        accept: told the facts before anything is copied; may raise UserError.
        progress: called with (tensors read, tensors in all).
        is_cancelled: asked twenty times a second.

    Raises:
        Cancelled: `is_cancelled` said so.
        UserError: it is no checkpoint, is damaged, takes too long or too much memory.
    """
    check_archive(source)
    words = ["--child", "unpickle", str(source.absolute()), str(folder.absolute())]
    child = start_child(words, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, text=True)
    watch = ChildWatch(child, is_cancelled, "a checkpoint of its size")
    limits = _Limits(watch, source.stat().st_size)
    watch.start()
    try:
        said = _listen(child, limits, lambda: accept(_facts(folder)), progress)
        code = child.wait()
    finally:
        watch.stop()
        child.kill()
        child.communicate()
    _check_end(source, watch, said, code)
    return _facts(folder)


def _check_end(source: Path, watch: ChildWatch, said: dict[str, str] | None, code: int) -> None:
    """Raises what `copy_tensors` does where the child did not do its work."""
    if watch.cancelled:
        raise Cancelled
    if said is not None:
        raise UserError(said["message"], hint=said["hint"])
    if code != 0:
        reason = watch.reason or "its reader ended early"
        raise UserError(f"{source.name} could not be read: {reason}.", hint=HINT)


def _facts(folder: Path) -> Facts:
    content = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    shapes = {name: tuple(shape) for name, shape in content["shapes"].items()}
    return Facts(content["global_step"], shapes)


def _listen(
    child: Popen[str], limits: _Limits, accept: Callable[[], None], progress: Progress | None
) -> dict[str, str] | None:
    """Follows the child line by line; returns what it says was wrong.

    It prints "ready" when torch is there, "0 N" when the pickle has been read, then "n N".
    """
    for line in child.stdout or ():
        if line.startswith("{"):
            return json.loads(line)
        if line.startswith("ready"):
            limits.is_ready()
            continue
        done, total = line.split()
        if done == "0":
            limits.is_unpickled()
            accept()
        if progress:
            progress(int(done), int(total))
    return None


class _Limits:
    """What the child of a checkpoint of `size` bytes may take at each stage."""

    def __init__(self, watch: ChildWatch, size: int) -> None:
        self._watch, self._size = watch, size
        self.is_unpickled()

    def is_ready(self) -> None:
        """The child has imported what it needs; from now on its memory and time count."""
        self._watch.within(2 * self._size + ROOM_BYTES)
        self._watch.until(UNPICKLE_S + UNPICKLE_S_PER_GB * self._size / 1e9)

    def is_unpickled(self) -> None:
        """Only known tensors are left to be copied."""
        self._watch.until(PATIENCE_S + PATIENCE_S_PER_GB * self._size / 1e9)
