"""Trains the tiny data set in a process of its own; `python -m tests.trainer.distributed JOBS`.

JOBS is JSON: a list of objects with `examples`, `graph`, `folder`, `model` and `trainer`. Each
leaves `history.json` and `weights.npz` in its folder. With two virtual devices, so that `mirrored`
has two replicas.
"""

import json
import sys
from pathlib import Path


def main(jobs):
    import numpy as np
    import tensorflow as tf

    from tests.trainer.tiny import TRANSFORM
    from trainer.config import ModelConfig, TrainerConfig
    from trainer.fit import TrainingJob, fit
    from trainer.warm_start import named_weights

    (device,) = tf.config.list_physical_devices("CPU")
    if not any(job["trainer"].get("distribution") == "multi_worker" for job in jobs):
        tf.config.set_logical_device_configuration(
            device, [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
        )
    for job in jobs:
        folder = Path(job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        trained = fit(
            TrainingJob(
                examples=[f"{job['examples']}/Split-train/*"],
                transform_graph=job["graph"],
                model=ModelConfig(**job["model"]),
                trainer=TrainerConfig(**job["trainer"]),
                transform=TRANSFORM,
                checkpoint_dir=job.get("checkpoints", str(folder / "checkpoints")),
                log_dir=str(folder / "log"),
            )
        )
        weights = {name: value.numpy() for name, value in named_weights(trained.model).items()}
        np.savez(folder / "weights.npz", **weights)
        (folder / "history.json").write_text(json.dumps(trained.history))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
