"""The laws of a plan: a figure of a step is a sum of terms of the size, each with a constant.

The constants are measured (`make bench-scale` fits them); which terms a figure has is said here,
from what the step does. Nothing is below its fixed part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config import RunConfig

#: Step that is no component: the process that answers requests.
SERVING = "serving"


@dataclass(frozen=True)
class Size:
    """What decides the cost of a run.

    Attributes:
      rows: engagements in the window.
      items: catalogue size.
      users: users with engagements in the window.
      history: history items kept, at most.
      interests: K, implicit slots.
      explicit: explicit slots.
      results: N, items of an answer.
      dim: width of the embeddings.
      epochs: passes of a training, at most.
      trainings: two where a model is refitted, else one.
      batch: examples per step.
      validated: validation examples ranked after each epoch, at most.
      evaluated: eval examples ranked, at most.
    """

    rows: int
    items: int
    users: int
    history: int = 50
    interests: int = 4
    explicit: int = 5
    results: int = 100
    dim: int = 64
    epochs: int = 12
    trainings: int = 1
    batch: int = 256
    validated: int = 5000
    evaluated: int = 20000

    @property
    def mean_history(self) -> float:
        """Mean history of an example: users have equally many rows, `history` are kept."""
        rows = self.rows / max(1, self.users)
        if rows <= self.history:
            return max(0.0, rows - 1) / 2
        return self.history * (1 - (self.history + 1) / (2 * rows))


def size_of(config: RunConfig, rows: int, items: int, users: int) -> Size:
    """Returns the size of a run of a configuration on tables of so many rows, items and users."""
    return Size(
        rows=rows,
        items=items,
        users=users,
        history=config.transform.history_max_items,
        interests=config.model.num_interests,
        explicit=config.model.explicit_slots,
        results=config.retrieval.num_results,
        dim=config.model.embedding_dim,
        epochs=config.trainer.epochs,
        trainings=2 if config.trainer.refit else 1,
        batch=config.trainer.batch_size,
        validated=config.trainer.validation_max_examples,
        evaluated=config.evaluator.max_examples,
    )


def terms(size: Size) -> dict[str, float]:
    """Returns the value of each term, in millions but for `fixed` and those with a slot."""
    million = 1e6
    values = size.items * size.dim
    trained = size.trainings * size.epochs * size.rows
    slots = size.interests + size.explicit
    return {
        "fixed": 1.0,
        "rows": size.rows / million,
        "users": size.users / million,
        "history": size.rows * size.mean_history / million,
        "padded history": size.rows * size.history / million,
        "items": size.items / million,
        "item values": values / million,
        "items^0.5": (size.items / million) ** 0.5,
        "items^1.5": (size.items / million) ** 1.5,
        "trained rows": trained / million,
        "trained steps": trained / size.batch / million,
        "trained history": trained * size.mean_history / million,
        "trained slots": trained * slots / million,
        "validated scores": size.epochs * size.validated * slots * values / million**2,
        "ranked items": size.evaluated * size.items / million**2,
        "slots": float(slots),
        "slot results": slots * size.results / 1000.0,
    }


#: step -> figure -> its terms. CPU seconds leave out the imports, which every pod pays alike.
LAWS: dict[str, dict[str, tuple[str, ...]]] = {
    "RetrievalExampleGen": {
        "cpu_s": ("fixed", "rows", "history", "items"),
        "memory_gb": ("fixed", "rows", "history", "items"),
        "disk_gb": ("fixed", "rows", "history", "items"),
    },
    "StatisticsGen": {
        "cpu_s": ("fixed", "rows", "history", "items"),
        "memory_gb": ("fixed", "rows", "history", "items"),
        "disk_gb": ("fixed", "items"),
    },
    "Transform": {
        "cpu_s": ("fixed", "rows", "history", "items"),
        "memory_gb": ("fixed", "rows", "padded history", "items"),
        "disk_gb": ("fixed", "rows", "history", "items"),
    },
    "Trainer": {
        "cpu_s": (
            "fixed", "trained rows", "trained steps", "trained history", "trained slots", "items",
            "validated scores",
        ),
        "memory_gb": ("fixed", "rows", "item values", "items"),
        "disk_gb": ("fixed", "item values"),
    },
    "IndexBuilder": {
        "cpu_s": ("fixed", "items", "items^1.5"),
        "memory_gb": ("fixed", "item values", "items"),
        "disk_gb": ("fixed", "item values", "items"),
    },
    "RetrievalEvaluator": {
        "cpu_s": ("fixed", "rows", "items", "ranked items"),
        "memory_gb": ("fixed", "rows", "items"),
        "disk_gb": ("fixed",),
    },
    "ServingValidator": {
        "cpu_s": ("fixed", "items"),
        "memory_gb": ("fixed", "item values", "items"),
        "disk_gb": ("fixed",),
    },
    "Pusher": {
        "cpu_s": ("fixed", "item values"),
        "memory_gb": ("fixed",),
        "disk_gb": ("fixed", "item values", "items"),
    },
    SERVING: {
        "request_cpu_s": ("fixed", "slots", "items^0.5"),
        "memory_gb": ("fixed", "item values", "items"),
    },
}  # fmt: skip
#: Steps that do little beside their imports, whatever the size.
for _step in ("ExampleValidator", "CuratedSchema", "DataGate", "BaselineResolver"):
    LAWS[_step] = dict.fromkeys(("cpu_s", "memory_gb", "disk_gb"), ("fixed",))

#: figure -> constant of each of its terms, by step.
Constants = Mapping[str, Mapping[str, Mapping[str, float]]]


def forecast(constants: Constants, step: str, figure: str, size: Size) -> float:
    """Returns one figure of one step: CPU seconds, or gigabytes."""
    values = terms(size)
    return sum(constant * values[term] for term, constant in constants[step][figure].items())
