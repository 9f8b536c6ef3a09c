"""What one check found."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Check(NamedTuple):
    """One line of the doctor.

    Attributes:
      name: what was looked at.
      status: `ok`, `WRONG`, or `skipped` when it could not be looked at.
      found: what is there.
      mend: what to do; '' when nothing is to be done.
    """

    name: str
    status: Literal["ok", "WRONG", "skipped"]
    found: str
    mend: str = ""


def judge(name: str, good: bool, found: str, mend: str) -> Check:
    """Returns an `ok` or a `WRONG` check; `mend` is dropped when all is well."""
    return Check(name, "ok", found) if good else Check(name, "WRONG", found, mend)
