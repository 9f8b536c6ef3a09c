"""Shared test set-up: the environment that TensorFlow must see before it is imported."""

import gc
import os
import sys

import pyarrow.lib
from hypothesis import HealthCheck, settings

from tests import forkserver, shared

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("PYTHONWARNINGS", "ignore")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Several processes share the cores; threads of one operation that wait for each other cost a tenth.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# A busy machine makes examples slow, so no example has to be fast.
_SETTINGS = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("quick", max_examples=10, **_SETTINGS)
settings.register_profile("deep", max_examples=200, **_SETTINGS)
settings.load_profile("quick")
_LONG_S = 60.0
_REASON = "why it is slow"
# TFX brings millions of objects; looking through them again and again took a tenth of all tests.
gc.set_threshold(100_000, 50, 100)


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        sys.executable = forkserver.PYTHON  # what tests start with it is a fresh process
        return
    config.add_cleanup(forkserver.start())
    config.add_cleanup(shared.start())
    if getattr(config.option, "tx", None):  # workers need not import TFX one by one
        forked = f"popen//python={forkserver.interpreter()}"
        config.option.tx = [forked if spec == "popen" else spec for spec in config.option.tx]


def pytest_collection_finish():
    """What was imported stays: the collector need not look through it.

    Nor need Arrow, which asks for the referrers of a frame before it reads a CSV file (for a
    reference cycle in Python, bpo-42248): among the objects of a thousand tests that takes longer
    than the file.
    """
    gc.collect()
    gc.freeze()
    pyarrow.lib._break_traceback_cycle_from_frame = lambda frame: None


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that no worker is left alone with it at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, "e2e" not in item.path.parts))
    for item in items:
        marker = item.get_closest_marker("slow")
        if marker is not None and marker.args:
            item.user_properties.append((_REASON, marker.args[0]))


def pytest_terminal_summary(terminalreporter):
    """Says why a test took more than a minute."""
    reports = [r for found in terminalreporter.stats.values() for r in found]
    long = [r for r in reports if getattr(r, "duration", 0.0) > _LONG_S and hasattr(r, "when")]
    if long:
        terminalreporter.section(f"tests over {_LONG_S:.0f} s, and why")
    for report in sorted(long, key=lambda report: -report.duration):
        reason = dict(report.user_properties).get(_REASON, "no reason given")
        terminalreporter.line(f"{report.duration:.0f} s {report.when} {report.nodeid}: {reason}")
