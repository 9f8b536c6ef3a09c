"""Marks of parameters."""

import pytest


def nightly(*values):
    """Returns parameters that `make test-all` alone runs; a list holds several arguments."""
    given = [value if isinstance(value, list) else [value] for value in values]
    return [pytest.param(*arguments, marks=pytest.mark.nightly) for arguments in given]
