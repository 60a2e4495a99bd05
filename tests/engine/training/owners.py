"""The folders of the five data sets as their owners publish them, with pictures of a few pixels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.engine.io.phantoms import axis_order_affine, write_nifti

SIDE = 16
# As a CT is usually stored: the file's axes run to the left, to the front and to the head.
AFFINE = axis_order_affine((0, 1, 2), (-1, 1, 1), spacing=(0.7, 0.7, 3.0))
GROUPS = 29


def save(path: Path, values: np.ndarray, **options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def frame(number: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A noisy colour picture with a bright square, and where the square is, bool."""
    random = np.random.default_rng(number)
    picture = random.integers(0, 90, (side, side, 3)).astype(np.uint8)
    square = np.zeros((side, side), dtype=bool)
    top, left = random.integers(1, side // 2, 2)
    square[top : top + side // 3, left : left + side // 3] = True
    picture[square] += np.uint8(140)
    return picture, square


def cvc(folder: Path, count: int = 612, ending: str = ".png") -> Path:
    """As on Kaggle: PNG/Original, PNG/Ground Truth, metadata.csv; sequences of equal length."""
    rows = ["frame_id,sequence_id,png_image_path,png_mask_path"]
    for n in range(1, count + 1):
        picture, square = frame(n)
        name = f"{n}{ending}"
        save(folder / "PNG" / "Original" / name, picture)
        save(folder / "PNG" / "Ground Truth" / name, (square * 255).astype(np.uint8))
        sequence = (n - 1) * GROUPS // count + 1
        rows.append(f"{n},{sequence},PNG/Original/{name},PNG/Ground Truth/{name}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


def kvasir(folder: Path, count: int = 1000) -> Path:
    """Kvasir-SEG/images and masks, both JPEG."""
    for n in range(count):
        picture, square = frame(n)
        white = np.repeat((square * 255).astype(np.uint8)[:, :, None], 3, axis=2)
        save(folder / "Kvasir-SEG" / "images" / f"cju{n:04d}.jpg", picture, quality=92)
        save(folder / "Kvasir-SEG" / "masks" / f"cju{n:04d}.jpg", white, quality=92)
    (folder / "Kvasir-SEG" / "kavsir_bboxes.json").write_text("{}")
    return folder


def refuge2(folder: Path, each: int = 400, side: int = SIDE) -> Path:
    """The parts of the challenge: training in two folders, masks 0 cup, 128 rim, 255 outside."""
    parts = (
        ("Training400/Glaucoma", "Annotation-Training400/Disc_Cup_Masks/Glaucoma", "g", each // 10),
        ("Training400/Non-Glaucoma", "Annotation-Training400/Disc_Cup_Masks/Non-Glaucoma", "n",
         each - each // 10),
        ("REFUGE-Validation400", "REFUGE-Validation400-GT/Disc_Cup_Masks", "V", each),
        ("Test400", "REFUGE-Test-GT/Disc_Cup_Masks/G", "T", each),
    )  # fmt: skip
    for part, (images, masks, letter, count) in enumerate(parts):
        for n in range(1, count + 1):
            picture, square = frame(1000 * part + n, side)
            mask = np.where(square, np.uint8(128), np.uint8(255))
            rows, columns = np.nonzero(square)
            mask[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]] = 0
            save(folder / images / f"{letter}{n:04d}.jpg", picture, quality=92)
            save(folder / masks / f"{letter}{n:04d}.bmp", mask)
    return folder


def scan(number: int, shape: tuple[int, int, int] = (12, 10, 4)) -> np.ndarray:
    return np.random.default_rng(number).integers(-300, 400, shape).astype(np.int16)


def btcv(folder: Path, numbers: Iterable[int] = (*range(1, 11), *range(21, 41))) -> Path:
    """Abdomen/RawData/Training/img and label, 30 volumes."""
    training = folder / "Abdomen" / "RawData" / "Training"
    for part in ("img", "label"):
        (training / part).mkdir(parents=True, exist_ok=True)
    (folder / "Abdomen" / "RawData" / "Testing" / "img").mkdir(parents=True, exist_ok=True)
    for number in numbers:
        values = scan(number)
        mask = np.zeros(values.shape, dtype=np.uint8)
        mask[2:9, 2:4, 1:3] = np.arange(1, 8)[:, None, None]
        mask[2:8, 5:7, 1:3] = np.arange(8, 14)[:, None, None]
        values[mask > 0] += 400
        write_nifti(training / "img" / f"img{number:04d}.nii.gz", values, AFFINE)
        write_nifti(training / "label" / f"label{number:04d}.nii.gz", mask, AFFINE)
    return folder


def sts3d(folder: Path, numbers: Iterable[int] = range(1, 13)) -> Path:
    """labelled/image and labelled/label, 12 volumes."""
    for part in ("image", "label"):
        (folder / "labelled" / part).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        values = scan(number)
        mask = (np.indices(values.shape).sum(axis=0) % 5 == 0).astype(np.uint8)
        name = f"Teeth_{number:04d}_0000.nii.gz"
        write_nifti(folder / "labelled" / "image" / name, values, AFFINE)
        write_nifti(folder / "labelled" / "label" / name, mask, AFFINE)
    return folder
