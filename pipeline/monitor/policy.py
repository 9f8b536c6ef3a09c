"""Bounds of the monitor's figures: when to warn, when to fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from pydantic import Field, ValidationError

from core.config import BaseConfig
from core.errors import ConfigError

Verdict = Literal["ok", "warn", "fail"]
#: From good to bad.
VERDICTS: tuple[Verdict, ...] = ("ok", "warn", "fail")


class Bounds(BaseConfig):
    """When a figure is out of bounds; a bound itself is still inside."""

    warn_above: float | None = Field(None, description="a larger figure warns")
    fail_above: float | None = Field(None, description="a larger figure fails")
    warn_below: float | None = Field(None, description="a smaller figure warns")
    fail_below: float | None = Field(None, description="a smaller figure fails")

    def verdict(self, value: float) -> Verdict:
        """Returns what a figure is worth."""
        for verdict in ("fail", "warn"):
            above: float | None = getattr(self, f"{verdict}_above")
            below: float | None = getattr(self, f"{verdict}_below")
            if (above is not None and value > above) or (below is not None and value < below):
                return "fail" if verdict == "fail" else "warn"
        return "ok"

    def text(self) -> str:
        """Returns the bounds in words."""
        given = self.model_dump(exclude_none=True)
        return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in given.items())


class PolicyCheck(NamedTuple):
    """One figure that has bounds.

    Attributes:
      value: None where it could not be measured, which passes.
    """

    figure: str
    value: float | None
    verdict: Verdict
    bounds: str


Policy = Mapping[str, Bounds]
_DRIFT = Bounds(warn_above=0.1, fail_above=0.25)
_RISE = Bounds(warn_above=0.05, fail_above=0.2)
DEFAULTS: Policy = {
    "requests": Bounds(warn_below=100, fail_below=1),
    "answers.empty": Bounds(warn_above=0.01, fail_above=0.1),
    "drift.history_item_id": _DRIFT,
    "drift.history_action": _DRIFT,
    "drift.followed_topic": _DRIFT,
    "drift.history_length": _DRIFT,
    "drift.follows_length": _DRIFT,
    "drift.newest_age": _DRIFT,
    "unknown.items_rise": _RISE,
    "unknown.topics_rise": _RISE,
    "shown.unknown": Bounds(fail_above=0.0),
}


def load_policy(path: Path | None, figures: tuple[str, ...]) -> Policy:
    """Returns the default bounds, replaced figure by figure by those of a YAML file.

    Args:
      path: maps names of figures to bounds; `{}` takes the bounds of a figure away.
      figures: all there are.

    Raises:
      ConfigError: it cannot be read, names something that is no figure, or is no policy.
    """
    if path is None:
        return DEFAULTS
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as a policy: {error}") from error
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: a policy maps figures to bounds")
    strange = sorted(str(name) for name in given.keys() - set(figures))
    if strange:
        raise ConfigError(
            f"{path}: no figure {', '.join(strange)}; there are: {', '.join(figures)}"
        )
    try:
        bounds = {name: Bounds.model_validate(value or {}) for name, value in given.items()}
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {where}: {first['msg']}") from error
    return {**DEFAULTS, **bounds}


def judge(figures: Mapping[str, float | None], policy: Policy) -> list[PolicyCheck]:
    """Returns a check for every figure with bounds, in the order of the figures."""
    checks = []
    for name, value in figures.items():
        text = policy[name].text() if name in policy else ""
        if text:
            verdict = "ok" if value is None else policy[name].verdict(value)
            checks.append(PolicyCheck(name, value, verdict, text))
    return checks


def worst(checks: list[PolicyCheck]) -> Verdict:
    """Returns the worst verdict."""
    return max((check.verdict for check in checks), key=VERDICTS.index, default="ok")
