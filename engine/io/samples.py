"""The built-in cases: one picture and, with an optional package, one volume."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from engine.domain.box import Box
from engine.domain.case import Case
from engine.domain.grid import Grid
from engine.errors import UserError
from engine.io.doors import open_case
from engine.system.resources import resource_path

_TEMPLATE = Path("datasets", "data", "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
_HIPPOCAMPUS_MM = (28.0, -23.0, -15.0)  # MNI, RAS+: the patient's right side
_BOX_MM = (40.0, 56.0, 40.0)


def sample_picture() -> Case:
    """A colour fundus photograph (scikit-image's `retina.jpg`, CC0)."""
    case = open_case(resource_path("cases", "retina.jpg"))
    case.name = "Retina (built-in sample)"
    return case


def sample_volume() -> Case:
    """The T1 template of the MNI at 1 mm, with a box around the right hippocampus.

    Raises:
        UserError: the optional package that carries it is not installed.
    """
    case = open_case(sample_volume_path())
    case.name = "T1 template of the MNI (built-in sample)"
    case.scan = replace(case.scan, modality="MR")
    case.box = _box_around(case.scan.grid, _HIPPOCAMPUS_MM, _BOX_MM)
    return case


def sample_volume_path() -> Path:
    """The template's file inside nilearn; nilearn itself is not imported (it takes seconds).

    Raises:
        UserError: nilearn is not installed, or does not carry the template any more.
    """
    spec = find_spec("nilearn")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = next((Path(f, _TEMPLATE) for f in folders if Path(f, _TEMPLATE).is_file()), None)
    if found is None:
        raise UserError(
            "The built-in volume comes with the optional package nilearn, which is not installed.",
            hint="Install it with: pip install 'nilearn>=0.10'",
        )
    return found


def _box_around(
    grid: Grid, centre: tuple[float, float, float], size: tuple[float, float, float]
) -> Box:
    """The box of this size in mm along (i, j, k) around a point in world mm (RAS+)."""
    voxel = np.linalg.inv(grid.affine) @ (*centre, 1.0)
    half = np.array(size) / (2.0 * np.array(grid.spacing[::-1]))
    start = np.rint(voxel[:3] - half).astype(int)[::-1]
    stop = np.rint(voxel[:3] + half).astype(int)[::-1]
    return Box(
        (int(start[0]), int(start[1]), int(start[2])), (int(stop[0]), int(stop[1]), int(stop[2]))
    ).clipped(grid.shape)
