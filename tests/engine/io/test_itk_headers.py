"""Headers of NRRD and MetaImage as other programs write them: read as SimpleITK reads them."""

from __future__ import annotations

import bz2
import gzip
import zlib

import numpy as np
import pytest
from phantoms import distinct, positions_by_value, positions_of, same_positions
from test_itk import refused, seen_by_itk

from engine.io import open_case

VALUES = distinct((4, 5, 6))  # [first, second, third axis]
RAW = VALUES.tobytes(order="F")
DIRECTIONS = "(0,0.9,0.1) (-0.8,0,0) (0,-0.2,2.5)"
BARE = {"space": None, "space directions": None, "space origin": None}
EDGES = {"axis mins": "10 20 30", "axis maxs": "18 35 54"}


def nrrd(path, data=RAW, encoding="raw", extra="", **fields):
    """An attached header; a field of None is left out."""
    said = {
        "type": "short", "dimension": 3, "sizes": "4 5 6", "endian": "little",
        "space": "left-posterior-superior", "space dimension": None, "space directions": DIRECTIONS,
        "space origin": "(-20,15,7.5)", "encoding": encoding,
    } | {name.replace("_", " "): value for name, value in fields.items()}  # fmt: skip
    lines = [f"{name}: {value}" for name, value in said.items() if value is not None]
    path.write_bytes("\n".join(["NRRD0005", "# a comment", *lines]).encode() + b"\n")
    with path.open("ab") as stream:
        stream.write(extra.encode() + b"\n" + data)
    return path


def metaimage(path, data=RAW, **fields):
    said = {
        "ObjectType": "Image", "NDims": 3, "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False", "CompressedData": "False",
        "TransformMatrix": "0 1 0 -1 0 0 0 0 1", "Offset": "-20 15 7.5",
        "ElementSpacing": "0.9 0.8 2.5", "DimSize": "4 5 6", "ElementType": "MET_SHORT",
    } | fields  # fmt: skip
    lines = [f"{name} = {value}" for name, value in said.items() if value is not None]
    path.write_bytes("\n".join([*lines, "ElementDataFile = LOCAL\n"]).encode() + data)
    return path


def is_as_itk_reads_it(path) -> bool:
    return same_positions(positions_of(open_case(path).scan), seen_by_itk(path))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"space": "RAS"},
        {"space": "right-anterior-superior"},
        {"space": "LAS"},
        {"space": "left-anterior-superior"},
        {"space": None, "space dimension": 3},
        {"space": "scanner-xyz"},
        BARE | {"spacings": "2 3 4.5"},
        BARE | {"spacings": "2 3 4", "axis mins": "10 20 30"},
        BARE | {"spacings": "2 3 4", "axis mins": "10 20 30", "centers": "cell cell cell"},
        BARE | {"spacings": "2 3 4", "axis mins": "10 20 30", "centers": "node node node"},
        BARE | {"spacings": "2 3 4", "axis mins": "10 20 30", "centerings": "??? cell node"},
        BARE | {"spacings": "2 3 4", **EDGES},
        BARE | {"spacings": "2 3 4", "axis maxs": "18 35 54"},
        BARE | {"spacings": "2 3 4", "axis mins": "nan 20 30"},
        BARE | {"spacings": "-2 3 4", "axis mins": "10 20 30"},
        BARE | EDGES,
        BARE | {"centers": "node node node", **EDGES},
        BARE | {"axis mins": "10 20 30"},
        {"kinds": "domain domain domain"},
        {"kinds": "space space space", "centers": "cell cell cell"},
        {"type": "signed short int"},
        {"endian": "big", "data": VALUES.astype(">i2").tobytes(order="F")},
        {"encoding": "gzip", "data": gzip.compress(RAW, mtime=0)},
        {"encoding": "gz", "data": gzip.compress(RAW, mtime=0)},
        {"encoding": "ascii", "data": " ".join(map(str, VALUES.ravel(order="F"))).encode()},
        {"encoding": "hex", "data": RAW.hex().encode()},
        {"encoding": "hex", "data": RAW.hex(" ", 3).upper().encode()},
        {"byte skip": 7, "data": bytes(7) + RAW},
        {"byte skip": -1, "data": bytes(9) + RAW},
        {"line skip": 2, "data": b"one\ntwo\n" + RAW},
        {"extra": "key:=value\nSegment0_ID:=a: b\n"},
    ],
    ids=lambda fields: " ".join(f"{k} {str(v)[:20]}" for k, v in fields.items()) or "plain",
)
def test_nrrd_headers_mean_what_itk_takes_them_for(tmp_path, fields):
    assert is_as_itk_reads_it(nrrd(tmp_path / "x.nrrd", **fields))


