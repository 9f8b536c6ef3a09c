"""One YAML file, one typed configuration.

`load_config` reads a YAML file, follows its `extends` chain, replaces
`${VARIABLE}` by environment variables, applies `--set key=value` overrides and
validates everything before TensorFlow is imported.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from components.candidates.config import CandidatesConfig
from components.config import (
    EvaluatorConfig,
    ExamplesConfig,
    GateConfig,
    IndexConfig,
    PusherConfig,
    ServingValidatorConfig,
)
from core.config import BaseConfig, ConfigT
from core.errors import ConfigError
from core.feature_config import FeaturesConfig
from input_tables.config import DataConfig
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.config.unique_keys import load_yaml
from trainer.config import ModelConfig, RetrievalConfig, TrainerConfig, TransformConfig

#: What PyYAML raises: its own errors, and Python's for impossible dates and numbers,
#: tags on other values and nesting without end.
_YAML_FAULTS = (yaml.YAMLError, ValueError, AttributeError, TypeError, RecursionError)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class BeamConfig(BaseConfig):
    """Where Beam runs; presets are in `conf/beam`, docs/beam.md says how to choose."""

    args: tuple[str, ...] = Field(
        ("--runner=FnApiRunner", "--sdk_container_image=none"),
        description="Beam's pipeline options",
    )
    only: tuple[
        Literal["RetrievalExampleGen", "StatisticsGen", "Transform", "CandidateGen"], ...
    ] = Field((), description="components that `args` are for, the others run in process; (): all")


class RefreshConfig(BaseConfig):
    """Which published version gets a new index, and what its catalogue may lose."""

    version: int | None = Field(
        None, ge=1, description="None: the one labelled stable, else the one that is served"
    )
    max_removed_share: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="served items that may be missing from the new table; more stop the run",
    )
    max_delta_share: float = Field(
        0.2,
        gt=0.0,
        le=1.0,
        description="items of the index that `tessera refresh --delta` may add, change or withdraw",
    )


class RunConfig(BaseConfig):
    """Everything one run of the pipeline needs."""

    LATER = ("features",)

    name: str = Field(
        "tessera", pattern=r"^[a-z][a-z0-9-]{0,62}$", description="pipeline and model name"
    )
    pipeline: Literal["train", "refresh"] = Field(
        "train",
        description="train: the whole chain; refresh: a new index of the item table for the "
        "model that is served",
    )
    work_dir: str = Field("runs/default", description="artifacts, metadata, logs and reports")
    serving_dir: str = Field(
        "runs/default/serving", description="pushed bundles: <serving_dir>/<name>/<version>"
    )
    data: DataConfig = Field(description="the input tables")
    examples: ExamplesConfig = Field(
        ExamplesConfig(), description="how tables become training examples"
    )
    features: FeaturesConfig = Field(
        FeaturesConfig(), description="further columns of items and users that the model reads"
    )
    gate: GateConfig = Field(GateConfig(), description="when the data gate stops a run")
    transform: TransformConfig = Field(
        TransformConfig(), description="what the transform graph keeps of an example"
    )
    model: ModelConfig = Field(ModelConfig(), description="the retrieval model")
    trainer: TrainerConfig = Field(
        TrainerConfig(), description="optimisation, negatives and stopping"
    )
    index: IndexConfig = Field(IndexConfig(), description="the index and how good it must be")
    retrieval: RetrievalConfig = Field(
        RetrievalConfig(), description="how many items a request gets and how they are merged"
    )
    evaluator: EvaluatorConfig = Field(
        EvaluatorConfig(), description="what is measured and when a retriever is blessed"
    )
    serving: ServingValidatorConfig = Field(
        ServingValidatorConfig(), description="what a bundle must show before it is published"
    )
    pusher: PusherConfig = Field(PusherConfig(), description="publishing and retention")
    candidates: CandidatesConfig = Field(
        CandidatesConfig(), description="candidates for every user after the push"
    )
    refresh: RefreshConfig = Field(
        RefreshConfig(), description="which published version gets a new index"
    )
    beam: BeamConfig = Field(BeamConfig(), description="where Beam runs")
    kubeflow: KubeflowConfig = Field(
        KubeflowConfig(), description="the compiled pipeline and its runs"
    )
    schema_dir: str | None = Field(None, description="curated schemas; None: those of the package")

    @field_validator("examples")
    @classmethod
    def _days_need_time(cls, examples: ExamplesConfig) -> ExamplesConfig:
        if examples.split.strategy == "time" and examples.time_unit == "order":
            raise ValueError(
                "split.strategy 'time' counts days, but time_unit is 'order'; "
                "use strategy leave_last_two_out"
            )
        return examples

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        if self.model.num_interests > self.transform.history_max_items:
            raise ValueError(
                f"model.num_interests ({self.model.num_interests}) must not exceed "
                f"transform.history_max_items ({self.transform.history_max_items})"
            )
        # A refresh evaluates nothing: its metrics are those of the published version.
        evaluates = self.pipeline == "train"
        if evaluates and max(self.evaluator.ks) > self.retrieval.num_results:
            raise ValueError(
                f"evaluator.ks asks for k={max(self.evaluator.ks)} but retrieval.num_results is "
                f"{self.retrieval.num_results}"
            )
        asked = {
            "delta": self.retrieval.delta,
            "explore_share": self.retrieval.explore_share > 0,
            "neighbours": self.retrieval.neighbours != "off",
        }
        if self.index.shards > 1 and any(asked.values()):
            clash = next(name for name, given in asked.items() if given)
            raise ValueError(
                f"index.shards is {self.index.shards}, but a router cannot answer with "
                f"retrieval.{clash}: leave that out, or set index.shards to 1"
            )
        several = {name.removesuffix("[]") for name in self.features.columns() if "[" in name}
        if filtered := sorted(several & set(self.retrieval.attribute_columns())):
            raise ValueError(
                f"retrieval.filters names {filtered[0]!r}, which features reads as a list; filter "
                "by a column with single values"
            )
        return self


def model_config(config: RunConfig) -> ModelConfig:
    """Returns the model's configuration; what never makes a target feeds no interest either."""
    negative = (*config.model.negative_actions, *config.examples.negative_actions)
    return config.model.model_copy(update={"negative_actions": tuple(dict.fromkeys(negative))})


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Loads and validates one run configuration.

    Args:
      path: YAML file; `extends: other.yaml` or a list of files (relative to it) is merged
        below it, the later ones of a list over the earlier ones.
      overrides: `key.path=value` texts; values are parsed as YAML.

    Raises:
      ConfigError: file missing, not YAML, unknown key, wrong value, variable not set.
    """
    return validate_tree(RunConfig, load_tree(path, overrides), path)


def load_tree(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Loads a YAML file with what it extends, variables replaced; validates nothing.

    Args:
      path: YAML file; `extends: other.yaml` or a list of files (relative to it) is merged
        below it, the later ones of a list over the earlier ones.
      overrides: `key.path=value` texts; values are parsed as YAML.

    Raises:
      ConfigError: file missing, not YAML, variable not set.
    """
    tree = _load_tree(Path(path), seen=())
    for text in overrides:
        _apply_override(tree, text)
    return tree


