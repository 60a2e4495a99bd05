"""A child process that does long work and tells of it, line by line, until it ends or must."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO, Any

from engine.errors import Cancelled, UserError
from engine.system.children import start_child

LOOK_S = 0.1
# Asked to stop, a child has so long to end well; then it is told to, and at last it is killed.
GRACE_S, LAST_GRACE_S = 5.0, 2.0
# The two messages that end a child's work; all others are news.
DONE, ERROR = "done", "error"
Message = dict[str, Any]


def follow_child(
    arguments: Sequence[str],
    hear: Callable[[Message], None],
    is_cancelled: Callable[[], bool],
    what: str,
) -> Message:
    """Runs the program as a child until its work is done.

    The child prints a JSON object a line, and must call `children.end_with_parent`: the pipe to
    its standard input, which is closed here, is how it is asked to stop. Whatever happens, no
    child is left when this returns.

    Args:
        arguments: of the program.
        hear: told each message that is news.
        is_cancelled: asked ten times a second.
        what: the child's work in a few words, for messages ("The fine-tuning").

    Returns:
        What the child gave as DONE.

    Raises:
        Cancelled: `is_cancelled` said so.
        UserError: the child said what was wrong, or ended without a word.
    """
    pipe = subprocess.PIPE
    child = start_child(arguments, stdin=pipe, stdout=pipe, text=True, encoding="utf-8")
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
    reader.start()
    try:
        last = _listen(child, lines, hear, is_cancelled, what)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)  # it ends by itself now; the closed pipe would only disturb it
    finally:
        _end(child)
        reader.join()
    if ERROR in last:
        raise UserError(last[ERROR], hint=last.get("hint", ""))
    return last[DONE]


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _listen(
    child: subprocess.Popen[str],
    lines: queue.Queue[str | None],
    hear: Callable[[Message], None],
    is_cancelled: Callable[[], bool],
    what: str,
) -> Message:
    """The message that ends the work."""
    while True:
        if is_cancelled():
            raise Cancelled
        try:
            line = lines.get(timeout=LOOK_S)
        except queue.Empty:
            continue
        if line is None:
            raise UserError(
                f"{what} ended early ({_how(child.wait())}).", hint="Nothing else was changed."
            )
        if not line.startswith("{"):  # what some library prints
            continue
        message = json.loads(line)
        if DONE in message or ERROR in message:
            return message
        hear(message)


def _how(code: int) -> str:
    return f"its process was ended by signal {-code}" if code < 0 else f"exit code {code}"


def _end(child: subprocess.Popen[str]) -> None:
    """Asks, tells, kills; quick where the child has ended by itself."""
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()
    for wait_s, act in ((GRACE_S, child.terminate), (LAST_GRACE_S, child.kill)):
        try:
            child.wait(wait_s)
            return
        except subprocess.TimeoutExpired:
            act()
    child.wait()
