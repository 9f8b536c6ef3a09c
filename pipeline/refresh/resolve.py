"""What a refresh takes from the published bundle, before anything runs.

A refresh changes the catalogue: model, settings and the figures in the manifest are those
of the version that is served. Only what the refresh's own configuration names under
`index`, `retrieval`, `serving` and `pusher` replaces the recorded settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.bundle.mirror import mirrored
from components.bundle.served import served
from components.bundle.versions import BundleVersion, list_versions, scan
from core.errors import BundleError, ConfigError
from core.storage import expanded
from pipeline.config import RunConfig, merge_trees, validate_tree

#: Label of the version that answers; without labels it is the newest one.
STABLE = "stable"
#: Sections of the recorded configuration that a refresh goes on with.
_RECORDED = (
    "examples", "features", "gate", "transform", "model", "trainer", "index", "retrieval",
    "evaluator", "serving", "pusher",
)  # fmt: skip
#: Sections that a refresh may set anew.
_FREE = ("index", "retrieval", "serving", "pusher")
#: Single keys of other sections that it may set anew.
_FREE_KEYS = {"examples": ("max_bad_share",)}


@dataclass(frozen=True)
class Refresh:
    """A refresh that can start.

    Attributes:
      config: the configuration with what the published bundle recorded.
      parent: the version whose model gets a new index.
      ignored: keys of the given configuration that only a training could follow, with
        both values.
      served_labels: label -> version; where there are labels, a new version is not served
        before it is promoted.
    """

    config: RunConfig
    parent: BundleVersion
    ignored: tuple[str, ...]
    served_labels: dict[str, int]


def resolve_refresh(config: RunConfig) -> Refresh:
    """Finds the version to refresh and completes the configuration with what it recorded.

    Args:
      config: as it was read; keys that were not given in it come from the bundle.

    Raises:
      BundleError: nothing is published, the wanted version is not, or what it recorded
        cannot be used.
      ConfigError: a given value does not fit the recorded ones.
    """
    with mirrored(expanded(config.serving_dir), config.name) as serving_dir:
        return _resolved(config, serving_dir / config.name)


def _resolved(config: RunConfig, model_dir: Path) -> Refresh:
    parent = _parent(config, model_dir)
    given = config.model_dump(mode="json", exclude_unset=True)
    recorded = {key: parent.manifest.config.get(key) or {} for key in _RECORDED}
    # A manifest names the unit for itself: a bundle may have been published without more.
    recorded["examples"] = {**recorded["examples"], "time_unit": parent.manifest.time_unit}
    known = _validated(recorded, config, parent)
    top = {key: value for key, value in given.items() if key not in _RECORDED or key in _FREE}
    for section, keys in _FREE_KEYS.items():
        top[section] = {k: v for k, v in given.get(section, {}).items() if k in keys}
    where = f"the configuration of the refresh, completed by {parent.path}"
    return Refresh(
        config=validate_tree(RunConfig, merge_trees(recorded, top), where),
        parent=parent,
        ignored=tuple(_ignored(given, known.model_dump(mode="json"))),
        served_labels=served(model_dir).labels,
    )


def _parent(config: RunConfig, model_dir: Path) -> BundleVersion:
    """Returns the wanted version, else the one labelled `stable`, else the one that is served."""
    if not model_dir.is_dir():
        raise BundleError(
            f"{model_dir}: no such folder, so there is no model to refresh; run the whole "
            "pipeline first, or correct serving_dir and name"
        )
    published = {bundle.version: bundle for bundle in list_versions(model_dir)}
    what_is_served = served(model_dir)
    wanted = config.refresh.version
    reason = f"refresh.version is {wanted}"
    if wanted is None:
        wanted = what_is_served.labels.get(STABLE, what_is_served.default)
        reason = f"version {wanted} is served"
    if wanted in published:
        return published[wanted]
    broken = scan(model_dir)[1]
    if wanted is None:
        damaged = "; ".join(broken.values())
        raise BundleError(
            f"{model_dir}: no published version, so there is no model to refresh; run the whole "
            f"pipeline first{'; ' + damaged if damaged else ''}"
        )
    found = ", ".join(map(str, published)) or "none"
    raise BundleError(
        f"{model_dir}: {reason}, but that is no valid version (published: {found})"
        + (f"; {broken[wanted]}" if wanted in broken else "")
    )


def _validated(recorded: Mapping[str, Any], config: RunConfig, parent: BundleVersion) -> RunConfig:
    data = config.data.model_dump(mode="json")
    try:
        return validate_tree(RunConfig, {**recorded, "data": data}, parent.path / "manifest.json")
    except ConfigError as error:
        raise BundleError(
            f"the settings that version {parent.version} recorded do not fit this version of "
            f"Tessera, so it cannot be refreshed: {error}. Run the whole pipeline once"
        ) from error


def _ignored(given: Mapping[str, Any], recorded: Mapping[str, Any]) -> Iterator[str]:
    """Yields the given keys that differ from the recorded ones and are not followed."""
    for section in _RECORDED:
        if section in _FREE:
            continue
        for key, value in _leaves(given.get(section, {}), section):
            if key in {f"{section}.{name}" for name in _FREE_KEYS.get(section, ())}:
                continue
            before = _value(recorded, key)
            if before != value:
                yield f"{key}={value} (published: {before})"


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}")
    else:
        yield key, value


def _value(tree: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return None
        tree = tree[part]
    return tree
