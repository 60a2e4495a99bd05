"""Calls of the command line inside the test, and the files they work on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from engine.cli.main import main
from engine.system.paths import user_data_dir
from tests.engine.io.phantoms import write_nifti
from tests.tiny_model import save_fitted_tiny

SEED = 2  # of the tiny model's weights: about half of every picture becomes foreground
LPS = np.diag([-1.0, -1.5, 2.0, 1.0])  # the file's own axes are the array's


def stripes(seed: int) -> np.ndarray:
    """Slanted waves, uint8 [64, 64, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] / 64
    wave = np.sin((x + random.uniform(0.2, 0.8) * y) * random.uniform(25, 40))
    grey = (wave + 1) * 100 + random.normal(0, 5, wave.shape) + 25
    return (grey[:, :, None] * [1.0, 0.75, 0.6]).clip(0, 255).astype(np.uint8)


def noise(seed: int, height: int = 50, width: int = 70) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def picture(path: Path, values: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(0) if values is None else values).save(path)
    return path


def truncated(path: Path) -> Path:
    picture(path)
    path.write_bytes(path.read_bytes()[:2000])
    return path


def text_file(path: Path, text: str = "this is no scan\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def volume(path: Path, affine: np.ndarray = LPS, shape: tuple[int, int, int] = (24, 20, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(7).integers(0, 900, shape).astype(np.int16)
    return write_nifti(path, values, affine)


def three_pairs(folder: Path) -> Path:
    """Pictures and truths a, b, c, which agree with a model by chance only; 2 lies inside 1."""
    for n, stem in enumerate("abc"):
        picture(folder / "images" / f"{stem}.png", noise(n))
        truth = np.zeros((50, 70), dtype=np.uint8)
        truth[5 * n : 40, 10:60] = 1
        truth[20:30, 20:40] = 2
        picture(folder / "masks" / f"{stem}.png", truth)
    return folder


def fitted_to_stripes(folder: Path) -> Path:
    """A model that knows striped colour pictures from others."""
    drawn = np.stack([stripes(n) for n in range(60)])
    pictures = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return save_fitted_tiny(folder, pictures, name="fitted", title="Stripes").folder


def installed(folder: Path, name: str) -> Path:
    """The model among the user's own."""
    return Path(shutil.copytree(folder, user_data_dir() / "models" / name))


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def sdseg(*words: Any) -> int:
    """One command; the exit code."""
    return main([str(word) for word in words])


def says(capsys: pytest.CaptureFixture[str], start: str) -> list[str]:
    """What stderr says in lines that begin so; a traceback is never among them."""
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.startswith(start)]


def refused(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    """The one error line of a call that ends with 1."""
    assert sdseg(*words) == 1
    lines = says(capsys, "error: ")
    assert len(lines) == 1
    return lines[0]
