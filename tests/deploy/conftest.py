"""The deployment's tests ask the local server too: its fixtures are those of `tests/serving`."""

from tests.serving.conftest import model_dir, start, store  # noqa: F401
