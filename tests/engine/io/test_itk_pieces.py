"""NRRD and MetaImage whose voxels lie in several files: named in a list, or by a pattern."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from test_itk import refused
from test_itk_headers import VALUES, is_as_itk_reads_it, metaimage, nrrd

from engine.io import open_case

PLANES = [VALUES[:, :, n].tobytes(order="F") for n in range(VALUES.shape[2])]
LINES = [VALUES[:, row, n].tobytes(order="F") for n in range(6) for row in range(5)]
PATTERN = "slice%02d.raw 1 6 1"


def pieces(folder, parts, first=1, before=b""):
    """A file each, and their names."""
    names = [f"slice{n:02d}.raw" for n in range(first, first + len(parts))]
    for name, part in zip(names, parts, strict=True):
        (folder / name).write_bytes(before + part)
    return names


def nhdr(folder, data_file, names=(), **fields):
    """The list stands at the end of the header."""
    path = nrrd(folder / "x.nhdr", b"", data_file=data_file, **fields)
    path.write_bytes(path.read_bytes().rstrip(b"\n") + b"\n" + "\n".join(names).encode())
    return path


def mhd(folder, data_file, names=(), **fields):
    path = metaimage(folder / "x.mhd", "\n".join([*names, ""]).encode(), **fields)
    path.write_bytes(path.read_bytes().replace(b"LOCAL", data_file.encode()))
    return path


@pytest.mark.parametrize("header", [nhdr, mhd])
@pytest.mark.parametrize(
    ("data_file", "parts"),
    [("LIST", PLANES), ("LIST 2", PLANES), ("LIST 1", LINES), ("LIST 3", PLANES[:0]),
     (PATTERN, PLANES)],
)  # fmt: skip
def test_voxels_of_several_files_lie_one_behind_the_other(tmp_path, header, data_file, parts):
    names = pieces(tmp_path, parts or [b"".join(PLANES)])
    path = header(tmp_path, data_file, () if data_file == PATTERN else names)
    whole = nrrd(tmp_path / "w.nrrd") if header is nhdr else metaimage(tmp_path / "w.mha")
    assert np.array_equal(open_case(path).scan.array, open_case(whole).scan.array)
    if header is mhd and data_file != "LIST 3":  # ITK misreads a list of one whole file
        assert is_as_itk_reads_it(path)


def test_a_pattern_is_read_as_by_itk_also_backwards(tmp_path):
    pieces(tmp_path, PLANES[::-1])
    assert is_as_itk_reads_it(nhdr(tmp_path, "slice%02d.raw 6 1 -1", [""]))


def test_each_file_has_its_own_packing_and_its_own_bytes_to_skip(tmp_path):
    whole = open_case(nrrd(tmp_path / "whole.nrrd")).scan.array
    pieces(tmp_path, [gzip.compress(part) for part in PLANES])
    path = nhdr(tmp_path, PATTERN, encoding="gzip")
    assert np.array_equal(open_case(path).scan.array, whole)
    pieces(tmp_path, PLANES, before=b"12345")
    for skipped in (5, -1):
        path = nhdr(tmp_path, PATTERN, byte_skip=skipped)
        assert np.array_equal(open_case(path).scan.array, whole)
    pieces(tmp_path, PLANES, before=b"one\ntwo two\n")
    assert np.array_equal(open_case(nhdr(tmp_path, PATTERN, line_skip=2)).scan.array, whole)
    plain = open_case(metaimage(tmp_path / "w.mha")).scan.array
    assert np.array_equal(open_case(mhd(tmp_path, PATTERN, HeaderSize=-1)).scan.array, plain)


@pytest.mark.parametrize("header", [nhdr, mhd])
@pytest.mark.parametrize(
    ("data_file", "change", "words"),
    [
        ("LIST", lambda names: names[:5], "names 5 files for its voxels, and needs 6"),
        ("LIST", lambda names: [*names, names[0]], "names 7 files"),
        ("slice%02d.raw 1 5 1", lambda _: (), "names 5 files"),
        ("slice%02d.raw 1 9999999999 1", lambda _: (), "names 20000 files"),
        ("slice%02d.raw 1 6 0", lambda _: (), "can't be read"),
        ("LIST", lambda names: [*names[:5], "gone.raw"], "needs the file gone.raw, which is"),
        ("LIST", lambda names: [*names[:5], "../slice06.raw"], "files of another folder (../sl"),
        ("LIST", lambda names: [*names[:5], "/etc/hostname"], "files of another folder (/etc"),
        ("LIST 0", lambda names: names, "and needs 120"),
    ],
)
def test_lists_that_can_t_be_followed_are_refused(tmp_path, header, data_file, change, words):
    names = pieces(tmp_path, PLANES)
    assert words in refused(header(tmp_path, data_file, change(names)))


def test_a_file_of_a_list_that_is_too_short_is_cut_short(tmp_path):
    names = pieces(tmp_path, [*PLANES[:5], PLANES[5][:-1]])
    assert "cut short" in refused(nhdr(tmp_path, "LIST", names))
    pieces(tmp_path, [PLANES[0] + b"more", *PLANES[1:5], PLANES[5][:-1]])
    assert "cut short" in refused(nhdr(tmp_path, "LIST", names))


def test_a_file_called_mha_may_have_its_voxels_beside_it(tmp_path):
    pieces(tmp_path, [b"".join(PLANES)])
    path = mhd(tmp_path, "slice01.raw").rename(tmp_path / "y.mha")
    assert is_as_itk_reads_it(path)
