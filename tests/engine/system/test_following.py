"""Children that work for long: they end with their parent, and their parent hears of their end."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from engine.errors import Cancelled, UserError
from engine.system.following import follow_child

ENDS_WITHIN_S = 40.0


# Set in both cases: what a shell starts in the background ignores Ctrl-C, and its children do too.
@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"])
def test_a_silent_child_ends_when_the_pipe_to_it_closes(handler: str) -> None:
    code = (
        "import signal, time\nfrom engine.system.children import end_with_parent\n"
        f"signal.signal(signal.SIGINT, signal.{handler})\nend_with_parent(1.0)\n"
        "print('up', flush=True)\ntime.sleep(600)"
    )
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    assert child.stdin is not None and child.stdout is not None
    assert child.stdout.readline() == "up\n" and child.poll() is None
    child.stdin.close()
    child.stdin = None
    try:
        _, said = child.communicate(timeout=ENDS_WITHIN_S)
    finally:
        child.kill()
    assert child.returncode != 0
    assert ("KeyboardInterrupt" in said) is (handler == "default_int_handler")


def test_a_child_that_ends_without_a_word_is_reported() -> None:
    with pytest.raises(UserError, match="The work ended early \\(exit code 0\\)"):
        follow_child(["--version"], lambda _: None, lambda: False, "The work")


def test_what_is_no_longer_wanted_is_given_up_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(Cancelled):
        follow_child(["--version"], lambda _: None, lambda: True, "The work")
    assert time.monotonic() - started < ENDS_WITHIN_S
