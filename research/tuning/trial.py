"""The training of one trial, in a process of its own: `python -m research.tuning.trial FOLDER`.

Reads FOLDER/job.json, says the validation recall of every epoch and writes FOLDER/result.json
at the end.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from core.files import read_json, write_json
from research.tuning.trial_runner import JOB_FILE, RESULT_FILE
from research.work import Pipe, work


def run_trial(folder: Path, pipe: Pipe) -> None:
    """Trains what `job.json` asks for.

    Args:
      folder: of the trial; checkpoints and logs are kept in it.
      pipe: is told `value`, the validation recall, of every epoch; of those before an
        interruption again.

    Raises:
      TesseraError: the training cannot go on.
    """
    from core.feature_config import FeaturesConfig
    from trainer.config import ModelConfig, TrainerConfig, TransformConfig
    from trainer.fit import TrainingJob, fit

    asked: dict[str, Any] = read_json(folder / JOB_FILE)
    trainer = TrainerConfig.model_validate(asked["trainer"])
    metric = f"val_recall@{trainer.early_stopping_metric_k}"
    started = time.monotonic()
    trained = fit(
        TrainingJob(
            examples=asked["examples"],
            transform_graph=asked["transform_graph"],
            model=ModelConfig.model_validate(asked["model"]),
            trainer=trainer,
            transform=TransformConfig.model_validate(asked["transform"]),
            checkpoint_dir=str(folder / "checkpoints"),
            log_dir=str(folder / "log"),
            code_digest=asked["code_digest"],
            features=FeaturesConfig.model_validate(asked["features"]),
            on_epoch=lambda record: pipe.say(value=record[metric]),
        )
    )
    result = {
        "values": [record[metric] for record in trained.history],
        "seconds": round(time.monotonic() - started, 1),
        "history": trained.history,
    }
    write_json(folder / RESULT_FILE, result)
    trained.checkpoints.remove()


if __name__ == "__main__":
    work(lambda pipe: run_trial(Path(sys.argv[1]), pipe))
