"""The lists: the counts of the paper's table 1, drawn alike everywhere, and what stays together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import UserError
from engine.training.layouts.data_set import Choices, Item
from engine.training.layouts.groups import look_alikes, read_groups
from engine.training.layouts.prepare import DATA_SETS
from engine.training.layouts.splits import Split, alone, draw
from engine.training.layouts.volumes import BTCV_TEST, STS_TEST

# Table 1 of the paper: cases for training and for test. What is left of the two polyp sets is val;
# in the others val is taken from the training cases.
TABLE_1 = {
    "cvc": (488, 62),
    "kvasir": (800, 100),
    "refuge2": (800, 400),
    "btcv": (18, 12),
    "sts3d": (9, 3),
}
VAL_BESIDE = {"cvc": 62, "kvasir": 100}


def names_of(kind: str) -> list[str]:
    """The stems of a whole data set."""
    letters = {"V": 400, "T": 400, "g": 40, "n": 360}
    return {
        "cvc": [str(n) for n in range(1, 613)],
        "kvasir": [f"cju{n:04d}" for n in range(1000)],
        "refuge2": [f"{a}{n:04d}" for a, count in letters.items() for n in range(1, count + 1)],
        "btcv": [f"{n:04d}" for n in (*range(1, 11), *range(21, 41))],
        "sts3d": [f"Teeth_{n:04d}" for n in range(1, 13)],
    }[kind]


def items_of(kind: str) -> list[Item]:
    return [Item(name, Path(name), Path(name)) for name in names_of(kind)]


def authors(kind: str) -> Split:
    return DATA_SETS[kind].split(Path(kind), items_of(kind), Choices("authors"))


@pytest.mark.parametrize("kind", TABLE_1)
def test_the_authors_split_has_the_counts_of_table_1(kind: str) -> None:
    train, test = TABLE_1[kind]
    split = authors(kind)
    assert len(split.test) == test
    if kind in VAL_BESIDE:
        assert (len(split.train), len(split.val)) == (train, VAL_BESIDE[kind])
    else:
        assert len(split.train) + len(split.val) == train and len(split.val) >= 1
    everything = [*split.train, *split.val, *split.test]
    assert sorted(everything) == sorted(names_of(kind))


def test_the_lists_of_the_authors_are_kept_where_they_have_one() -> None:
    assert authors("btcv").test == BTCV_TEST
    assert authors("sts3d").test == STS_TEST == ("Teeth_0010", "Teeth_0011", "Teeth_0012")
    assert {name[0] for name in authors("refuge2").test} == {"T"}
    assert " ".join(BTCV_TEST) == "0001 0002 0003 0004 0008 0022 0025 0029 0032 0035 0036 0038"


def test_the_draw_is_the_same_on_every_computer_and_in_any_order() -> None:
    # The first names by SHA-256; a change of the rule would change what others have trained on.
    assert authors("cvc").test[:6] == ("101", "116", "129", "15", "152", "159")
    assert authors("btcv").val == ("0024", "0037")
    turned = DATA_SETS["cvc"].split(Path("cvc"), items_of("cvc")[::-1], Choices("authors"))
    assert turned == authors("cvc")


@pytest.mark.parametrize("kind", TABLE_1)
def test_the_papers_counts_need_the_whole_data_set(kind: str) -> None:
    items = items_of(kind)[1:] if kind != "refuge2" else items_of(kind)[:-1]
    with pytest.raises(UserError, match=f"and {len(items)} are here"):
        DATA_SETS[kind].split(Path(kind), items, Choices("authors"))


def test_another_volume_instead_of_a_tested_one_is_refused() -> None:
    items = [*items_of("btcv")[1:], Item("0099", Path("x"), Path("x"))]
    with pytest.raises(UserError, match="lacks 0001"):
        DATA_SETS["btcv"].split(Path("btcv"), items, Choices("authors"))


def test_groups_stay_whole_and_val_never_comes_from_a_given_test() -> None:
    groups = {f"{g}{n}": g for g in "abcdefgh" for n in range(5)}
    split = draw("x", groups, "", val=6, test=6)
    sides = [{groups[name] for name in cases} for cases in split.lists().values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert [len(cases) for cases in split.lists().values()] == [20, 10, 10]
    given = draw("x", alone("abcdef"), "", val=2, test=["b", "a"])
    assert given.test == ("a", "b") and len(given.val) == 2 and len(given.train) == 2
    with pytest.raises(UserError, match=r"none is left for train\.txt"):
        draw("x", {"a": "1", "b": "1", "c": "2"}, "", val=1, test=1)


def test_a_split_by_sequence_needs_somebody_to_tell_the_sequences(tmp_path: Path) -> None:
    items = [Item(str(n), tmp_path / "Original" / f"{n}.png", Path("m")) for n in range(1, 7)]
    with pytest.raises(UserError, match="which frames are of one sequence"):
        DATA_SETS["cvc"].split(tmp_path, items, Choices("leak-free"))
    table = tmp_path / "t.csv"
    table.write_text("png_image_path,sequence_id\n" + "".join(
        f"PNG/Original/{n}.png,{(n - 1) // 2}\n" for n in range(1, 7)
    ))  # fmt: skip
    split = DATA_SETS["cvc"].split(tmp_path, items, Choices("leak-free", groups=table))
    assert sorted(split.lists().values()) == [("1", "2"), ("3", "4"), ("5", "6")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,sequence\n1,1\n", "does not tell the sequence"),
        ("", "does not tell the sequence"),
        ("frame_id,sequence_id\n1,1\n", "tells no sequence of 2"),
        ("frame_id,sequence_id\n1,1\n2,\n", "tells no sequence of 2"),
    ],
)
def test_a_table_that_leaves_a_frame_out_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(UserError, match=message):
        read_groups(table, [Item(name, Path(name), Path(name)) for name in "12"])


def test_pictures_that_look_alike_are_one_group_also_by_way_of_a_third(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scene, other = random.integers(0, 256, (2, 64, 64)).astype(np.float64)
    shades = {"a": scene, "b": 0.8 * scene + 20, "c": other, "d": scene[::-1]}
    items: list[Item] = []
    for name, values in shades.items():
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{name}.png")
        items.append(Item(name, tmp_path / f"{name}.png", tmp_path))
    assert look_alikes(items) == {"a": "a", "b": "a", "c": "c", "d": "d"}
    # x and z differ too much for one another, y is like both.
    steps = (0.0, 0.22, 0.38)
    items = []
    for name, step in zip("xyz", steps, strict=True):
        mixed = (1 - step) * scene + step * other
        Image.fromarray(mixed.astype(np.uint8)).save(tmp_path / f"{name}.png")
        items.append(Item(name, tmp_path / f"{name}.png", tmp_path))
    assert set(look_alikes(items).values()) == {"x"}
    assert len(set(look_alikes([items[0], items[2]]).values())) == 2
