"""The one exception whose text a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class UserError(Exception):
    """Something a person can understand and mend.

    Args:
        message: one plain sentence: what is wrong, and with which file.
        hint: what to do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[UserError], tuple[object, ...]]:
        """Keeps the hint when the error crosses a process boundary."""
        return type(self), (self.message, self.hint)


@dataclass(frozen=True)
class Choice:
    """One of several answers.

    Attributes:
        key: what to answer with.
        text: what it is, for people.
    """

    key: str
    text: str


class ChoiceNeeded(UserError):
    """It would have to be guessed what is meant; a person can tell.

    Args:
        message: one plain sentence.
        hint: how to answer on the command line.
        about: which argument takes the answer ("series", "time").
        choices: what can be answered, the likeliest first.
    """

    def __init__(self, message: str, hint: str, about: str, choices: Sequence[Choice]) -> None:
        super().__init__(message, hint)
        self.about = about
        self.choices = tuple(choices)

    def __reduce__(self) -> tuple[type[ChoiceNeeded], tuple[object, ...]]:
        """Keeps all of it when the error crosses a process boundary."""
        return type(self), (self.message, self.hint, self.about, self.choices)


class Cancelled(Exception):
    """Raised inside long work when its caller asked it to stop; never shown as an error."""
