"""How fast a large series opens, and how much memory that takes, on this computer.

    python -m benchmarks.loading [--slices 2000] [--kind NAME ...] [--json FILE]

Writes a made-up CT of 512 x 512 pixels a slice into a temporary folder: as a DICOM series, as
NIfTI (.nii and .nii.gz), and a tenth of it as DICOM with packed pixels. Each is opened three times,
every time in a fresh process, and the median counts. Processor time is that of the process itself,
without the child that unpacks pixels; other work on the computer does not change it. The files were
just written, so the system has them in memory: a slow disk comes on top.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from benchmarks.command import run_command
from benchmarks.facts import date_of_today, forget_peak, peak_memory, processor
from engine.errors import UserError
from engine.system.atomic import atomic_write_text

ROOT = Path(__file__).resolve().parents[1]
SIDE = 512
RUNS = 3
PACKED_SHARE = 10  # packed pixels take longer to write and to read
PACKED = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless}
NAMES = ("dicom", "nifti", "nifti-gz", *(f"dicom-{name}" for name in PACKED))
LIMIT = 2.5  # promise 17: times the array's own size
WARM = 2  # slices of the file that is opened first, so that imports are not measured


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.loading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--slices", type=int, default=2000, metavar="N")
    parser.add_argument("--kind", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.slices < 2 * PACKED_SHARE:
        parser.error(f"--slices must be at least {2 * PACKED_SHARE}")
    if args.child:
        print(json.dumps(opened(*args.child)))
        return 0
    return run_command(lambda: _main(args))


def _main(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="loading-") as folder:
        check_room(Path(folder), args.slices)
        wanted = [kind for kind in kinds(args.slices) if kind[0] in args.kind]
        rows = [measure(Path(folder), *kind) for kind in wanted]
    report = {"date": date_of_today(), "cpu": processor(), "side": SIDE, "rows": rows}
    if args.json:
        atomic_write_text(args.json, json.dumps(report, indent=1) + "\n")
    return 1 if any(row["times_the_array"] > LIMIT for row in rows) else 0


def check_room(folder: Path, slices: int) -> None:
    """The largest kind is on the disk alone, and in memory at most `LIMIT` times."""
    size = slices * SIDE * SIDE * 2
    if shutil.disk_usage(folder).free < 2 * size:
        raise UserError(f"{folder.parent} has too little room.", hint="Choose fewer --slices.")
    if psutil.virtual_memory().available < (LIMIT + 0.5) * size:
        raise UserError("There is too little free memory.", hint="Choose fewer --slices.")


Kind = tuple[str, int, str, Callable[[Path, int], None]]


def kinds(slices: int) -> list[Kind]:
    """Name, slices, name of the file (or of the folder) and what writes it."""
    few = slices // PACKED_SHARE
    plain: list[Kind] = [
        ("dicom", slices, "series", write_series),
        ("nifti", slices, "x.nii", write_nifti),
        ("nifti-gz", slices, "x.nii.gz", write_nifti),
    ]
    return plain + [
        (f"dicom-{name}", few, "series", lambda path, n, s=syntax: write_series(path, n, s))
        for name, syntax in PACKED.items()
    ]


def measure(
    folder: Path, name: str, slices: int, file: str, write: Callable[[Path, int], None]
) -> dict[str, Any]:
    """Writes one kind, opens it `RUNS` times, removes it."""
    here = folder / name
    for part, count in (("warm", WARM), ("whole", slices)):
        (here / part).mkdir(parents=True)
        write(here / part / file, count)
    command = [sys.executable, "-m", "benchmarks.loading", "--child"]
    command += [str(here / "whole" / file), str(here / "warm" / file)]
    runs: list[dict[str, float]] = []
    for _ in range(RUNS):
        run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        runs.append(json.loads(run.stdout))
    shutil.rmtree(here)
    seconds, cpu = (statistics.median(run[n] for run in runs) for n in ("seconds", "cpu_seconds"))
    row = {
        "kind": name, "slices": slices, "seconds": seconds, "slices_a_second": slices / seconds,
        "cpu_seconds": cpu, "array_mb": runs[0]["array_mb"],
        "peak_mb": max(run["peak_mb"] for run in runs),
        "times_the_array": max(run["peak_mb"] / run["array_mb"] for run in runs),
        "runs_s": [run["seconds"] for run in runs],
    }  # fmt: skip
    print(
        f"{name:16} {slices} slices in {seconds:.2f} s ({cpu:.2f} s of the processor): "
        f"{row['slices_a_second']:.0f} a second, "
        f"{row['times_the_array']:.2f} times the array's {row['array_mb']:.0f} MB",
        flush=True,
    )
    return row


def opened(path: Path, warm: Path) -> dict[str, float]:
    """In a child: seconds, and memory above the start."""
    from engine.io import open_case

    open_case(warm)
    start = psutil.Process().memory_info().rss
    forget_peak()
    began, worked = time.perf_counter(), time.process_time()
    scan = open_case(path).scan
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    more = peak_memory() - start
    checked = scan.array[scan.array.shape[0] // 2].mean()  # it is really there
    if not 0 < checked < 2000:
        raise ValueError(f"the middle slice has a mean of {checked}")
    return {
        "seconds": seconds, "cpu_seconds": cpu, "peak_mb": more / 2**20,
        "array_mb": scan.array.nbytes / 2**20,
    }  # fmt: skip


def pixels(count: int) -> Iterator[NDArray[np.int16]]:
    """Slices ``[row, column]`` of a ball with noise of 12 bits; all differ."""
    rows, columns = np.indices((SIDE, SIDE)) - SIDE // 2
    noise = np.random.default_rng(0).integers(0, 64, (SIDE, SIDE), dtype=np.int16)
    away = np.hypot(rows, columns)
    for n in range(count):
        radius = SIDE * 0.4 * np.sin(np.pi * (n + 1) / (count + 1)) + 20
        yield np.where(away < radius, np.int16(1060), np.int16(24)) + np.roll(noise, n, axis=1)


def write_series(folder: Path, count: int, syntax: str = "") -> None:
    folder.mkdir(parents=True)
    ds = template()
    for n, values in enumerate(pixels(count)):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.InstanceNumber, ds.ImagePositionPatient = n + 1, [-180.0, -180.0, 0.625 * n]
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.PixelData = values.tobytes()
        if syntax:
            # GDCM's encoder of RLE is avoided: it aborts the process.
            plugin = "pydicom" if syntax == RLELossless else ""
            ds.compress(syntax, values, encoding_plugin=plugin, generate_instance_uid=False)
        ds.save_as(folder / f"IM{n:05d}.dcm", enforce_file_format=True)
        del ds.PixelData


def template() -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.FrameOfReferenceUID, ds.SeriesNumber, ds.Modality = generate_uid(), 1, "CT"
    ds.PatientName, ds.PatientID, ds.ImageType = "Nobody", "0", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.7, 0.7]
    ds.SliceThickness, ds.Rows, ds.Columns = 0.625, SIDE, SIDE
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.RescaleSlope, ds.RescaleIntercept, ds.WindowCenter, ds.WindowWidth = 1, -1024, 40, 400
    return ds


def write_nifti(path: Path, count: int) -> None:
    from nibabel.nifti1 import Nifti1Header

    header = Nifti1Header(endianness="<")
    header.set_data_shape((SIDE, SIDE, count))
    header.set_data_dtype(np.int16)
    header.set_sform(np.diag([0.7, 0.7, 0.625, 1.0]), 1)  # both axes are turned when it opens
    header["magic"], header["vox_offset"] = b"n+1", 352
    is_packed = path.suffix == ".gz"
    with gzip.open(path, "wb", 1) if is_packed else path.open("wb") as stream:
        stream.write(header.binaryblock + bytes(4))
        for values in pixels(count):  # a slice's columns are the file's first axis
            stream.write(values.tobytes())


if __name__ == "__main__":
    sys.exit(main())
