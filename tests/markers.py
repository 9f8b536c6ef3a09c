"""Marks of parameters."""

import pytest


def nightly(*values):
    """Returns parameters that `make test-all` alone runs."""
    return [pytest.param(value, marks=pytest.mark.nightly) for value in values]
