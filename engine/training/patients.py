"""Which cases are of one patient."""

from __future__ import annotations

import re

# A part of a name, between underscores, hyphens or dots, that numbers what a case was cut from.
WORDS = (
    "p", "pat", "patient", "sub", "subject", "case", "vol", "volume", "seq", "sequence", "video",
)  # fmt: skip
_PART = re.compile(rf"(?:^|[_.\-])(?:{'|'.join(WORDS)})-?[0-9]+(?=$|[_.\-])", re.IGNORECASE)


def patient_in(stem: str) -> str:
    """The patient that a file's stem names, or "".

    It is all up to the end of the first part that is one of `WORDS` and a number:
    ``curvas_p10001_394`` -> ``curvas_p10001``, ``cvc_seq12_250`` -> ``cvc_seq12``,
    ``case0005_slice012`` -> ``case0005``, ``sub-03_T1w`` -> ``sub-03``.
    """
    found = _PART.search(stem)
    return stem[: found.end()].casefold() if found else ""
