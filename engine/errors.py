"""The one exception whose text a person reads."""

from __future__ import annotations


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

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        """Keeps the hint when the error crosses a process boundary."""
        return type(self), (self.message, self.hint)


class Cancelled(Exception):
    """Raised inside long work when its caller asked it to stop; never shown as an error."""
