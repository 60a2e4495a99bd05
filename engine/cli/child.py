"""What the program runs of itself as a child process; not for people."""

from __future__ import annotations

import json
from pathlib import Path

from engine.errors import UserError


def main(arguments: list[str]) -> int:
    """Runs one task.

    Args:
        arguments: the task's name and its own arguments.

    Returns:
        The exit code; 1 after a line of JSON with message and hint.
    """
    task, *rest = arguments or [""]
    if task == "decode" and not rest:
        from engine.io.dicom_child import serve

        return serve()
    if task != "unpickle" or len(rest) != 2:
        return 2
    try:
        _unpickle(Path(rest[0]), Path(rest[1]))
    except UserError as error:
        print(json.dumps({"message": error.message, "hint": error.hint}), flush=True)
        return 1
    return 0


def _unpickle(source: Path, folder: Path) -> None:
    """A checkpoint's tensors into a folder; prints as `contained` listens for."""
    from engine.sdseg.contained import HINT, ROOM_BYTES, check_records

    check_records(source)
    from engine.sdseg.unpickle import extract
    from engine.system.watching import limit_memory

    limit_memory(2 * source.stat().st_size + ROOM_BYTES)
    print("ready", flush=True)
    try:
        extract(source, folder, lambda done, total: print(done, total, flush=True))
    except MemoryError as error:
        message = f"{source.name} needs more memory than a checkpoint of its size should."
        raise UserError(message, hint=HINT) from error
