"""What we write into DICOM, seen by a checker of the standard: dicom3tools' dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from phantoms import Series, draw, plain
from pydicom.uid import generate_uid

from engine.domain.manifest import ModelUse
from engine.io import open_case, save_mask

DCIODVFY = shutil.which("dciodvfy")
pytestmark = pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (dicom3tools) is not installed")
MODEL = ModelUse("lungs", "ab" * 32, "", 0, None)
WHOLE_SOURCES = ("ct_gantry_tilt_philips_a", "ct_seg_liver_dcmqi", "ct_rtstruct_rtutils")


def errors_of(path: Path) -> set[str]:
    done = subprocess.run([str(DCIODVFY), str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy says at least what it takes the file for"
    return {line for line in lines if line.startswith("Error")}


def written(source: Path, folder: Path, form: str, *, deidentify: bool) -> Path:
    """Two labels, the second with a hole, drawn on a source and written."""
    case = open_case(source)
    k, j, i = case.scan.grid.shape
    draw(
        case,
        (slice(0, k), slice(j // 2, j), slice(0, i // 3)),
        (slice(k // 4, max(3 * k // 4, k // 4 + 1)), slice(0, j // 2), slice(i // 2, i)),
    )
    return save_mask(case, folder / f"{form}.dcm", form=form, deidentify=deidentify, model=MODEL)[0]


def conformant() -> Series:
    """Its frame of reference has a name of its own, as the standard asks."""
    return plain(tags={"FrameOfReferenceUID": generate_uid()})


@pytest.mark.parametrize("deidentify", [False, True])
@pytest.mark.parametrize("form", ["seg", "rtstruct"])
class TestConforms:
    def test_of_a_ct(self, tmp_path, form, deidentify):
        source = conformant().write(tmp_path / "s")
        assert not errors_of(written(source, tmp_path, form, deidentify=deidentify))

    def test_of_a_frame_that_holds_them_all(self, tmp_path, form, deidentify):
        source = tmp_path / "e.dcm"
        conformant().enhanced([3, 0, 5, 1, 4, 2]).save_as(source, enforce_file_format=True)
        assert not errors_of(written(source, tmp_path, form, deidentify=deidentify))

    @pytest.mark.parametrize("name", WHOLE_SOURCES)
    def test_of_a_real_series(self, shared_folder, tmp_path, form, deidentify, name):
        source = shared_folder / "io" / "series" / name
        assert not errors_of(written(source, tmp_path, form, deidentify=deidentify))
