"""Rolls back in front of running servers: load first, move the labels then.

A running TensorFlow Serving moves a label only to a version that it has loaded, and with
labels it loads the labelled versions alone. So the version to go back to gets a label of
its own, and `stable` moves once the servers have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.bundle.labels import change, promoted, rollback_target, rolled_back
from components.bundle.model_status import wait_until_available
from components.bundle.pins import Pins
from components.bundle.served import Served
from components.bundle.versions import BundleVersion

#: Loads a version that nobody asks for by this label.
STANDBY = "rollback"


def roll_back(
    model_dir: Path,
    target: int | None,
    servers: Sequence[str] = (),
    timeout_s: float = 120.0,
    wait_s: float = 30.0,
) -> Served:
    """Serves an earlier version; see `rolled_back` for which.

    Args:
      model_dir: `<serving_dir>/<name>`.
      target: the version; None: the one that was served before.
      servers: `host:port` of model servers that must have it before the labels move; without
        any the labels move at once.
      timeout_s: seconds for each server to load it.
      wait_s: seconds to wait for somebody else who changes the same model.

    Returns:
      What is served now.

    Raises:
      BundleError: nothing to go back to, or the version is not published or damaged.
      PushError: a server did not load it, and what is served is what was served before; or
        somebody else holds the lock.
    """
    if servers:
        target = _load(model_dir, target, servers, timeout_s, wait_s)

    def move(pins: Pins, versions: list[BundleVersion]) -> Pins:
        return _without_standby(rolled_back(pins, versions, target))

    return change(model_dir, move, wait_s)


def _load(
    model_dir: Path, target: int | None, servers: Sequence[str], timeout_s: float, wait_s: float
) -> int:
    """Lets the servers load the version to go back to, and returns it."""
    before, during, chosen = Pins(), Pins(), 0

    def add(pins: Pins, versions: list[BundleVersion]) -> Pins:
        nonlocal before, during, chosen
        chosen = rollback_target(pins, versions) if target is None else target
        before = during = pins
        if chosen not in pins.labels.values():
            during = promoted(pins, versions, chosen, STANDBY)
        return during

    def undo(pins: Pins, _: list[BundleVersion]) -> Pins:
        return before if pins == during else _without_standby(pins)

    change(model_dir, add, wait_s)
    try:
        for server in servers:
            wait_until_available(server, model_dir.absolute().name, chosen, timeout_s)
    except BaseException:
        change(model_dir, undo, wait_s)
        raise
    return chosen


def _without_standby(pins: Pins) -> Pins:
    labels = {label: version for label, version in pins.labels.items() if label != STANDBY}
    return pins.model_copy(update={"labels": labels})
