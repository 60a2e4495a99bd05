"""How far a case, or a slice of it, has been looked at."""

from __future__ import annotations

from enum import StrEnum


class ReviewState(StrEnum):
    """Review state of a slice or a whole case; an edit after approval returns to corrected."""

    NEW = "new"
    PROPOSED = "proposed"
    CORRECTED = "corrected"
    APPROVED = "approved"

    def after_edit(self) -> ReviewState:
        """The state after a person changed something."""
        return ReviewState.CORRECTED

    def after_proposal(self) -> ReviewState:
        """The state after a model wrote a mask; a person's correction is not forgotten."""
        return self if self is ReviewState.CORRECTED else ReviewState.PROPOSED
