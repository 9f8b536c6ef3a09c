"""Labels of served versions: promote, clear, roll back.

Without labels the newest version is served. Labels take over: exactly the labelled
versions are served, and a new version waits until it is promoted. The functions on
`Pins` decide; `change` carries out, under the model's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from components.bundle.links import sync_links
from components.bundle.lock import config_lock, push_lock
from components.bundle.mirror import content_of, origin, pull, pull_all, send
from components.bundle.model_config import MODELS_CONFIG, server_configs, write_configs
from components.bundle.pins import PINS_NAME, Pins, is_label, read_pins, write_pins
from components.bundle.served import Served, served_of
from components.bundle.verify import verify
from components.bundle.versions import BundleVersion, list_versions
from core.errors import BundleError, ConfigError

STABLE = "stable"


def change(
    model_dir: Path, update: Callable[[Pins, list[BundleVersion]], Pins], wait_s: float = 30.0
) -> Served:
    """Replaces the pins of one model and derives all that depends on them.

    `pins.json` is written in one step; a process that is killed between that and the
    configurations leaves these behind, and the next change or push makes them right.
    In the mirror of an object store both are written there as well. There is no lock for
    that, so a change that somebody else's overtakes is refused.

    Args:
      model_dir: `<serving_dir>/<name>`.
      update: from the present pins and the published versions to the new pins.
      wait_s: seconds to wait for somebody else who changes the same model.

    Returns:
      What is served now.

    Raises:
      BundleError: pins of this or of another model of the folder cannot be read; nothing
        was changed.
      PushError: somebody else holds the lock.
    """
    model_dir = Path(os.path.abspath(model_dir))
    pull_all(model_dir.parent)
    with push_lock(model_dir, wait_s):
        versions = list_versions(model_dir)
        before = content_of(model_dir / PINS_NAME)
        pins = update(read_pins(model_dir), versions)
        sync_links(model_dir, versions)
        with config_lock(model_dir.parent):
            configs = server_configs(model_dir.parent, {model_dir.name: pins})
            write_pins(model_dir, pins)
            send(model_dir, PINS_NAME, before, guarded=True)
            write_configs(model_dir.parent, configs)
            send(model_dir.parent, MODELS_CONFIG)
        _require_kept(model_dir, pins, versions)
    return served_of(pins, [bundle.version for bundle in versions])


def derive(model_dir: Path) -> None:
    """Makes links and configurations those of pins and versions; hold the model's lock.

    Raises:
      BundleError: the pins of a model cannot be read.
      OSError: a file cannot be written.
    """
    model_dir = Path(os.path.abspath(model_dir))
    pull_all(model_dir.parent)
    sync_links(model_dir, list_versions(model_dir))
    with config_lock(model_dir.parent):
        write_configs(model_dir.parent, server_configs(model_dir.parent))
        send(model_dir.parent, MODELS_CONFIG)


def _require_kept(model_dir: Path, pins: Pins, versions: list[BundleVersion]) -> None:
    """Refuses pins of a version that a push removed from the store while they were written.

    Raises:
      BundleError: that happened.
    """
    if origin(model_dir) is None:
        return
    pull(model_dir)
    gone = {v.version for v in versions} - {v.version for v in list_versions(model_dir)}
    for version in sorted(gone & pins.kept):
        raise BundleError(
            f"version {version} was removed by a push while it was labelled or pinned; choose "
            "another one, for what is labelled now is not there"
        )


def promoted(pins: Pins, versions: list[BundleVersion], version: int, label: str) -> Pins:
    """Returns pins in which `label` names `version`.

    The first label freezes what is served as `stable`, so that a label never takes
    away what was served without one.

    Raises:
      ConfigError: not a legal label.
      BundleError: the version is not published, or damaged.
    """
    if not is_label(label):
        raise ConfigError(
            f"label {label!r}: letters, digits, '.', '_' and '-' only, 63 at most, and a letter "
            "or digit first: it becomes a part of a URL"
        )
    require_sound(versions, version)
    before = _stable(pins, versions)
    labels = dict(pins.labels)
    if not labels and before is not None:
        labels[STABLE] = before
    labels[label] = version
    moved = label == STABLE and before is not None and before != version
    return _with(pins, labels, before if moved else pins.previous)


def cleared(pins: Pins, label: str | None) -> Pins:
    """Returns pins without `label`, or without any: then the newest version is served.

    Raises:
      BundleError: there is no such label, or `stable` would go and others stay.
    """
    if label is None:
        return _with(pins, {}, None)
    if label not in pins.labels:
        there = ", ".join(f"{name} (version {v})" for name, v in pins.labels.items())
        raise BundleError(f"no label {label!r} is set; set are: {there or 'none'}")
    labels = {name: version for name, version in pins.labels.items() if name != label}
    if label == STABLE and labels:
        raise BundleError(
            f"label {STABLE!r} cannot go while {', '.join(sorted(labels))} stay: only they would "
            f"be served; clear them first, or move it with `tessera promote`"
        )
    return _with(pins, labels, pins.previous if labels else None)


def rolled_back(pins: Pins, versions: list[BundleVersion], target: int | None) -> Pins:
    """Returns pins in which `stable` names an earlier version.

    Labels of versions above it go as well: a request without a version is answered by
    the largest number that is served, and would not be rolled back otherwise.

    Args:
      pins: the present pins.
      versions: the published versions.
      target: the version to go back to; None: see `rollback_target`.

    Raises:
      BundleError: nothing to go back to, or the version is not published or damaged.
    """
    version = rollback_target(pins, versions) if target is None else target
    require_sound(versions, version)
    labels = {name: number for name, number in pins.labels.items() if number <= version}
    return _with(pins, labels | {STABLE: version}, None)


def rollback_target(pins: Pins, versions: list[BundleVersion]) -> int:
    """Returns the version that was served before the present one.

    In this order: `stable`, where a later version is served beside it (a canary); what
    `stable` was before it was moved; the parent of what is served; the version below it.

    Raises:
      BundleError: there is none.
    """
    published = {bundle.version: bundle for bundle in versions}
    current = served_of(pins, published).default
    if current is None:
        raise BundleError("no version is published: nothing to go back to")
    stable = pins.labels.get(STABLE, current)
    if stable < current:
        return stable
    parent = published[current].manifest.parent_version if current in published else None
    for candidate in (pins.previous, parent):
        if candidate in published and candidate != current:
            return candidate
    below = [version for version in published if version < current]
    if not below:
        raise BundleError(
            f"version {current} is served and no earlier one is published; published: "
            f"{_numbers(versions)}; choose with --to"
        )
    return max(below)


def require_sound(versions: list[BundleVersion], version: int) -> None:
    """Reads every file of a version and compares it with the manifest.

    Raises:
      BundleError: not published, or damaged.
    """
    verify(require_published(versions, version).path)


def require_published(versions: list[BundleVersion], version: int) -> BundleVersion:
    """Returns a version by its number.

    Raises:
      BundleError: it is not published.
    """
    for bundle in versions:
        if bundle.version == version:
            return bundle
    raise BundleError(f"no version {version}; published: {_numbers(versions)}")


def _stable(pins: Pins, versions: list[BundleVersion]) -> int | None:
    return pins.labels.get(STABLE, served_of(pins, [v.version for v in versions]).default)


def _numbers(versions: list[BundleVersion]) -> str:
    return ", ".join(str(bundle.version) for bundle in versions) or "none"


def _with(pins: Pins, labels: dict[str, int], previous: int | None) -> Pins:
    return Pins(**pins.model_dump() | {"labels": labels, "previous": previous})