def test_the_patient_s_sides_are_known_only_from_a_space_that_names_them(tmp_path):
    for space, known in [("RAS", True), ("left-posterior-superior", True), ("scanner-xyz", False)]:
        assert open_case(nrrd(tmp_path / "x.nrrd", space=space)).scan.grid.oriented is known
    assert open_case(metaimage(tmp_path / "x.mha")).scan.grid.oriented


def test_nrrd_as_bzip2_which_itk_is_built_without(tmp_path):
    plain = open_case(nrrd(tmp_path / "a.nrrd")).scan
    packed = open_case(nrrd(tmp_path / "b.nrrd", bz2.compress(RAW), "bzip2")).scan
    assert np.array_equal(packed.array, plain.array) and packed.grid.same_place(plain.grid)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"TransformMatrix": None},
        {"Offset": None},
        {"TransformMatrix": None, "Orientation": "0 0 1 1 0 0 0 1 0"},
        {"Offset": None, "Position": "1 2 3"},
        {"ElementSpacing": None},
        {"ElementSpacing": None, "ElementSize": "0.9 0.8 2.5"},
        {"ElementSize": "1 2 3"},
        {"BinaryDataByteOrderMSB": "True", "data": VALUES.astype(">i2").tobytes(order="F")},
        {
            "BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "True",
            "data": VALUES.astype(">i2").tobytes(order="F"),
        },
        {
            "CompressedData": "True", "CompressedDataSize": len(zlib.compress(RAW)),
            "data": zlib.compress(RAW),
        },
        {"Comment": "of = somebody", "CenterOfRotation": "0 0 0", "AnatomicalOrientation": "RAI"},
        {"ElementType": "MET_LONG", "data": VALUES.astype("<i4").tobytes(order="F")},
    ],
    ids=lambda fields: " ".join(f"{k} {str(v)[:20]}" for k, v in fields.items()) or "plain",
)  # fmt: skip
def test_metaimage_headers_mean_what_itk_takes_them_for(tmp_path, fields):
    assert is_as_itk_reads_it(metaimage(tmp_path / "x.mha", **fields))


def test_voxels_in_another_file_are_found(tmp_path):
    (tmp_path / "voxels.bin").write_bytes(b"head" + RAW)
    text = metaimage(tmp_path / "x.mha", b"", HeaderSize="4").read_bytes()
    (tmp_path / "x.mhd").write_bytes(text.replace(b"LOCAL", b"voxels.bin"))
    assert is_as_itk_reads_it(tmp_path / "x.mhd")
    nrrd(tmp_path / "x.nhdr", b"", byte_skip="4", data_file="voxels.bin")
    assert is_as_itk_reads_it(tmp_path / "x.nhdr")
    nrrd(tmp_path / "y.nhdr", b"", byte_skip="-1", data_file="voxels.bin")
    assert is_as_itk_reads_it(tmp_path / "y.nhdr")


def test_a_metaimage_in_digits_or_with_a_scale_holds_its_stored_values(tmp_path):
    plain = open_case(metaimage(tmp_path / "a.mha")).scan
    digits = " ".join(map(str, VALUES.ravel(order="F"))).encode()
    scale = {"ElementToIntensityFunctionSlope": "2", "ElementToIntensityFunctionOffset": "-10"}
    for path in (
        metaimage(tmp_path / "b.mha", digits, BinaryData="False"),
        metaimage(tmp_path / "c.mha", **scale),  # ITK leaves the scale out too
        metaimage(tmp_path / "d.mha", zlib.compress(RAW), CompressedData="True"),
    ):
        scan = open_case(path).scan
        assert np.array_equal(scan.array, plain.array) and scan.grid.same_place(plain.grid)
        assert (scan.slope, scan.intercept) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({}, None),
        ({"space units": '"mm" "mm" "mm"'}, None),
        ({"space units": '"millimeter" "MM" ""'}, None),
        ({"space units": '"m" "m" "m"'}, "metres"),
        ({"space units": '"um" "um" "um"'}, "micrometres"),
        ({"space units": '"mm" "mm" "µm"'}, "micrometres"),
        ({"space units": '"cm" "cm" "cm"'}, "cm"),
        (BARE | {"units": '"mm" "mm" "cm"', "spacings": "1 1 1"}, "cm"),
        (BARE | {"units": '"mm" "mm" "mm"', "spacings": "1 1 1"}, None),
    ],
    ids=str,
)
def test_lengths_in_another_unit_are_read_as_mm_and_said(tmp_path, fields, unit):
    case = open_case(nrrd(tmp_path / "x.nrrd", **fields))
    assert is_as_itk_reads_it(tmp_path / "x.nrrd")
    said = f"x.nrrd says its lengths are in {unit}; they are read as mm."
    assert case.warnings == (() if unit is None else (said,))


