"""What a run of the compiled pipeline is given, beside what was compiled into it."""

from __future__ import annotations

from pipeline.config import RunConfig

#: Of the specification: the only one that the open-source backend takes.
SCHEMA_VERSION = "2.1.0"
#: Last day of the data, `YYYY-MM-DD`; every run must say it.
RUN_DATE = "run_date"
DATA_ROOT = "data_root"
SERVING_ROOT = "serving_root"
MODEL_NAME = "model_name"
NAMES = (RUN_DATE, DATA_ROOT, SERVING_ROOT, MODEL_NAME)


def pipeline_name(config: RunConfig) -> str:
    """Returns what the compiled pipeline is called: a refresh has runs of its own."""
    return config.name if config.pipeline == "train" else f"{config.name}-refresh"