def validate_tree(kind: type[ConfigT], tree: Mapping[str, Any], where: str | Path) -> ConfigT:
    """Returns the typed configuration that a tree of values holds.

    Args:
      kind: the type of the configuration.
      tree: keys and values as YAML gives them.
      where: names the tree in errors.

    Raises:
      ConfigError: unknown key, key missing, wrong value.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, where, kind)) from error


def _load_tree(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    try:
        resolved = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{str(path)!r}: cannot be read: {error}") from error
    if resolved in seen:
        chain = " -> ".join(str(p) for p in (*seen, resolved))
        raise ConfigError(f"{path}: `extends` goes in a circle: {chain}")
    try:
        tree = load_yaml(_substitute(path.read_text(encoding="utf-8"), path))
    except FileNotFoundError:
        raise ConfigError(f"configuration file not found: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except _YAML_FAULTS as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: expected `key: value` pairs at the top, got {type(tree).__name__}"
        )
    parents = tree.pop("extends", None)
    if not isinstance(parents, list):
        parents = [] if parents is None else [parents]
    below: dict[str, Any] = {}
    for parent in parents:
        below = merge_trees(below, _load_tree(path.parent / str(parent), (*seen, resolved)))
    return merge_trees(below, tree)


def _substitute(text: str, path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = os.environ.get(name, default)
        if found is None:
            raise ConfigError(
                f"{path}: environment variable {name} is not set; "
                f"set it or write ${{{name}:-default}}"
            )
        return found

    return _VARIABLE.sub(value, text)


def merge_trees(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `base` with the values of `top` in their places; only mappings are merged."""
    merged = dict(base)
    for key, value in top.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge_trees(merged[key], value)
        else:
            merged[key] = value
    return merged


def _apply_override(tree: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {text!r}: expected key.path=value, for example trainer.epochs=3")
    node = tree
    *parents, last = key.strip().split(".")
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {text!r}: {parent!r} holds a value, not further keys")
        node = child
    try:
        node[last] = load_yaml(value)
    except _YAML_FAULTS as error:
        raise ConfigError(f"--set {text!r}: the value is not valid YAML: {error}") from error


def _explain(error: ValidationError, path: str | Path, kind: type[BaseModel]) -> str:
    lines = [f"{path}: {error.error_count()} problem(s) in the configuration:"]
    for problem in error.errors():
        location = [str(part) for part in problem["loc"]]
        key = ".".join(location) or "(top level)"
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(
                location[-1], _known_keys(kind, location[:-1]), n=1, cutoff=0.5
            )
            hint = f"; did you mean {'.'.join([*location[:-1], near[0]])!r}?" if near else ""
            lines.append(f"  {key}: unknown key{hint}")
        elif problem["type"] == "missing":
            lines.append(f"  {key}: required, but not given")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            shown = problem.get("input")
            seen = "" if isinstance(shown, (dict, BaseModel)) else f" (got {shown!r})"
            lines.append(f"  {key}: {message}{seen}")
    return "\n".join(lines)


def _known_keys(kind: type[BaseModel], location: list[str]) -> list[str]:
    model: Any = kind
    parts = iter(location)
    for part in parts:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return []
        candidates = (field.annotation, *get_args(field.annotation))
        models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not models:
            return []
        model = models[0]
        if get_origin(field.annotation) is dict:  # the next part is one of its keys
            next(parts, None)
    return list(model.model_fields)