def test_a_header_that_does_not_end_is_refused(tmp_path):
    long = "".join(f"key{n}:={'x' * 1000}\n" for n in range(1100))
    assert "header does not end within 1 MB" in refused(nrrd(tmp_path / "x.nrrd", extra=long))
    assert is_as_itk_reads_it(
        nrrd(tmp_path / "y.nrrd", extra=long[: 2**19].rpartition("\n")[0] + "\n")
    )
    whole = nrrd(tmp_path / "z.nrrd").read_bytes()
    (tmp_path / "z.nrrd").write_bytes(whole[: whole.index(b"\n\n")])
    assert "header does not end" in refused(tmp_path / "z.nrrd")


def test_a_list_of_one_part_is_grey(tmp_path):
    for ending, time in ((".nrrd", 1), (".nrrd", 3)):
        four = VALUES if time == 1 else distinct((4, 5, 6, 3))
        path = nrrd(
            tmp_path / f"x{ending}", four.tobytes(order="F"), dimension=4 + (time > 1),
            sizes="1 4 5 6" + (" 3" if time > 1 else ""), kinds="list domain domain domain"
            + (" time" if time > 1 else ""), space_directions=f"none {DIRECTIONS}"
            + (" none" if time > 1 else ""),
        )  # fmt: skip
        scan = open_case(path, time=2 if time > 1 else None).scan
        grey = open_case(nrrd(tmp_path / "grey.nrrd")).scan
        wanted = four if time == 1 else four[..., 2]
        assert not scan.is_colour and scan.grid.same_place(grey.grid)
        assert np.array_equal(scan.array.ravel(), wanted.ravel()[grey.array.ravel()])


