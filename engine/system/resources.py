"""Where the program's own files are: in a checkout, an installed wheel or a frozen build."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.errors import UserError

# In a wheel `resources/` lies inside the package `engine`, so that it can't collide with another
# package's folder of that name in site-packages.
WHEEL_FOLDER = "_resources"


def resource_path(*parts: str) -> Path:
    """The path of a file or folder below `resources/`.

    Raises:
        UserError: it is missing, which means that the installation is damaged.
    """
    engine = Path(__file__).resolve().parent.parent
    frozen = getattr(sys, "_MEIPASS", None)
    roots = [Path(frozen) / "resources"] if frozen else []
    roots += [engine / WHEEL_FOLDER, engine.parent / "resources"]
    for root in roots:
        found = root.joinpath(*parts)
        if found.exists():
            return found
    raise UserError(
        f"The program's file {'/'.join(parts)} is missing.", hint="Install the program again."
    )
