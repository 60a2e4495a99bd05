"""The bars above the picture: three at a time, and a word about those that wait."""

from __future__ import annotations

import pytest

from sdseg_gui.notify import NoticeBar, Notifier


@pytest.fixture
def bar(qtbot):
    notifier = Notifier()
    made = NoticeBar(notifier)
    made.notifier = notifier
    qtbot.addWidget(made)
    for number in range(1, 6):
        notifier.show(f"notice {number}")
    return made


def close_newest(bar) -> None:
    bar.choose("Close")


def test_a_line_says_how_many_notices_wait_and_they_come_up_as_others_close(bar):
    assert bar.texts == ["notice 5", "notice 4", "notice 3"]
    assert bar.more.isVisible() and bar.more.text() == "2 more"
    close_newest(bar)
    assert bar.texts == ["notice 4", "notice 3", "notice 2"] and bar.more.text() == "1 more"
    close_newest(bar)
    assert bar.texts == ["notice 3", "notice 2", "notice 1"] and not bar.more.isVisible()


def test_the_line_shows_all_notices_and_fewer_again(bar):
    bar.more.click()
    assert bar.texts == [f"notice {n}" for n in (5, 4, 3, 2, 1)]
    assert bar.more.text() == "Show fewer" and bar.more.isVisible()
    rows = [bar._column.itemAt(n).widget() for n in range(bar._column.count())]
    assert rows[-1] is bar.more and len(rows) == 6, "below all of them"
    close_newest(bar)
    assert len(bar.texts) == 4
    bar.more.click()
    assert bar.texts == ["notice 4", "notice 3", "notice 2"] and bar.more.text() == "1 more"


def test_notices_that_were_all_shown_are_few_again_with_the_next_lot(bar):
    bar.more.click()
    for _ in range(3):
        close_newest(bar)
    assert not bar.more.isVisible()
    bar.notifier.show("a", key="k")
    bar.notifier.show("b")
    assert bar.texts == ["b", "a", "notice 2"] and bar.more.text() == "1 more"
    bar.notifier.clear("k")
    assert bar.texts == ["b", "notice 2", "notice 1"] and not bar.more.isVisible()
    for _ in range(3):
        close_newest(bar)
    assert bar.isHidden()