def test_colours_may_be_the_first_axis_or_the_last(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    for where, order in [(0, (3, 0, 1, 2)), (3, (0, 1, 2, 3))]:
        vectors = DIRECTIONS.split()
        vectors.insert(where, "none")
        kinds = ["domain"] * 3
        kinds.insert(where, "RGB-color")
        stored = colours.transpose(order)
        path = nrrd(
            tmp_path / "x.nrrd", stored.tobytes(order="F"), type="uchar", dimension=4,
            sizes=" ".join(map(str, stored.shape)), space_directions=" ".join(vectors),
            kinds=" ".join(kinds),
        )  # fmt: skip
        scan = open_case(path).scan
        grey = open_case(nrrd(tmp_path / "grey.nrrd")).scan
        assert scan.grid.same_place(grey.grid)
        assert {tuple(c) for c in scan.array.reshape(-1, 3).tolist()} == {
            tuple(c) for c in colours.reshape(-1, 3).tolist()
        }
        assert np.array_equal(scan.array.reshape(-1, 3)[:, 0], colour_of(colours, grey))


def colour_of(colours, grey):
    """The first part of the colour at each place of a grey scan, whose values tell the place."""
    return colours.reshape(-1, 3)[grey.array.ravel(), 0]


def test_the_axis_of_time_is_the_one_that_lies_not_in_space(tmp_path):
    four = distinct((3, 4, 5, 6))
    vectors = f"none {DIRECTIONS}"
    path = nrrd(
        tmp_path / "t.nrrd", four.tobytes(order="F"), dimension=4, sizes="3 4 5 6",
        space_directions=vectors,
    )  # fmt: skip
    grey = open_case(nrrd(tmp_path / "grey.nrrd")).scan
    for time in range(3):
        scan = open_case(path, time=time).scan
        assert np.array_equal(scan.array.ravel(), four[time].ravel()[grey.array.ravel()])
        assert scan.grid.same_place(grey.grid)


def test_a_flat_picture_in_space_has_one_slice(tmp_path):
    flat = distinct((4, 5))
    path = nrrd(
        tmp_path / "f.nrrd", flat.tobytes(order="F"), dimension=2, sizes="4 5",
        space_directions="(0,0.9,0) (0,0,0.8)", space_origin="(1,2,3)",
    )  # fmt: skip
    scan = open_case(path).scan
    affine = np.array([[0, 0, 1, -1], [-0.9, 0, 0, -2], [0, 0.8, 0, 3], [0, 0, 0, 1.0]])
    assert same_positions(positions_of(scan), positions_by_value(flat[..., None], affine))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sizes": "4 5"}, "can't be read"),
        ({"sizes": "4 5 -6"}, "axis of -6 voxels"),
        ({"sizes": "0 5 6"}, "axis of 0 voxels"),
        ({"sizes": "400000 500000 600000"}, "cut short"),
        ({"dimension": "16", "sizes": "1 " * 16, "space directions": None}, "16 dimensions"),
        ({"type": "block"}, "unknown type"),
        ({"endian": None}, "can't be read"),
        ({"encoding": "zrl"}, "packed in a way"),
        ({"encoding": "gzip", "data": gzip.compress(RAW, mtime=0)[:40]}, "can't be read"),
        ({"encoding": "ascii", "data": b"1 2 3 4 5 " * 20}, "cut short"),
        ({"space directions": "(1,0,0) (2,0,0) (0,0,1)"}, "directions are broken"),
        ({"space directions": "(1,0,0) (0,nan,0) (0,0,1)"}, "can't be read"),
        ({"space directions": "(1e308,0,0) (0,1e308,0) (0,0,1)"}, "directions are broken"),
        ({"space origin": "(inf,0,0)"}, "directions are broken"),
        ({"encoding": "ascii", "data": b"70000 " * 120}, "can't be read"),
        ({"encoding": "ascii", "data": b"1 x " * 120}, "can't be read"),
        ({"encoding": "gzip", "byte skip": "-1", "data": gzip.compress(RAW)}, "can't be read"),
        ({"encoding": "hex", "data": RAW.hex()[:-1].encode()}, "cut short"),
        ({"encoding": "hex", "data": b"0g" * 240}, "can't be read"),
        ({"data file": "LIST"}, "names 0 files for its voxels, and needs 6"),
        ({"data file": "gone.raw"}, "needs the file gone.raw, which is missing"),
        ({"data file": "."}, "is missing"),
        ({"kinds": "domain vector list"}, "dimensions"),
    ],
)
def test_broken_nrrd_headers_are_refused_in_one_sentence(tmp_path, fields, words):
    assert words in refused(nrrd(tmp_path / "x.nrrd", **fields))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"NDims": "9"}, "can't be read"),
        ({"DimSize": "4 5 99999999"}, "cut short"),
        ({"ElementType": "MET_OTHER"}, "unknown type"),
        ({"ElementNumberOfChannels": "7", "data": RAW * 7}, "7 numbers a voxel"),
        ({"ElementNumberOfChannels": "0"}, "axis of 0 voxels"),
        ({"TransformMatrix": "1 0 0 0 0 0 0 0 1"}, "directions are broken"),
        ({"TransformMatrix": "1 0 0"}, "can't be read"),
        ({"CompressedData": "True", "data": zlib.compress(RAW)[:40]}, "cut short"),
        ({"CompressedData": "True", "data": b"no zlib at all"}, "can't be read"),
        ({"DimSize": None}, "can't be read"),
    ],
)
def test_broken_metaimage_headers_are_refused_in_one_sentence(tmp_path, fields, words):
    assert words in refused(metaimage(tmp_path / "x.mha", **fields))


def test_a_checksum_that_is_wrong_is_found(tmp_path):
    packed = bytearray(zlib.compress(RAW))
    packed[-1] ^= 1
    assert "x.mha" in refused(metaimage(tmp_path / "x.mha", bytes(packed), CompressedData="True"))
    packed = bytearray(gzip.compress(RAW, mtime=0))
    packed[-5] ^= 1
    assert "x.nrrd" in refused(nrrd(tmp_path / "x.nrrd", bytes(packed), "gzip"))


def test_a_long_damaged_line_which_ends_the_process_in_itk_s_reader_is_refused(tmp_path):
    for fields in ({"endian": "l" + "\xff" * 5000}, {"space directions": "(" + "\xff" * 5000}):
        path = nrrd(tmp_path / "x.nrrd", **fields)
        path.write_bytes(path.read_bytes().replace(b"\xc3\xbf", b"\xff"))
        assert "x.nrrd can't be read" in refused(path)
