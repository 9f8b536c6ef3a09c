"""Entry point of the Trainer component; it only wires the parts together."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np

from core.feature_config import FeaturesConfig
from core.files import write_json
from trainer.config import BEFORE_REFIT, ModelConfig, TrainerConfig, TransformConfig
from trainer.export import export_model
from trainer.fit import WARM_START, Trained, TrainingJob, best_epoch, fit
from trainer.warm_start import save_warm_start
from trainer.worker import run_chief

_LOG = logging.getLogger("tessera")


def run_fn(fn_args: Any) -> None:
    """Trains, validates and exports a model.

    Args:
      fn_args: `tfx.components.FnArgs`; its `custom_config` holds the JSON of `model`,
        `trainer`, `transform` and, where there are any, `features`, the `checkpoint_dir` and
        the `code_digest`.

    Raises:
      ConfigError: the process runs without legacy Keras, or a setting is missing.
      TrainingError: training cannot go on.
    """
    trainer = TrainerConfig.from_json(fn_args.custom_config["trainer"])
    if trainer.distribution == "multi_worker":
        run_chief(fn_args)
    else:
        train(fn_args)


def train(fn_args: Any) -> None:
    """Trains in this process; exports unless another process of the training does.

    Args:
      fn_args: see `run_fn`.
    """
    custom = fn_args.custom_config or {}
    earlier = os.path.join(os.path.dirname(fn_args.serving_model_dir), BEFORE_REFIT)
    warm_start = os.path.join(fn_args.serving_model_dir, WARM_START)

    def keep(chosen: Trained) -> None:
        export_model(chosen.model, chosen.transform_output, earlier)
        # A later training must not start from what its own validation examples have taught.
        save_warm_start(chosen.model, warm_start, chosen.history)

    trained = fit(
        TrainingJob(
            examples=fn_args.train_files,
            transform_graph=fn_args.transform_graph_path,
            model=ModelConfig.from_json(custom["model"]),
            trainer=TrainerConfig.from_json(custom["trainer"]),
            transform=TransformConfig.from_json(custom.get("transform") or "{}"),
            checkpoint_dir=custom["checkpoint_dir"],
            log_dir=fn_args.model_run_dir,
            code_digest=custom.get("code_digest", ""),
            base_model=fn_args.base_model,
            features=FeaturesConfig.from_json(custom.get("features") or "{}"),
            before_refit=keep,
        )
    )
    if not trained.chief:
        return
    export_model(trained.model, trained.transform_output, fn_args.serving_model_dir)
    if not trained.model.trainer_config.refit:
        save_warm_start(trained.model, warm_start, trained.history)
    write_json(os.path.join(fn_args.model_run_dir, "history.json"), trained.history)
    trained.checkpoints.remove()
    _LOG.info("%s", _summary(trained))


def _summary(trained: Trained) -> str:
    model, history = trained.model, trained.history
    metric = f"val_recall@{model.trainer_config.early_stopping_metric_k}"
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    best = history[best_epoch(history, model.trainer_config) - 1]
    # A training resumed at the very end of an epoch has seen no batch of it.
    loss = "" if best["loss"] is None else f"loss {best['loss']:.3f}, "
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    own_id, alone = model.vocabularies.item_own_id, ""
    if own_id is not None and model.config.untrained_items == "unknown_id":
        alone = f" ({np.sum(~own_id):,} by topics and features alone)"
    return (
        f"{model.config.name}: {epochs} {trained.started}, best epoch {best['epoch']} with "
        f"{metric} {best[metric]:.4f}, {loss}"
        f"{len(model.vocabularies.items):,} items{alone}, {parameters:,} parameters"
    )
