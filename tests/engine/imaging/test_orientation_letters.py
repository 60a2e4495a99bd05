from __future__ import annotations

import numpy as np
import pytest

from engine.domain.grid import Grid, picture_grid
from engine.imaging.orientation import EdgeLetters, as_shown, edge_letters

LPS = np.diag([-1.0, -1.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        (0, EdgeLetters(top="A", bottom="P", left="R", right="L")),
        (1, EdgeLetters(top="H", bottom="F", left="R", right="L")),
        (2, EdgeLetters(top="H", bottom="F", left="A", right="P")),
    ],
)
def test_letters_as_radiologists_expect_them(plane, expected):
    assert edge_letters(Grid((4, 5, 6), LPS), plane) == expected


def test_oblique_slices_get_a_second_letter():
    angle = np.radians(30)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    letters = edge_letters(Grid((4, 5, 6), turn @ LPS), 0)
    assert letters is not None
    assert letters.right == "LP" and letters.left == "RA"
    slight = np.radians(10)
    turn[:2, :2] = [[np.cos(slight), -np.sin(slight)], [np.sin(slight), np.cos(slight)]]
    letters = edge_letters(Grid((4, 5, 6), turn @ LPS), 0)
    assert letters is not None and letters.right == "L"


def test_no_letters_where_nothing_says_how_the_patient_lies():
    assert edge_letters(picture_grid(5, 6), 0) is None


def test_the_head_is_shown_at_the_top():
    pixels = np.arange(12).reshape(4, 3)
    assert as_shown(pixels, 0) is pixels
    for plane in (1, 2):
        assert np.array_equal(as_shown(pixels, plane), pixels[::-1])
        assert np.array_equal(as_shown(as_shown(pixels, plane), plane), pixels)
