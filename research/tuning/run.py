"""Wires a search together: data, studies, trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna

from core.digest import code_digest
from core.lock import run_lock
from pipeline.config import RunConfig, model_config
from research.experiment.config import DatasetConfig, ExperimentConfig
from research.experiment.prepare import Prepared, prepare
from research.tuning.config import TuningConfig, checked_space, current_settings, with_settings
from research.tuning.search import SearchResult, run_search
from research.tuning.study import ModelStudy, TrialOutcome, study_name
from research.tuning.trial_runner import TrialRunner
from trainer import features

_CODE = ("core", "trainer")
_DATASET = "data"


def run_tuning(
    conf: Path,
    config: RunConfig,
    tuning: TuningConfig,
    models: tuple[str, ...],
    trials: int,
    timeout_seconds: float | None,
    *,
    say: Callable[[str], None],
    verbose: bool = False,
) -> SearchResult:
    """Prepares the data and runs the trials that are missing.

    Args:
      conf: the file of the run configuration.
      config: the configuration of every trial, but for model and settings.
      tuning: space and sampler.
      models: names of models.
      trials: trials of every model.
      timeout_seconds: None for no limit.
      say: told one line per trial.
      verbose: show all log records on the terminal while the data is prepared.

    Raises:
      TesseraError: data or configuration are wrong, another search works in the folder, or
        the current settings of a model do not train.
    """
    space, current = checked_space(config, tuning), current_settings(config, tuning)
    prepared = _prepared(conf, config, verbose)
    code = code_digest(_CODE)
    root = Path(config.work_dir).resolve() / "tuning"
    root.mkdir(parents=True, exist_ok=True)
    with run_lock(root):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.RDBStorage(f"sqlite:///{root / 'studies.db'}")
        identity = {
            "data": prepared.fingerprint,
            "transform": config.transform.model_dump(mode="json"),
            "model": config.model.model_dump(mode="json", exclude={"name"}),
            "trainer": config.trainer.model_dump(mode="json"),
            "negative_actions": config.examples.negative_actions,
            "space": {key: entry.model_dump(mode="json") for key, entry in space.items()},
            "sampling": tuning.model_dump(mode="json", exclude={"space"}),
            "code": code,
        }
        if config.features:
            identity["features"] = config.features.model_dump(mode="json")
        seed = config.trainer.seed
        studies = {
            model: ModelStudy(study_name(model, identity), storage, space, current, tuning, seed)
            for model in models
        }
        runner = TrialRunner(root / "trials", lambda *drawn: _job(config, prepared, code, *drawn))
        return run_search(
            studies,
            trials,
            runner,
            timeout_seconds=timeout_seconds,
            on_outcome=lambda model, outcome: say(_line(model, outcome, trials)),
        )


def _prepared(conf: Path, config: RunConfig, verbose: bool) -> Prepared:
    """The data, through the same cached chain as an experiment's."""
    dataset = DatasetConfig(conf=str(conf), set=config.model_dump(mode="json"))
    experiment = ExperimentConfig(
        name="tune",
        work_dir=config.work_dir,
        num_results=config.retrieval.num_results,
        datasets={_DATASET: dataset},
    )
    return prepare(experiment, _DATASET, verbose=verbose)


def _job(
    config: RunConfig, prepared: Prepared, code: str, model: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    trial = with_settings(config, {"model.name": model, **settings}, f"trial of {model}")
    return {
        "examples": [f"{prepared.transformed}/Split-{features.TRAIN_SPLIT}/*"],
        "transform_graph": prepared.transform_graph,
        "model": model_config(trial).model_dump(mode="json"),
        "trainer": trial.trainer.model_dump(mode="json"),
        "transform": trial.transform.model_dump(mode="json"),
        "features": trial.features.model_dump(mode="json"),
        "code_digest": code,
    }


def _line(model: str, outcome: TrialOutcome, trials: int) -> str:
    value = "" if outcome.value is None else f" {outcome.value:.4f}"
    drawn = ", ".join(f"{key.split('.')[1]} {value}" for key, value in outcome.settings.items())
    reason = f": {outcome.reason}" if outcome.reason else ""
    return (
        f"{model} {outcome.number}/{trials} {outcome.state}{value} "
        f"({drawn}; {outcome.seconds:.0f} s){reason}"
    )
