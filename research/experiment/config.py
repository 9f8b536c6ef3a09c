"""The typed configuration of one experiment: data sets, models, seeds, variants, unions.

Everything that can be refused from the YAML files alone is refused here, before
TensorFlow is imported or a minute of training is spent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from core.config import BaseConfig
from core.errors import ConfigError
from input_tables.generate.config import GeneratorConfig
from pipeline.config import RunConfig, load_tree, merge_trees, validate_tree
from research.experiment import names
from trainer.config import RetrievalConfig

#: The variant that every model has: its own retrieval settings.
DEFAULT = "default"
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.+-]*$")]


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{list(seeds)} has a seed twice; one training counts once")
    return seeds


Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_distinct)]


class DatasetConfig(BaseConfig):
    """One data set of an experiment."""

    conf: str = Field(description="run configuration, relative to the experiment's file")
    set: dict[str, Any] = Field({}, description="values merged into the run configuration")
    generate: GeneratorConfig | None = Field(
        None, description="make the tables in data.root when absent or made with other settings"
    )
    max_examples: int | None = Field(
        None, ge=1, description="eval examples asked; None: evaluator.max_examples"
    )
    seeds: Seeds | None = Field(None, description="None: those of the experiment")
    models: tuple[str, ...] | None = Field(None, description="None: all")
    baseline: str | None = Field(None, description="None: that of the experiment")


class ModelEntry(BaseConfig):
    """One model: what it sets in the run configuration."""

    set: dict[str, Any] = Field({}, description="values below model, trainer and retrieval")
    variants: tuple[str, ...] = Field((), description="asked beside `default`, without training")
    datasets: tuple[str, ...] | None = Field(None, description="None: all")
    note: str = ""


class VariantConfig(BaseConfig):
    """Another way to ask a trained model."""

    retrieval: dict[str, Any] = Field({}, description="keys of `retrieval` to override")
    ask: Literal["followed", "source_topic"] = Field(
        "followed",
        description="source_topic: examples with a logged source topic, which is what is followed",
    )
    items_of_seed: Literal["own", "other"] = Field(
        "own", description="other: item embeddings of the same model trained with another seed"
    )
    note: str = ""


class UnionConfig(BaseConfig):
    """Result lists of several rows merged at the same total number of results."""

    parts: tuple[str, ...] = Field(min_length=2, description="rows")
    shares: tuple[float, ...] | None = Field(None, description="of the results; None: equal")
    seed_offsets: tuple[int, ...] | None = Field(
        None, description="which seed of each part, counted from the row's own; None: zeros"
    )
    datasets: tuple[str, ...] | None = Field(None, description="None: those with all parts")
    note: str = ""

    @property
    def part_shares(self) -> tuple[float, ...]:
        """Share of the results of each part."""
        return self.shares or tuple(1.0 / len(self.parts) for _ in self.parts)

    @property
    def part_offsets(self) -> tuple[int, ...]:
        """Seed offset of each part."""
        return self.seed_offsets or tuple(0 for _ in self.parts)

    @model_validator(mode="after")
    def _one_value_per_part(self) -> UnionConfig:
        for key, values in (("shares", self.part_shares), ("seed_offsets", self.part_offsets)):
            if len(values) != len(self.parts):
                raise ValueError(f"{len(self.parts)} parts but {len(values)} {key}")
        if min(self.part_shares) < 0 or not math.isclose(sum(self.part_shares), 1.0, abs_tol=1e-6):
            raise ValueError(f"shares must be 0 or more and sum to 1, not {sum(self.part_shares)}")
        return self


class ExperimentConfig(BaseConfig):
    """One experiment."""

    name: Name
    title: str = ""
    claims: tuple[str, ...] = Field((), description="hypotheses that it decides, H1 ...")
    minutes: float = Field(0.0, ge=0.0, description="stated time on two cores")
    search_budget: str = Field("", description="what was tuned for each model, in words")
    kind: Literal["models", "cost"] = "models"
    seeds: Seeds = (1, 2, 3)
    baseline: str = Field("", description="row that the others are compared with")
    work_dir: str = "runs/experiments"
    num_results: int = Field(100, ge=1, description="N of every row, unions included")
    datasets: dict[Name, DatasetConfig] = {}
    models: dict[Name, ModelEntry] = {}
    variants: dict[Name, VariantConfig] = {}
    unions: dict[Name, UnionConfig] = {}
    compare: dict[str, str] = Field(
        {}, description="row -> another row that it is compared with, beside the baseline"
    )
    cost: Any = None

    # -- what belongs to a data set -------------------------------------------------------

    def models_of(self, dataset: str) -> tuple[str, ...]:
        """Returns the models that are trained on a data set, in the order of the file."""
        wanted = self.datasets[dataset].models
        return tuple(
            name
            for name, entry in self.models.items()
            if (wanted is None or name in wanted)
            and (entry.datasets is None or dataset in entry.datasets)
        )

    def variants_of(self, model: str) -> tuple[str, ...]:
        """Returns the variants of a model, `default` first."""
        return (DEFAULT, *(v for v in self.models[model].variants if v != DEFAULT))

    def variant(self, name: str) -> VariantConfig:
        """Returns a variant by name."""
        return self.variants.get(name, VariantConfig())

    def model_rows(self, dataset: str) -> tuple[str, ...]:
        """Returns the rows of models and their variants of a data set."""
        return tuple(
            row_name(model, variant)
            for model in self.models_of(dataset)
            for variant in self.variants_of(model)
        )

    def unions_of(self, dataset: str) -> tuple[str, ...]:
        """Returns the unions of a data set: those whose parts are all there."""
        rows = self.model_rows(dataset)
        return tuple(
            name
            for name, union in self.unions.items()
            if (union.datasets is None or dataset in union.datasets)
            and all(part in rows for part in union.parts)
        )

    def seeds_of(self, dataset: str) -> tuple[int, ...]:
        """Returns the seeds of a data set."""
        return self.datasets[dataset].seeds or self.seeds

    def baseline_of(self, dataset: str) -> str:
        """Returns the row that the others of a data set are compared with."""
        return self.datasets[dataset].baseline or self.baseline

    # -- run configurations ---------------------------------------------------------------

    def data_config(self, dataset: str) -> RunConfig:
        """Returns the run configuration of a data set alone.

        Raises:
          ConfigError: it is not valid.
        """
        return validate_tree(RunConfig, self._data_tree(dataset), f"datasets.{dataset}")

    def run_config(self, dataset: str, model: str, seed: int) -> RunConfig:
        """Returns the run configuration of one training.

        All models train for the same number of epochs: nothing stops early unless the
        experiment itself sets a patience.

        Raises:
          ConfigError: it is not valid.
        """
        entry = self.models[model]
        tree = merge_trees(self._data_tree(dataset), entry.set)
        where = f"models.{model} on {dataset}"
        config = validate_tree(RunConfig, tree, where)
        trainer: dict[str, Any] = {"seed": seed, "warm_start": False}
        patience = "early_stopping_patience"
        given = [part.get("trainer", {}) for part in (self.datasets[dataset].set, entry.set)]
        if not any(patience in values for values in given):
            trainer[patience] = config.trainer.epochs
        tree = merge_trees(tree, {"trainer": trainer})
        return validate_tree(RunConfig, tree, where)

    def retrieval(self, run: RunConfig, variant: str) -> RetrievalConfig:
        """Returns how a variant asks a model.

        Raises:
          ConfigError: the variant's keys are not valid.
        """
        tree = run.retrieval.model_dump() | self.variant(variant).retrieval
        return validate_tree(RetrievalConfig, tree, f"variants.{variant}.retrieval")

    def max_examples(self, dataset: str) -> int:
        """Returns how many eval examples are asked at most."""
        given = self.datasets[dataset].max_examples
        return given or self.data_config(dataset).evaluator.max_examples

    def _data_tree(self, dataset: str) -> dict[str, Any]:
        entry = self.datasets[dataset]
        # Models are compared, so the table that IndexBuilder puts beside a model stays out.
        tree = merge_trees(load_tree(entry.conf), {"retrieval": {"neighbours": "off"}})
        tree = merge_trees(tree, entry.set)
        return merge_trees(tree, {"retrieval": {"num_results": self.num_results}})


def row_name(model: str, variant: str = DEFAULT) -> str:
    """Returns the name of a row: `model`, or `model/variant`."""
    return model if variant == DEFAULT else f"{model}/{variant}"


def row_parts(row: str) -> tuple[str, str]:
    """Returns model and variant of a row of a model."""
    model, _, variant = row.partition("/")
    return model, variant or DEFAULT


def load_experiment(path: str | Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Loads and checks one experiment.

    Args:
      path: YAML file; `extends` and `${VARIABLE:-default}` work as in run configurations.
      overrides: `key.path=value` texts.

    Raises:
      ConfigError: anything that can be found wrong without reading tables.
    """
    tree = load_tree(path, overrides)
    for entry in _mappings(tree.get("datasets")):
        if isinstance(entry.get("conf"), str):
            entry["conf"] = str(Path(path).parent / entry["conf"])
    config = validate_tree(ExperimentConfig, tree, path)
    if config.kind == "models":
        check_experiment(config, path)
    return config


