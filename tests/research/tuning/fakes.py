"""A training that answers at once, and studies over it."""

import math

import optuna

from research.tuning.config import Parameter, TuningConfig
from research.tuning.study import ModelStudy

CURRENT = {"trainer.learning_rate": 0.003, "model.history_dropout": 0.3}
SPACE = {
    "trainer.learning_rate": Parameter(low=1e-3, high=1e-2, log=True),
    "model.history_dropout": Parameter(values=(0.1, 0.3, 0.5)),
}
TUNING = TuningConfig(random_trials=3, pruning_after_trials=2, pruning_after_epochs=1)


class Killed(BaseException):
    """The process went away."""


class FakeTraining:
    """Recall is best near a rate of 0.006 and a dropout of 0.5; it grows over four epochs."""

    def __init__(self, kill_in=None, fail_in=()):
        self.asked, self.closed = [], 0
        self._kill_in, self._fail_in = kill_in, fail_in

    def __call__(self, model, settings):
        from core.errors import TrainingError

        self.asked.append((model, dict(settings)))
        number = len(self.asked)
        rate, dropout = settings["trainer.learning_rate"], settings["model.history_dropout"]
        best = 0.3 - 0.1 * abs(math.log(rate / 0.006)) + 0.1 * dropout
        try:
            for epoch in range(1, 5):
                if number in self._fail_in:
                    raise TrainingError("the loss became nan")
                if number == self._kill_in and epoch == 3:
                    raise Killed
                yield best * epoch / 4
        finally:
            self.closed += 1


_IN_MEMORY = {}


def sqlite_in(folder):
    return optuna.storages.RDBStorage(f"sqlite:///{folder / 'studies.db'}")


def memory_of(folder):
    """The same storage for the same folder: quicker than a file, and outlives a study."""
    return _IN_MEMORY.setdefault(folder, optuna.storages.InMemoryStorage())


def study_in(
    folder, name="dcm", *, seed=1, tuning=TUNING, space=SPACE, current=CURRENT, storage=memory_of
):
    return ModelStudy(name, storage(folder), space, current, tuning, seed)
