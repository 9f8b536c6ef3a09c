"""Shared test set-up: the environment that TensorFlow must see before it is imported."""

import os

from hypothesis import HealthCheck, settings

from tests import forkserver

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("PYTHONWARNINGS", "ignore")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

# A busy machine makes examples slow, so no example has to be fast.
_SETTINGS = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("quick", max_examples=25, **_SETTINGS)
settings.register_profile("deep", max_examples=200, **_SETTINGS)
settings.load_profile("quick")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # once for all workers
        config.add_cleanup(forkserver.start())
