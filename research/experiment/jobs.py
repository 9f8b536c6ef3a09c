"""The trainings of an experiment and what is known of them before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items
from core.config import BaseConfig
from core.digest import json_digest
from core.feature_config import FeaturesConfig
from pipeline.config import RunConfig, model_config
from research.experiment.config import DatasetConfig, ExperimentConfig
from research.experiment.digests import asking_code, training_code
from research.experiment.prepare import Prepared
from trainer.config import ModelConfig, RetrievalConfig, TrainerConfig, TransformConfig

#: Files of a finished run.
RUN_FILE = "run.json"
SLOTS_FILE = "slots.npz"
ITEMS_FILE = "items.npz"
JOB_FILE = "job.json"
LOG_FILE = "worker.log"
#: Examples whose embeddings are kept in `slots.npz`.
SLOT_EXAMPLES = 2_000


@dataclass(frozen=True)
class DatasetRuns:
    """The finished runs of one data set and what they were asked.

    Attributes:
      name: of the data set.
      dataset: its entry in the experiment.
      run: its run configuration, without the models' settings.
      examples_uri: raw examples.
      items: the catalogue, in the order of every run's result rows.
      examples: the eval examples; the table also holds `user_id`, `source_topic` and
        `source_topic_derived`.
      runs: (model, seed) -> folder of the run.
    """

    name: str
    dataset: DatasetConfig
    run: RunConfig
    examples_uri: str
    items: Items
    examples: EvalExamples
    runs: Mapping[tuple[str, int], Path]


class VariantJob(BaseConfig):
    """One way to ask a trained model.

    Attributes:
      retrieval: shares, budgets and merge rule.
      ask: which examples are asked and with which followed topics.
      items_from: folder of the run whose item embeddings are searched, None for its own.
    """

    retrieval: RetrievalConfig
    ask: Literal["followed", "source_topic"] = "followed"
    items_from: str | None = None


class Job(BaseConfig):
    """One training with all that it is asked; what a worker process reads.

    Attributes:
      dataset: name of the data set.
      model: name of the model in the experiment.
      seed: of the training.
      run_dir: folder of the results.
      training_dir: folder of the checkpoints, shared by all runs of the same training.
      examples: URI of the raw examples.
      transformed: URI of the transformed examples.
      transform_graph: URI of the transform graph.
      settings: of model, training and features.
      variants: ways to ask it, `default` first.
      max_examples: eval examples at most.
      sample_seed: of the sample of eval examples.
      code: digest of the training's code.
    """

    class Settings(BaseConfig):
        """What decides a training beside its data."""

        LATER = ("features",)

        model: ModelConfig
        trainer: TrainerConfig
        transform: TransformConfig
        features: FeaturesConfig = FeaturesConfig()

    dataset: str
    model: str
    seed: int
    run_dir: str
    training_dir: str
    examples: str
    transformed: str
    transform_graph: str
    settings: Settings
    variants: dict[str, VariantJob]
    max_examples: int
    sample_seed: int
    code: str

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return Path(self.run_dir)

    @property
    def finished(self) -> bool:
        """True once the run's figures are written, which happens last."""
        return (self.folder / RUN_FILE).is_file()

    @property
    def words(self) -> str:
        """The job in words, for people."""
        return f"{self.dataset} {self.model} seed {self.seed}"


def plan(config: ExperimentConfig, dataset: str, prepared: Prepared) -> Iterator[Job]:
    """Lays out the jobs of one data set, in the order in which they must run.

    Args:
      config: the experiment.
      dataset: one of its data sets.
      prepared: its data.

    Yields:
      One job per seed and model, seeds outermost: a table of all models is there early.
    """
    before: dict[str, str] = {}
    for seed in config.seeds_of(dataset):
        for model in config.models_of(dataset):
            job = _job(config, dataset, model, seed, prepared, before.get(model))
            before[model] = job.run_dir
            yield job


def _job(
    config: ExperimentConfig,
    dataset: str,
    model: str,
    seed: int,
    prepared: Prepared,
    before: str | None,
) -> Job:
    run = config.run_config(dataset, model, seed)
    settings = Job.Settings(
        model=model_config(run),
        trainer=run.trainer,
        transform=run.transform,
        features=run.features,
    )
    training = json_digest(
        {
            "data": prepared.fingerprint,
            "settings": settings.model_dump(mode="json"),
            "code": training_code(),
        }
    )
    variants = {}
    for name in config.variants_of(model):
        variant = config.variant(name)
        other = variant.items_of_seed == "other"
        if other and before is None:  # nothing is trained with another seed yet
            continue
        variants[name] = VariantJob(
            retrieval=config.retrieval(run, name),
            ask=variant.ask,
            items_from=before if other else None,
        )
    asked = {
        "training": training,
        "variants": {name: variant.model_dump(mode="json") for name, variant in variants.items()},
        "examples": [config.max_examples(dataset), run.evaluator.seed, SLOT_EXAMPLES],
        "code": asking_code(),
    }
    work_dir = Path(config.work_dir).resolve()
    return Job(
        dataset=dataset,
        model=model,
        seed=seed,
        run_dir=str(work_dir / "runs" / json_digest(asked)),
        training_dir=str(work_dir / "trainings" / training),
        examples=prepared.examples,
        transformed=prepared.transformed,
        transform_graph=prepared.transform_graph,
        settings=settings,
        variants=variants,
        max_examples=config.max_examples(dataset),
        sample_seed=run.evaluator.seed,
        code=training_code(),
    )
