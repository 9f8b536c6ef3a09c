"""Fixtures of the trainer's tests."""

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A transformed tiny data set, made once."""
    from tests.trainer.tiny import transform

    return transform(str(tmp_path_factory.mktemp("tiny")))
