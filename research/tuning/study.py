"""One model's search: an Optuna study that outlives its process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import PartialFixedSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from core.digest import json_digest
from core.errors import TrainingError
from research.tuning.config import Parameter, TuningConfig

#: Trains a model with some settings: yields the validation recall of every epoch, and may be
#: closed before the last one.
TrainTrial = Callable[[str, Mapping[str, Any]], Generator[float, None, None]]
_STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class TrialOutcome:
    """How one trial ended.

    Attributes:
      number: 1-based, among the trials that count.
      state: "done", "pruned" or "failed".
      settings: run configuration key -> value.
      value: best validation recall of its epochs, None when it failed.
      epochs: epochs that were trained.
      seconds: wall time.
      reason: why it failed, else empty.
    """

    number: int
    state: str
    settings: dict[str, Any]
    value: float | None
    epochs: int
    seconds: float
    reason: str = ""


class ModelStudy:
    """Draws settings, keeps what they reached, and goes on after a kill.

    What is drawn depends on the seed, the number of the trial and the outcomes before it,
    not on the process: an interrupted search ends like one that was not.
    """

    def __init__(
        self,
        name: str,
        storage: optuna.storages.BaseStorage,
        space: Mapping[str, Parameter],
        current: Mapping[str, Any],
        tuning: TuningConfig,
        seed: int,
    ) -> None:
        """Opens the study, or makes it.

        Args:
          name: of the study; it must tell everything that decides a trial's value.
          storage: of all studies.
          space: run configuration key -> what it may be.
          current: the settings of the first trial, within the space.
          tuning: sampler and pruner.
          seed: of the sampler.
        """
        self._current, self._tuning, self._seed = dict(current), tuning, seed
        self._distributions = {key: _distribution(entry) for key, entry in space.items()}
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if tuning.pruning:
            pruner = optuna.pruners.MedianPruner(
                tuning.pruning_after_trials, tuning.pruning_after_epochs
            )
        self._study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            pruner=pruner,
            load_if_exists=True,
        )
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            # Its process went away before its end: it is run again and does not count.
            self._study.tell(trial.number, state=TrialState.FAIL)

    def outcomes(self) -> list[TrialOutcome]:
        """Returns the trials that count, in the order in which they ran."""
        return [self._outcome(n, trial) for n, trial in enumerate(self._counted(), start=1)]

    def run_next(self, model: str, train: TrainTrial) -> TrialOutcome:
        """Draws settings, trains with them and keeps the outcome.

        Args:
          model: the model to train.
          train: trains it.

        Raises:
          TrainingError: the first trial failed: the current settings do not train.
        """
        number = len(self._counted())
        self._study.sampler = self._sampler(number)
        trial = self._study.ask(self._distributions)
        started = time.monotonic()
        values: list[float] = []
        pruned, failure = False, None
        epochs = train(model, self._settings(trial.params))
        try:
            pruned = self._follow(trial, epochs, values)
        except TrainingError as error:
            if number == 0:
                self._study.tell(trial, state=TrialState.FAIL)
                raise TrainingError(
                    f"{model}: the current settings do not train: {error}"
                ) from error
            failure = str(error)
        finally:
            epochs.close()
        trial.set_user_attr("seconds", round(time.monotonic() - started, 1))
        trial.set_user_attr("epochs", len(values))
        if failure is not None:
            trial.set_user_attr("reason", failure)
            self._study.tell(trial, state=TrialState.FAIL)
        elif pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, max(values))
        return self.outcomes()[-1]

    def _follow(
        self, trial: Trial, epochs: Generator[float, None, None], values: list[float]
    ) -> bool:
        """Reports every epoch; returns True where the trial is to be pruned."""
        for epoch, value in enumerate(epochs, start=1):
            values.append(value)
            trial.report(value, epoch)
            if trial.should_prune():
                return True
        if not values:
            raise TrainingError("no epoch was trained")
        return False

    def _counted(self) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False, states=tuple(_STATES))
        return [t for t in trials if t.state != TrialState.FAIL or "reason" in t.user_attrs]

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """A sampler of its own for each trial, so that nothing depends on the process."""
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        sampler = TPESampler(seed=seed, n_startup_trials=self._tuning.random_trials)
        if number:
            return sampler
        fixed = {
            key: _token(value)
            if isinstance(self._distributions[key], CategoricalDistribution)
            else value
            for key, value in self._current.items()
        }
        return PartialFixedSampler(fixed, sampler)

    def _settings(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Drawn values as the run configuration takes them; 4 digits of a drawn number do."""
        found = {}
        for key, value in parameters.items():
            if isinstance(value, str):
                found[key] = json.loads(value)
            else:
                found[key] = value if value == self._current[key] else float(f"{value:.4g}")
        return found

    def _outcome(self, number: int, trial: FrozenTrial) -> TrialOutcome:
        attributes = trial.user_attrs
        values = list(trial.intermediate_values.values())
        failed = trial.state == TrialState.FAIL
        return TrialOutcome(
            number=number,
            state=_STATES[trial.state],
            settings=self._settings(trial.params),
            value=None if failed or not values else max(values),
            epochs=int(attributes.get("epochs", len(values))),
            seconds=float(attributes.get("seconds", 0.0)),
            reason=str(attributes.get("reason", "")),
        )


def study_name(model: str, identity: Mapping[str, Any]) -> str:
    """Returns the name of a study: another identity is another study.

    Args:
      model: name of the model.
      identity: what decides a trial's value and what is drawn, as JSON values.
    """
    return f"{model}-{json_digest(dict(identity))}"


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.values:
        # Optuna keeps numbers and texts only: a list of units travels as JSON.
        return CategoricalDistribution([_token(value) for value in parameter.values])
    low, high = float(parameter.low or 0.0), float(parameter.high or 0.0)
    return FloatDistribution(low, high, log=parameter.log)


def _token(value: Any) -> str:
    return json.dumps(value)
