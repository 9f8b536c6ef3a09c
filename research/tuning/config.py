"""What a search varies and how it samples, typed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from core.config import BaseConfig
from core.errors import ConfigError
from pipeline.config import RunConfig, load_tree, merge_trees, validate_tree

#: What decides how long a training is or how it is measured is the same for every trial.
_FIXED = {
    "model.name",
    "trainer.batch_size",
    "trainer.early_stopping_metric_k",
    "trainer.early_stopping_patience",
    "trainer.epochs",
    "trainer.refit",
    "trainer.seed",
    "trainer.steps_per_epoch",
    "trainer.validation_max_examples",
    "trainer.warm_start",
}


class Parameter(BaseConfig):
    """One key of the run configuration: some values, or a range of numbers."""

    values: tuple[Any, ...] = Field((), description="choices; empty: a range")
    low: float | None = Field(None, description="of a range")
    high: float | None = Field(None, description="of a range, included")
    log: bool = Field(False, description="draw the range on a logarithmic scale")

    @model_validator(mode="after")
    def _values_or_range(self) -> Parameter:
        if self.values:
            if (self.low, self.high, self.log) != (None, None, False):
                raise ValueError("give either values, or low and high, not both")
        elif self.low is None or self.high is None:
            raise ValueError("give values, or low and high")
        elif self.low > self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"low ({self.low:g}) must not exceed high ({self.high:g}), and be above 0 with log"
            )
        return self

    @property
    def examples(self) -> tuple[Any, ...]:
        """All choices, or the ends of the range."""
        return self.values or (self.low, self.high)

    def including(self, value: Any) -> Parameter:
        """Returns the parameter widened by a value, so that it can be drawn."""
        if self.values:
            if value in self.values:
                return self
            return self.model_copy(update={"values": (*self.values, value)})
        low, high = min(self.low or 0.0, value), max(self.high or 0.0, value)
        return self.model_copy(update={"low": low, "high": high})


def _default_space() -> dict[str, Parameter]:
    return {
        "trainer.learning_rate": Parameter(low=1e-3, high=1e-2, log=True),
        "trainer.temperature": Parameter(values=(0.05, 0.07, 0.1, 0.15)),
        "model.history_dropout": Parameter(values=(0.1, 0.3, 0.5)),
        "model.input_dropout": Parameter(values=(0.0, 0.15, 0.3)),
        "model.hidden_units": Parameter(values=([128], [256])),
    }


class TuningConfig(BaseConfig):
    """The space of a search and its sampler."""

    space: dict[str, Parameter] = Field(
        default_factory=_default_space, min_length=1, description="run configuration key -> values"
    )
    random_trials: int = Field(
        4,
        ge=1,
        description="trials before the sampler learns from earlier ones, the first included",
    )
    pruning: bool = Field(
        True, description="end a trial whose best epoch is below the median of the finished ones"
    )
    pruning_after_trials: int = Field(4, ge=1, description="finished trials before any is pruned")
    pruning_after_epochs: int = Field(3, ge=0, description="epochs that every trial gets")

    @model_validator(mode="after")
    def _keys_may_vary(self) -> TuningConfig:
        for key in self.space:
            if key.split(".")[0] not in ("model", "trainer") or key.count(".") != 1:
                raise ValueError(f"space: {key!r} is not a key of model or trainer")
            if key in _FIXED:
                raise ValueError(f"space: {key!r} must be the same for every model and trial")
        return self


def load_tuning(path: Path | None) -> TuningConfig:
    """Loads a search's configuration; None for the defaults.

    Raises:
      ConfigError: file missing, not YAML, unknown key, wrong value.
    """
    return TuningConfig() if path is None else validate_tree(TuningConfig, load_tree(path), path)


def settings_tree(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `{"trainer.temperature": 0.1}` as `{"trainer": {"temperature": 0.1}}`."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        part, name = key.split(".")
        tree.setdefault(part, {})[name] = value
    return tree


def with_settings(config: RunConfig, settings: Mapping[str, Any], where: str) -> RunConfig:
    """Returns a run configuration with some keys set.

    Raises:
      ConfigError: a key is unknown or its value is wrong.
    """
    tree = merge_trees(config.model_dump(mode="json"), settings_tree(settings))
    return validate_tree(RunConfig, tree, where)


def current_settings(config: RunConfig, tuning: TuningConfig) -> dict[str, Any]:
    """Returns what a run configuration says for the keys of the space.

    Raises:
      ConfigError: a key is unknown.
    """
    tree = config.model_dump(mode="json")
    found = {}
    for key in tuning.space:
        part, name = key.split(".")
        if name not in tree[part]:
            known = ", ".join(sorted(tree[part]))
            raise ConfigError(f"space: {key}: unknown key; {part} has {known}")
        found[key] = tree[part][name]
    return found


def checked_space(config: RunConfig, tuning: TuningConfig) -> dict[str, Parameter]:
    """Returns the space, widened by the current settings, after trying every value.

    Raises:
      ConfigError: a key is unknown, or a value is refused by the run configuration.
    """
    space = {}
    for key, value in current_settings(config, tuning).items():
        parameter = tuning.space[key]
        if not parameter.values and not isinstance(value, float):
            raise ConfigError(f"space: {key}: is {value!r}, so give values instead of a range")
        read = [_read(config, key, example) for example in parameter.examples]
        if parameter.values:
            parameter = parameter.model_copy(update={"values": tuple(read)})
        space[key] = parameter.including(value)
    return space


def _read(config: RunConfig, key: str, value: Any) -> Any:
    """Returns a value as the run configuration reads it: 0 of a number becomes 0.0."""
    part, name = key.split(".")
    changed = with_settings(config, {key: value}, f"space: {key}")
    return changed.model_dump(mode="json")[part][name]
