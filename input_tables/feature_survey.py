"""What is counted of the values of features, and what is said of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.feature_config import FeatureConfig, FeaturesConfig
from input_tables.contract import ITEMS, USERS, Table
from input_tables.feature_values import values_of

#: Share of values of another kind from which on a table is refused.
MAX_ODD_SHARE = 0.05
#: Distinct values that are counted of a feature.
_MAX_DISTINCT = 10_000
_SHOWN = 5


@dataclass
class FeatureCount:
    """Counts of one feature over rows; counts of parts of a table can be added in any order.

    Attributes:
      rows: all of them.
      given: rows with a value.
      odd: rows with something that is no value of its kind.
      example: one of those.
      top: rows by value, of categories and lists.
      numbers: how many, sum, smallest, largest.
    """

    rows: int = 0
    given: int = 0
    odd: int = 0
    example: str = ""
    top: Counter[str] = field(default_factory=Counter)
    numbers: tuple[int, float, float, float] = (0, 0.0, np.inf, -np.inf)

    def add(self, name: str, feature: FeatureConfig, column: pa.Array) -> None:
        """Counts a batch; see `values_of`."""
        found = values_of(name, feature, column)
        self.rows += len(column)
        self.given += len(np.unique(found.row))
        self.odd += int(found.odd.sum())
        if found.odd.any() and not self.example:
            self.example = repr(_text(column[int(np.argmax(found.odd))].as_py()))
        if feature.kind == "number" and len(found.text):
            values = np.asarray(found.text.cast(pa.float64()))
            self._add_numbers(len(values), values.sum(), values.min(), values.max())
        elif feature.kind in ("category", "list"):
            counted = found.text.value_counts()
            names, numbers = counted.field("values"), counted.field("counts")
            self._add_top(Counter(dict(zip(names.to_pylist(), numbers.to_pylist(), strict=True))))

    def merge(self, other: FeatureCount) -> None:
        """Adds counts of other rows."""
        self.rows += other.rows
        self.given += other.given
        self.odd += other.odd
        self.example = self.example or other.example
        self._add_top(other.top)
        self._add_numbers(*other.numbers)

    def facts(self) -> dict[str, Any]:
        """Returns the counts for people."""
        found: dict[str, Any] = {"given": round(self.given / max(self.rows, 1), 4)}
        if self.odd:
            found["odd"] = self.odd
        if self.top:
            top = sorted(self.top.items(), key=lambda pair: (-pair[1], pair[0]))
            found |= {"distinct": len(top), "top": dict(top[:_SHOWN])}
        if count := self.numbers[0]:
            _, total, low, high = self.numbers
            found |= {"min": low, "mean": round(total / count, 6), "max": high}
        return found

    def _add_numbers(self, count: int, total: float, low: float, high: float) -> None:
        mine = self.numbers
        self.numbers = (
            mine[0] + count,
            float(mine[1] + total),
            float(min(mine[2], low)),
            float(max(mine[3], high)),
        )

    def _add_top(self, values: Counter[str]) -> None:
        self.top.update(values)
        if len(self.top) > _MAX_DISTINCT:
            self.top = Counter(dict(self.top.most_common(_MAX_DISTINCT // 2)))


class FeatureVerdict(NamedTuple):
    """Attributes: `errors` that stop a run, `warnings`, and `facts` by feature."""

    errors: list[str]
    warnings: list[str]
    facts: dict[str, Any]


@dataclass
class FeatureSurvey:
    """Counts of all features.

    Attributes:
      features: what is counted.
      counts: by `items.NAME` and `users.NAME`.
      users: users with a row of their own.
    """

    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    counts: dict[str, FeatureCount] = field(default_factory=dict)
    users: set[bytes] = field(default_factory=set)

    def add(self, table: Table, batch: pa.RecordBatch) -> None:
        """Counts a batch of good rows of a table."""
        if table not in (ITEMS, USERS):
            return
        if table == USERS:
            self.users.update(pc.unique(batch.column("user_id")).to_pylist())
        for name, feature in self.features.of("items" if table == ITEMS else "users").items():
            count = self.counts.setdefault(f"{table}.{name}", FeatureCount())
            count.add(name, feature, batch.column(feature.column or name))

    def merge(self, other: FeatureSurvey) -> None:
        """Adds what another survey counted."""
        self.features = self.features or other.features
        self.users |= other.users
        for name, count in other.counts.items():
            self.counts.setdefault(name, FeatureCount()).merge(count)

    def judge(self, engaged: set[bytes]) -> FeatureVerdict:
        """Judges the counts.

        Args:
          engaged: users of the engagements.
        """
        verdict = FeatureVerdict([], [], {})
        for name, count in sorted(self.counts.items()):
            verdict.facts[name] = count.facts()
            self._judge_one(name, count, verdict)
        if self.users and engaged:
            share = len(self.users & engaged) / len(engaged)
            verdict.facts["users with a row"] = round(share, 4)
            if not share:
                verdict.errors.append(
                    f"users: none of its {len(self.users):,} users has an engagement, for example "
                    f"{_text(min(self.users))!r}; write user_id as engagements do"
                )
        return verdict

    def _judge_one(self, name: str, count: FeatureCount, verdict: FeatureVerdict) -> None:
        side, _, plain = name.partition(".")
        feature = self.features.of("items" if side == "items" else "users")[plain]
        wanted = f"a list of {feature.size} floats" if feature.size else f"a {feature.kind}"
        column = feature.column or plain
        if count.odd:
            share = count.odd / count.rows
            message = (
                f"{side}: column {column!r} is read as {wanted} (features.{name}), but "
                f"{count.odd:,} of {count.rows:,} rows ({share:.2%}) hold something else, for "
                f"example {count.example}"
            )
            if share > MAX_ODD_SHARE:
                verdict.errors.append(f"{message}; mend the column, or give another kind")
            else:
                verdict.warnings.append(f"{message}; it counts as missing there")
        elif count.rows and not count.given:
            found = f"pattern {feature.pattern!r} finds nothing in it" if feature.pattern else ""
            verdict.errors.append(
                f"{side}: column {column!r} (features.{name}) has no value in {count.rows:,} rows"
                f"{'; ' if found else ''}{found}; deliver it, or take the feature out"
            )
        own = feature.kind == "category" and not feature.hash_buckets and len(count.top)
        if own and count.given > 100 and len(count.top) > 0.9 * count.given:
            verdict.warnings.append(
                f"{side}: column {column!r} (features.{name}) has a value of its own in nearly "
                "every row, which says nothing of other rows"
            )


def _text(value: bytes | int | None) -> str:
    return value.decode("utf-8", "replace")[:80] if isinstance(value, bytes) else str(value)