def select(
    config: ExperimentConfig,
    *,
    seeds: tuple[int, ...] = (),
    datasets: tuple[str, ...] = (),
    models: tuple[str, ...] = (),
) -> ExperimentConfig:
    """Returns a part of an experiment; models of the baselines always stay.

    Args:
      config: the whole experiment.
      seeds: the seeds to train; () for all.
      datasets: the data sets to use; () for all.
      models: the models to train; () for all.

    Raises:
      ConfigError: a name is unknown, or nothing is left.
    """
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds: {', '.join(map(str, seeds))} has a seed twice")
    names.require(datasets, config.datasets, "--datasets")
    names.require(models, config.models, "--models")
    kept = {n: d for n, d in config.datasets.items() if not datasets or n in datasets}
    if seeds:
        kept = {n: d.model_copy(update={"seeds": seeds}) for n, d in kept.items()}
    update: dict[str, Any] = {"datasets": kept, "seeds": seeds or config.seeds}
    if models:
        baselines = {row_parts(config.baseline_of(n))[0] for n in kept}
        for row in list(baselines):
            if row in config.unions:
                baselines |= {row_parts(part)[0] for part in config.unions[row].parts}
        chosen = baselines | {*models}
        update["models"] = {n: m for n, m in config.models.items() if n in chosen}
    return config.model_copy(update=update)


