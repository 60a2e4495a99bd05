"""The built-in cases."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import UserError
from engine.io import samples


def test_the_picture_says_that_it_is_built_in():
    case = samples.sample_picture()
    assert case.scan.array.shape == (1, 1411, 1411, 3) and case.scan.is_picture
    assert "built-in" in case.name
    assert case.warnings == ()


def test_the_volume_has_a_box_around_one_hippocampus():
    pytest.importorskip("nilearn")
    case = samples.sample_volume()
    assert case.scan.modality == "MR" and "built-in" in case.name
    assert case.box is not None and case.box.shape == (40, 56, 40)
    middle = [(a + b) / 2 for a, b in zip(case.box.start, case.box.stop, strict=True)][::-1]
    world = case.scan.grid.affine @ [*middle, 1]
    assert np.abs(world[:3] - (28, -23, -15)).max() <= 0.5


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(samples, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        samples.sample_volume()
    assert "pip install" in error.value.hint
