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
    assert len(bar._rows) == 5 and bar.more.y() >= bar._scroll.geometry().bottom(), "below them"
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


def uncut(window) -> bool:
    """Whether all rows are as high as their text."""
    rows = window.notice_bar._rows
    return all(row.height() >= row.heightForWidth(row.width()) > 0 for row in rows)


def test_many_notices_leave_room_for_the_picture_and_can_all_be_read(window, qtbot):
    window.resize(1200, 800)
    for number in range(30):
        window.notifier.show(f"{number}.png is damaged. " + "Get it again from where it came. " * 6)
    window.notice_bar.more.click()
    qtbot.waitUntil(lambda: uncut(window))
    assert window.height() == 800 and window.canvas.height() > 300
    rows, bar = window.notice_bar._rows, window.notice_bar._scroll.verticalScrollBar()
    assert len(rows) >= 30
    bar.setValue(bar.maximum())
    assert not rows[-1].visibleRegion().isEmpty()


def test_a_few_notices_are_as_high_as_their_text(window, qtbot):
    window.notifier.clear("research")
    window.notifier.show("One line.")
    qtbot.waitUntil(lambda: uncut(window))
    assert window.notice_bar.height() < 60
    window.notifier.show("Many words. " * 40)
    qtbot.waitUntil(lambda: uncut(window))
    assert window.notice_bar._scroll.verticalScrollBar().maximum() == 0