def check_experiment(config: ExperimentConfig, path: str | Path) -> None:
    """Checks names against each other and every merged run configuration.

    Raises:
      ConfigError: names the key, the value and what is known.
    """
    if not config.datasets or not config.models:
        raise ConfigError(f"{path}: an experiment needs `datasets` and `models`")
    _check_names(config, path)
    for dataset in config.datasets:
        config.data_config(dataset)
        for model in config.models_of(dataset):
            run = config.run_config(dataset, model, config.seeds_of(dataset)[0])
            for variant in config.variants_of(model):
                retrieval = config.retrieval(run, variant)
                results = retrieval.num_results
                if retrieval.neighbours != "off":
                    raise ConfigError(
                        f"{path}: {row_name(model, variant)}: retrieval.neighbours is "
                        f"{retrieval.neighbours!r}, but an experiment builds no index that has "
                        "them: leave the key out; `tessera run` measures them"
                    )
                if results != config.num_results:
                    raise ConfigError(
                        f"{path}: {row_name(model, variant)}: retrieval.num_results is {results}, "
                        "but every row gets the same budget: set num_results of the experiment "
                        f"({config.num_results})"
                    )


def _check_names(config: ExperimentConfig, path: str | Path) -> None:
    """Checks every reference of an experiment.

    Raises:
      ConfigError: a name is unknown or used twice.
    """
    for dataset, data in config.datasets.items():
        names.require(data.models or (), config.models, f"{path}: datasets.{dataset}.models")
    for model, entry in config.models.items():
        where = f"{path}: models.{model}"
        names.require(entry.datasets or (), config.datasets, f"{where}.datasets")
        names.require(entry.variants, ("default", *config.variants), f"{where}.variants")
        names.require(entry.set, names.MODEL_SECTIONS, f"{where}.set")
    _check_unions(config, path)
    known = {
        row: None
        for dataset in config.datasets
        for row in (*config.model_rows(dataset), *config.unions_of(dataset))
    }
    names.require((*config.compare, *config.compare.values()), known, f"{path}: compare")
    for dataset in config.datasets:
        rows = (*config.model_rows(dataset), *config.unions_of(dataset))
        if not rows:
            raise ConfigError(f"{path}: datasets.{dataset}: no model is trained on it")
        where = f"{path}: baseline of {dataset}"
        if not config.baseline_of(dataset):
            raise ConfigError(f"{where}: not given; name one of its rows: {', '.join(rows)}")
        names.require((config.baseline_of(dataset),), rows, where)


def _check_unions(config: ExperimentConfig, path: str | Path) -> None:
    everywhere = {row: None for name in config.datasets for row in config.model_rows(name)}
    for name, union in config.unions.items():
        where = f"{path}: unions.{name}"
        if name in config.models:
            raise ConfigError(f"{where}: a model has this name; rows need names of their own")
        names.require(union.datasets or (), config.datasets, f"{where}.datasets")
        names.require(union.parts, everywhere, f"{where}.parts")
        for dataset in union.datasets or ():
            names.require(union.parts, config.model_rows(dataset), f"{where}.parts on {dataset}")
        if not any(name in config.unions_of(dataset) for dataset in config.datasets):
            raise ConfigError(f"{where}: no data set has all its parts {', '.join(union.parts)}")


def _mappings(tree: Any) -> list[dict[str, Any]]:
    if not isinstance(tree, Mapping):
        return []
    return [value for value in tree.values() if isinstance(value, dict)]
