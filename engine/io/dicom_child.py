"""Compressed pixels, decoded in a child process.

Decoders are written in C and read what anybody may have written: one of them hangs for ever on a
JPEG 2000 box of length 0. A child may hang, die or ask for all memory; the window may not.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import IO, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from engine.errors import UserError
from engine.io.dicom_decode import Decoder
from engine.system.children import start_child
from engine.system.watching import ChildWatch, limit_memory

START_S = 60.0  # a slow disk may take its time with the libraries
DECODE_S, BYTES_A_SECOND = 4.0, 20e6
IDLE_S = 60.0
# Beyond the file and what comes of it: what a decoder needs for itself.
ROOM_BYTES, TIMES = 512 * 2**20, 8
# What a header promises counts up to here: pictures are packed to a hundredth at most, and a
# damaged size must not buy hours and all memory.
MOST_BYTES, MOST_TIMES = 64 * 2**20, 100
OWNER_S = 1.0  # how often the child looks whether its owner still lives
_HINT = "The file is damaged, or its kind of compression is not installed."


class ContainedDecoder:
    """Decodes as `Decoder` does, in a child that starts at the first image and ends when idle.

    Threads may share it; they take turns.
    """

    def __init__(self) -> None:
        self._child: Popen[bytes] | None = None
        self._watch: ChildWatch | None = None
        self._is_ready = False
        self._turn = threading.Lock()

    def read(self, path: Path, frame: int | None, pixel_bytes: int) -> NDArray[Any]:
        """Stored values ``[row, column]``, or RGB ``[row, column, 3]``.

        Args:
            path: of the file.
            frame: of a multi-frame file, or None.
            pixel_bytes: of the decoded image, as its header says; gives time and memory.

        Raises:
            UserError: it can't be decoded, or not within its time and memory.
        """
        with self._turn:
            return self._read(path, frame, pixel_bytes)

    def close(self) -> None:
        """Ends the child; the next image starts another."""
        with self._turn:
            self._end()

    def _read(self, path: Path, frame: int | None, pixel_bytes: int) -> NDArray[Any]:
        size = path.stat().st_size
        unpacked = min(pixel_bytes, MOST_BYTES + MOST_TIMES * size)
        more = ROOM_BYTES + TIMES * unpacked + 2 * size
        child, watch = self._ready(DECODE_S + (unpacked + size) / BYTES_A_SECOND, more)
        request = {"path": str(path.absolute()), "frame": frame, "more": more}
        try:
            answer, pixels = _ask(child, request)
        except (OSError, EOFError, ValueError) as error:  # the child is gone
            reason = watch.reason or "its decoder ended early"
            self._end()
            self._begin()  # the next image need not wait for it
            raise UserError(
                f"The pixels of {path.name} can't be decoded: {reason}.", hint=_HINT
            ) from error
        watch.until(IDLE_S)
        if pixels is None:
            raise UserError(answer["message"], hint=answer["hint"])
        return pixels

    def _ready(self, seconds: float, more_bytes: int) -> tuple[Popen[bytes], ChildWatch]:
        """A living child that has so much time and memory for what it is asked next."""
        if self._watch is not None and self._child is not None:
            is_alive = self._watch.until(seconds) and self._child.poll() is None
            if not is_alive:
                self._end()
        child, watch = self._begin()
        if not self._is_ready:
            watch.until(START_S)
            _stream(child.stdout).readline()  # it is ready, or gone
            self._is_ready = True
        watch.within(more_bytes)
        watch.until(seconds)
        return child, watch

    def _begin(self) -> tuple[Popen[bytes], ChildWatch]:
        """The child; one that was started just now may still load its libraries."""
        if self._child is None or self._watch is None:
            self._child = start_child(
                ["--child", "decode"], stdin=PIPE, stdout=PIPE, stderr=DEVNULL
            )
            self._watch = ChildWatch(self._child, what="a picture of its size")
            self._watch.until(START_S + IDLE_S)
            self._watch.start()
            self._is_ready = False
        return self._child, self._watch

    def _end(self) -> None:
        if self._child is None or self._watch is None:
            return
        self._watch.stop()
        self._child.kill()
        self._child.communicate()
        self._child = self._watch = None


# One for the program: a child takes a second to start, a picture of a folder a fraction of it.
CONTAINED = ContainedDecoder()
atexit.register(CONTAINED.close)


def _ask(
    child: Popen[bytes], request: dict[str, Any]
) -> tuple[dict[str, Any], NDArray[Any] | None]:
    """What the child answers, and the pixels if it has them."""
    to, source = _stream(child.stdin), _stream(child.stdout)
    to.write(json.dumps(request).encode() + b"\n")
    to.flush()
    answer = json.loads(source.readline() or b"x")
    if "message" in answer:
        return answer, None
    pixels = np.empty(answer["shape"], dtype=answer["dtype"])
    target = pixels.data.cast("B")
    done = 0
    while done < pixels.nbytes:
        count = source.readinto(target[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return answer, pixels


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise EOFError
    return stream


def serve() -> int:
    """The child's side: a request a line until the pipe closes."""
    threading.Thread(target=_end_with_owner, daemon=True).start()
    source, to = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a decoder prints must not come between the pixels
    decoder = Decoder()
    to.write(b"ready\n")
    to.flush()
    for line in source:
        request = json.loads(line)
        path = Path(request["path"])
        limit_memory(request["more"])
        try:
            pixels = np.ascontiguousarray(decoder.read(path, request["frame"]))
        except UserError as error:
            to.write(json.dumps(_refusal(path, error)).encode() + b"\n")
        else:
            head = {"shape": pixels.shape, "dtype": pixels.dtype.str}
            to.write(json.dumps(head).encode() + b"\n")
            to.write(pixels.data.cast("B"))
        to.flush()
    return 0


def _refusal(path: Path, error: UserError) -> dict[str, str]:
    """A cap that is far above what the picture needs was met: other programs are not to blame."""
    if isinstance(error.__cause__, MemoryError):
        reason = f"The pixels of {path.name} can't be decoded: they need too much memory."
        return {"message": reason, "hint": _HINT}
    return {"message": error.message, "hint": error.hint}


def _end_with_owner() -> None:
    """Ends this process when its owner is gone; while it decodes it would not notice otherwise."""
    owner = psutil.Process().parent()
    while owner is not None and owner.is_running():
        time.sleep(OWNER_S)
    os._exit(1)
