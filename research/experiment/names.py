"""Checks that the names in an experiment's configuration name something."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError

if TYPE_CHECKING:
    from research.experiment.config import ExperimentConfig

#: What a model of an experiment may set; data and features are those of the data set.
MODEL_SECTIONS = ("model", "trainer", "retrieval")


def require(wanted: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuses unknown names.

    Args:
      wanted: the names that are used.
      known: the names that exist.
      where: the key or option that uses them.

    Raises:
      ConfigError: names the first unknown one and its nearest neighbour.
    """
    names = list(known)
    for name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{where}: unknown name {name!r}{hint} (known: {', '.join(names) or 'none'})"
            )


def check_names(config: ExperimentConfig, path: str | Path) -> None:
    """Checks every reference of an experiment.

    Raises:
      ConfigError: a name is unknown or used twice.
    """
    for dataset, data in config.datasets.items():
        require(data.models or (), config.models, f"{path}: datasets.{dataset}.models")
    for model, entry in config.models.items():
        where = f"{path}: models.{model}"
        require(entry.datasets or (), config.datasets, f"{where}.datasets")
        require(entry.variants, ("default", *config.variants), f"{where}.variants")
        require(entry.set, MODEL_SECTIONS, f"{where}.set")
    _check_unions(config, path)
    known = {
        row: None
        for dataset in config.datasets
        for row in (*config.model_rows(dataset), *config.unions_of(dataset))
    }
    require((*config.compare, *config.compare.values()), known, f"{path}: compare")
    for dataset in config.datasets:
        rows = (*config.model_rows(dataset), *config.unions_of(dataset))
        if not rows:
            raise ConfigError(f"{path}: datasets.{dataset}: no model is trained on it")
        where = f"{path}: baseline of {dataset}"
        if not config.baseline_of(dataset):
            raise ConfigError(f"{where}: not given; name one of its rows: {', '.join(rows)}")
        require((config.baseline_of(dataset),), rows, where)


def _check_unions(config: ExperimentConfig, path: str | Path) -> None:
    everywhere = {row: None for name in config.datasets for row in config.model_rows(name)}
    for name, union in config.unions.items():
        where = f"{path}: unions.{name}"
        if name in config.models:
            raise ConfigError(f"{where}: a model has this name; rows need names of their own")
        require(union.datasets or (), config.datasets, f"{where}.datasets")
        require(union.parts, everywhere, f"{where}.parts")
        for dataset in union.datasets or ():
            require(union.parts, config.model_rows(dataset), f"{where}.parts on {dataset}")
        if not any(name in config.unions_of(dataset) for dataset in config.datasets):
            raise ConfigError(f"{where}: no data set has all its parts {', '.join(union.parts)}")
