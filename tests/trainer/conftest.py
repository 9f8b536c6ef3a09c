"""Fixtures of the trainer's tests."""

import pytest

from tests.shared import once


@pytest.fixture(scope="session")
def tiny():
    """A transformed tiny data set, made once."""
    from tests.trainer.tiny import transform

    return once("tiny", lambda folder: transform(str(folder)))[1]
