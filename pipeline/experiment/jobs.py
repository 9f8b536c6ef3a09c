"""The trainings of an experiment and what is known of them before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items
from pipeline.config import RunConfig
from pipeline.experiment.config import DatasetConfig

#: Files of a finished run.
RUN_FILE = "run.json"
SLOTS_FILE = "slots.npz"
ITEMS_FILE = "items.npz"
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
