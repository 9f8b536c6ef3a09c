"""Searches settings for several models, all with the same budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.tuning.study import ModelStudy, TrainTrial, TrialOutcome


@dataclass(frozen=True)
class ModelResult:
    """What the search found for one model.

    Attributes:
      model: its name.
      outcomes: of all its trials; the first one has the current settings.
    """

    model: str
    outcomes: tuple[TrialOutcome, ...]

    @property
    def best(self) -> TrialOutcome:
        """The finished trial with the highest value, the earlier one of equals."""
        done = [outcome for outcome in self.outcomes if outcome.state == "done"]
        return max(done, key=lambda outcome: (outcome.value or 0.0, -outcome.number))

    @property
    def first(self) -> TrialOutcome:
        """The trial with the current settings."""
        return self.outcomes[0]

    @property
    def gain(self) -> float:
        """Value of the best trial minus that of the current settings."""
        return (self.best.value or 0.0) - (self.first.value or 0.0)

    def count(self, state: str) -> int:
        """Returns the number of trials that ended so."""
        return sum(outcome.state == state for outcome in self.outcomes)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
      models: one result per model, in the order asked for.
      trials: trials that every model was to have.
      timed_out: whether the time ended before them.
    """

    models: tuple[ModelResult, ...]
    trials: int
    timed_out: bool


def run_search(
    studies: Mapping[str, ModelStudy],
    trials: int,
    train: TrainTrial,
    *,
    timeout_seconds: float | None = None,
    on_outcome: Callable[[str, TrialOutcome], None] = lambda model, outcome: None,
    clock: Callable[[], float] = time.monotonic,
) -> SearchResult:
    """Runs the trials that are missing, in turns: first trial of every model, then the second.

    No turn begins after the timeout, and one that has begun is finished, so that every model
    has the same number of trials at any end but a kill.

    Args:
      studies: by model.
      trials: trials of every model; those of earlier calls count.
      train: trains one model with some settings.
      timeout_seconds: None for no limit; the first turn always runs.
      on_outcome: told after each trial.
      clock: seconds.

    Raises:
      TrainingError: the current settings of a model do not train.
    """
    started, timed_out, turns = clock(), False, 0
    for number in range(1, trials + 1):
        missing = [model for model, study in studies.items() if len(study.outcomes()) < number]
        late = timeout_seconds is not None and clock() - started >= timeout_seconds
        if missing and number > 1 and late:
            # Earlier calls may have left some models one trial ahead: they are not counted.
            timed_out = True
            break
        for model in missing:
            on_outcome(model, studies[model].run_next(model, train))
        turns = number
    found = tuple(
        ModelResult(model, tuple(study.outcomes()[:turns])) for model, study in studies.items()
    )
    return SearchResult(found, trials, timed_out)


def result_json(result: SearchResult, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a search as JSON values.

    Args:
      result: what was found.
      facts: what was asked: configuration, seed, epochs and so on.
    """
    models = {}
    for found in result.models:
        models[found.model] = {
            "best_value": found.best.value,
            "first_value": found.first.value,
            "gain": round(found.gain, 6),
            "best_trial": found.best.number,
            "settings": found.best.settings,
            "trials": {state: found.count(state) for state in ("done", "pruned", "failed")},
            "epochs": sum(outcome.epochs for outcome in found.outcomes),
            "seconds": round(sum(outcome.seconds for outcome in found.outcomes), 1),
            "outcomes": [vars(outcome) for outcome in found.outcomes],
        }
    return {
        "schema": 1,
        **facts,
        "trials": result.trials,
        "timed_out": result.timed_out,
        "models": models,
    }


def budget_in_words(result: SearchResult, epochs: int, space: Sequence[str]) -> str:
    """Returns the budget of every model, for an experiment's `search_budget`."""
    done = len(result.models[0].outcomes)
    keys = ", ".join(key.split(".")[1] for key in space)
    return (
        f"{_count(done, 'trial')} of at most {_count(epochs, 'epoch')} for every model, the first "
        f"with the shared settings (tessera tune; TPE over {keys})"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
