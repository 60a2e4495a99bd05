"""Compressed pixels: decoded by value, in a child that may hang, die or be damaged."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import psutil
import pytest
from phantoms import Series, distinct, plain
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from engine.errors import UserError
from engine.io import dicom_child, open_case
from engine.io.dicom_child import CONTAINED
from engine.io.dicom_decode import MAX_INFLATED_BYTES


def refused(path) -> str:
    with pytest.raises(UserError) as error:
        open_case(path)
    return f"{error.value.message} {error.value.hint}"


def compressed(path, syntax, pixels):
    ds = Series(pixels[None]).dataset(0)
    pack(ds, syntax)
    ds.save_as(path, enforce_file_format=True)
    return path


def pack(ds, syntax):
    # GDCM's encoder of RLE aborts the process; its decoder runs in the child.
    plugin = "pydicom" if syntax == RLELossless else ""
    ds.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16])
def test_lossless_compression_gives_the_stored_values(tmp_path, syntax, kind):
    noise = np.random.default_rng(0).integers(0, 256, (33, 47))
    pixels = (noise * (1 if kind == np.uint8 else 100)).astype(kind)
    if kind == np.int16:
        pixels -= np.int16(9000)
    scan = open_case(compressed(tmp_path / "x.dcm", syntax, pixels)).scan
    assert scan.array.dtype == kind and np.array_equal(scan.array[0], pixels)


def test_frames_of_a_compressed_file(tmp_path):
    series = Series(distinct((5, 20, 30)))
    ds = series.enhanced([4, 1, 0, 3, 2])
    pack(ds, RLELossless)
    ds.save_as(tmp_path / "e.dcm", enforce_file_format=True)
    assert np.array_equal(open_case(tmp_path / "e.dcm").scan.array, series.pixels)


def endless_box(path, **tags):
    """A JP2 file in which a box says that it has no length: pydicom looks for its end for ever."""
    ds = Series(distinct((1, 64, 64))).dataset(0)
    pack(ds, JPEG2000Lossless)
    for name, value in tags.items():
        setattr(ds, name, value)
    jp2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + struct.pack(">I4s", 0, b"free") + b"\x00" * 64
    ds.PixelData = encapsulate([jp2])
    ds.save_as(path, enforce_file_format=True)
    return path


def test_a_decoder_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_child, "DECODE_S", 1.0)
    good = compressed(tmp_path / "good.dcm", RLELossless, distinct((64, 64)))
    open_case(good)  # the child is there
    bad = endless_box(tmp_path / "bad.dcm")
    began = time.monotonic()
    assert "bad.dcm can't be decoded" in refused(bad)
    assert time.monotonic() - began < 5.0
    assert CONTAINED._child is not None  # the next one starts at once, nobody waits for it later
    assert np.array_equal(open_case(good).scan.array[0], distinct((64, 64)))


def test_a_size_that_the_file_can_t_have_buys_no_time(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_child, "DECODE_S", 0.5)
    monkeypatch.setattr(dicom_child, "MOST_BYTES", 2**20)
    open_case(compressed(tmp_path / "good.dcm", RLELossless, distinct((64, 64))))
    bad = endless_box(tmp_path / "bad.dcm", Rows=12000, Columns=12000)  # 288 MB
    began = time.monotonic()
    assert "it takes too long" in refused(bad)
    assert time.monotonic() - began < 13.0  # not the 15 s that so many bytes would get
    huge = endless_box(tmp_path / "huge.dcm", Rows=60000, Columns=60000)  # 7 GB
    text = refused(huge)
    assert "huge.dcm can't be decoded" in text and "too much memory" in text


HANGING_OWNER = """
import sys
from pathlib import Path
from engine.io import dicom_child, open_case
dicom_child.DECODE_S = 600.0
open_case(Path(sys.argv[1]))
print(dicom_child.CONTAINED._child.pid, flush=True)
open_case(Path(sys.argv[2]))
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_decoder_that_hangs_outlives_no_owner_that_is_killed(tmp_path):
    good = compressed(tmp_path / "good.dcm", RLELossless, distinct((64, 64)))
    bad = endless_box(tmp_path / "bad.dcm")
    command = [sys.executable, "-c", HANGING_OWNER, str(good), str(bad)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        decoder = psutil.Process(int(owner.stdout.readline()))
        time.sleep(1.0)  # it works at the bad one
        owner.kill()
    psutil.wait_procs([decoder], timeout=30)
    assert not decoder.is_running()


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_decoder_that_dies_is_replaced(tmp_path, monkeypatch):
    good = compressed(tmp_path / "good.dcm", RLELossless, distinct((64, 64)))
    bad = endless_box(tmp_path / "bad.dcm")
    open_case(good)
    child = CONTAINED._child
    assert child is not None
    monkeypatch.setattr(dicom_child, "DECODE_S", 30.0)
    killer = threading.Timer(1.0, os.kill, (child.pid, signal.SIGKILL))
    killer.start()
    assert "ended early" in refused(bad)
    assert np.array_equal(open_case(good).scan.array[0], distinct((64, 64)))


def test_an_idle_child_ends_and_the_next_picture_starts_another(tmp_path, monkeypatch):
    good = compressed(tmp_path / "good.dcm", RLELossless, distinct((64, 64)))
    monkeypatch.setattr(dicom_child, "IDLE_S", 0.2)
    open_case(good)
    first = CONTAINED._child
    assert first is not None
    deadline = time.monotonic() + 10.0
    while psutil.pid_exists(first.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(first.pid)  # not even as a zombie, though nobody asked for it
    assert np.array_equal(open_case(good).scan.array[0], distinct((64, 64)))
    assert CONTAINED._child is not first


def test_the_child_ends_with_its_owner(tmp_path):
    open_case(compressed(tmp_path / "good.dcm", RLELossless, distinct((64, 64))))
    child = CONTAINED._child
    assert child is not None and psutil.pid_exists(child.pid)
    CONTAINED.close()
    assert child.poll() is not None


def test_damaged_compressed_pixels_name_the_file(tmp_path):
    for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        path = compressed(tmp_path / "x.dcm", syntax, distinct((64, 64)))
        ds = dcmread(path)
        ds.PixelData = encapsulate([b"\xff" * 40])
        ds.save_as(path)
        assert "x.dcm" in refused(path)


def test_a_deflated_file_opens_and_a_bomb_is_refused_before_it_unpacks(tmp_path):
    series = plain(1)
    ds = series.dataset(0)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = tmp_path / "d.dcm"
    ds.save_as(path, enforce_file_format=True)
    assert np.array_equal(open_case(path).scan.array, series.pixels)

    content = path.read_bytes()
    end = content.index(b"\x55\x4c\x04\x00") + 4
    end = end + 4 + int.from_bytes(content[end : end + 4], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(2**20)
    packed = b"".join(packer.compress(zeros) for _ in range(MAX_INFLATED_BYTES // 2**20 + 1))
    path.write_bytes(content[:end] + packed + packer.flush())
    before = psutil.Process().memory_info().rss
    assert "unpacks to more than" in refused(path)
    assert psutil.Process().memory_info().rss - before < 100 * 2**20
