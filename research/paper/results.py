"""Reads published results: rows of data sets of experiments, and differences between rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.files import read_json

SCHEMA = 1
#: What a claim about accuracy is decided by.
METRIC = "recall@100"
#: Standard deviations within a two-sided 95 % interval of a normal variable.
_Z = 1.96


class MissingResultError(DataError):
    """A claim needs an experiment, a data set or a row that was not published."""


@dataclass(frozen=True)
class Interval:
    """A difference with its 95 % interval.

    Attributes:
      difference: of two means.
      low: lower end.
      high: upper end.
      scale: the figure of the row that was compared with; says what is worth a name.
      paired: whether both rows answered the same examples and the interval knows it.
      steady: whether no seed's own difference has the other sign.
    """

    difference: float
    low: float
    high: float
    scale: float
    paired: bool = True
    steady: bool = True

    def reversed(self) -> Interval:
        """Returns the difference the other way round."""
        return replace(self, difference=-self.difference, low=-self.high, high=-self.low)

    def minus(self, other: Interval) -> Interval:
        """Returns the difference of two differences, taken as independent."""
        below = math.hypot(self.difference - self.low, other.high - other.difference)
        above = math.hypot(self.high - self.difference, other.difference - other.low)
        middle = self.difference - other.difference
        scale = (self.scale + other.scale) / 2
        steady = self.steady and other.steady
        return Interval(middle, middle - below, middle + above, scale, paired=False, steady=steady)


@dataclass(frozen=True)
class Stat:
    """A figure over seeds: mean, sample standard deviation, number of seeds."""

    mean: float
    std: float
    seeds: int


class ResultSet:
    """The rows of one data set in one experiment."""

    def __init__(self, experiment: str, name: str, content: Mapping[str, Any]) -> None:
        self.experiment = experiment
        self.name = name
        self.content = content
        self._rows: dict[str, Mapping[str, Any]] = {r["row"]: r for r in content["rows"]}

    def has(self, *rows: str) -> bool:
        """True where all these rows are there."""
        return all(row in self._rows for row in rows)

    def row(self, name: str) -> Mapping[str, Any]:
        """Returns a row.

        Raises:
          MissingResultError: it is not there.
        """
        if name not in self._rows:
            raise MissingResultError(f"`{self.experiment}` has no row {name} on {self.name}")
        return self._rows[name]

    def stat(self, row: str, figure: str, at: tuple[str, str] | None = None) -> Stat:
        """Returns a figure of a row, of one slice where `at` is (slice, value).

        Raises:
          MissingResultError: it was not measured.
        """
        found = self.find(row, figure, at)
        if found is None:
            where = "" if at is None else f" for {at[0]} {at[1]}"
            raise MissingResultError(
                f"`{self.experiment}` has no {figure} of {row} on {self.name}{where}"
            )
        return found

    def find(self, row: str, figure: str, at: tuple[str, str] | None = None) -> Stat | None:
        """Returns a figure of a row like `stat`, None when it was not measured."""
        entry: Mapping[str, Any] = self.row(row)
        if at is not None:
            entry = entry.get("slices", {}).get(at[0], {}).get(at[1], {})
        stat = entry.get("figures", {}).get(figure)
        if stat is None or stat["mean"] is None:
            return None
        seeds = sum(value is not None for value in stat["values"])
        return Stat(float(stat["mean"]), float(stat["std"]), seeds)

    def mean(self, row: str, figure: str) -> float:
        """Returns the mean of a figure of a row.

        Raises:
          MissingResultError: it was not measured.
        """
        return self.stat(row, figure).mean

    def users(self, row: str) -> int:
        """Returns how many eval examples a row was asked."""
        return int(self.row(row)["n"])

    def floor(self, floor: str, figure: str, *, by_source: bool = False) -> float:
        """Returns a figure of a recommender without a model.

        Raises:
          MissingResultError: it was not measured.
        """
        key = "floors_source_topic" if by_source else "floors"
        value = self.content.get(key, {}).get(floor, {}).get(figure)
        if value is None:
            raise MissingResultError(f"`{self.experiment}` has no {floor} in {key} of {self.name}")
        return float(value)

    def difference(
        self, row: str, other: str, metric: str, at: tuple[str, str] | None = None
    ) -> Interval:
        """Returns row - other.

        The paired bootstrap over users is used where the experiment made it; else a share
        of hits has the interval of two independent samples, for the same users usually too
        wide.

        Args:
          row: a row.
          other: the row that it is compared with.
          metric: recall@k, ndcg@10 or topic_entropy@50.
          at: (slice, value) for one slice.

        Raises:
          MissingResultError: there is no such figure or interval.
        """
        found = self._difference(row, other, metric, at)
        per_seed = self._per_seed(row, other, metric, at)
        return replace(found, steady=all(gap * found.difference >= 0 for gap in per_seed))

    def _difference(
        self, row: str, other: str, metric: str, at: tuple[str, str] | None
    ) -> Interval:
        paired = self._paired(row, other, metric, at)
        if paired is not None:
            return paired
        swapped = self._paired(other, row, metric, at)
        if swapped is not None:
            scale = self.find(other, metric, at)
            return replace(swapped.reversed(), scale=0.0 if scale is None else scale.mean)
        if not metric.startswith(("recall", "ndcg")):
            raise MissingResultError(
                f"`{self.experiment}` did not compare {row} with {other} on {self.name}"
            )
        one, two = self.stat(row, metric, at).mean, self.stat(other, metric, at).mean
        return independent(one, self._size(row, at), two, self._size(other, at))

    def _per_seed(
        self, row: str, other: str, metric: str, at: tuple[str, str] | None
    ) -> list[float]:
        """Returns the difference of each seed that both rows have."""
        one, two = (
            {
                seed: value
                for seed, value in zip(
                    self.row(name).get("seeds", []), self._values(name, metric, at), strict=False
                )
                if value is not None
            }
            for name in (row, other)
        )
        return [one[seed] - two[seed] for seed in one.keys() & two.keys()]

    def _values(self, row: str, metric: str, at: tuple[str, str] | None) -> Iterable[float | None]:
        entry: Mapping[str, Any] = self.row(row)
        if at is not None:
            entry = entry.get("slices", {}).get(at[0], {}).get(at[1], {})
        values: Iterable[float | None] = entry.get("figures", {}).get(metric, {}).get("values", [])
        return values

    def _paired(
        self, row: str, other: str, metric: str, at: tuple[str, str] | None
    ) -> Interval | None:
        entry = self.row(row)
        tables = [entry.get(f"versus{kind}", {}) for kind in ("", "_default", "_other")]
        if at is not None:
            tables = [entry.get("slice_versus", {}).get(at[0], {}).get(at[1], {})]
        for table in tables:
            found = table.get(metric)
            if found and found["baseline"] == other:
                scale = self.find(other, metric, at)
                low, high = float(found["low"]), float(found["high"])
                size = 0.0 if scale is None else scale.mean
                return Interval(float(found["difference"]), low, high, size)
        return None

    def _size(self, row: str, at: tuple[str, str] | None) -> int:
        entry = self.row(row)
        return int((entry if at is None else entry["slices"][at[0]][at[1]])["n"])


def independent(one: float, size_one: int, two: float, size_two: int) -> Interval:
    """Returns the difference of two shares with the interval of independent samples.

    Args:
      one: mean of values between 0 and 1.
      size_one: number of examples behind it.
      two: the mean that it is compared with.
      size_two: number of examples behind that; 0 when it is exact.
    """
    variance = one * (1 - one) / max(1, size_one)
    variance += two * (1 - two) / size_two if size_two else 0.0
    half = _Z * math.sqrt(max(0.0, variance))
    return Interval(one - two, one - two - half, one - two + half, two, paired=False)


class Published:
    """The published results of all experiments."""

    def __init__(self, experiments: Mapping[str, Mapping[str, Any]]) -> None:
        self.experiments = experiments

    def sets(self, experiment: str, *rows: str) -> list[ResultSet]:
        """Returns the data sets of an experiment that have all these rows.

        Raises:
          MissingResultError: the experiment was not published, or no data set has them.
        """
        if experiment not in self.experiments:
            raise MissingResultError(f"`{experiment}` was not run")
        contents = self.experiments[experiment]["datasets"]
        found = [ResultSet(experiment, name, content) for name, content in contents.items()]
        kept = [part for part in found if part.has(*rows)]
        if not kept:
            raise MissingResultError(
                f"`{experiment}` was not run with all of {', '.join(rows) or 'its rows'}"
            )
        return kept


def read_published(folder: str | Path) -> Published:
    """Reads every `<experiment>.json` of a folder.

    Raises:
      DataError: the folder is missing, or a file is not the results of an experiment.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; `tessera experiment --publish {root}` writes results there"
        )
    return Published(dict(_read(path) for path in sorted(root.glob("*.json"))))


def _read(path: Path) -> tuple[str, Mapping[str, Any]]:
    try:
        content = read_json(path)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); publish the experiment again") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        seen = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise DataError(
            f"{path}: schema is {seen!r}, expected {SCHEMA}; publish the experiment again"
        )
    _require(path, content, ("experiment", "datasets", "minutes", "seconds"))
    for dataset in content["datasets"].values():
        _require(path, dataset, ("rows", "baseline"))
    return str(content["experiment"]), content


def _require(path: Path, content: Mapping[str, Any], keys: Iterable[str]) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}; publish the experiment again")
