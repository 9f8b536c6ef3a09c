"""What tasks were really called with on Kubeflow Pipelines, recorded by its driver and launcher."""

import json
import os
from pathlib import Path

import pytest

FOLDER = Path(
    os.environ.get("KFP_RECORDINGS") or Path(__file__).resolve().parents[3] / "shared" / "kfp"
)
VERSIONS = ("2.14.4", "2.17.0")
#: In the order in which they ran.
TASKS = (
    "CuratedSchema", "RetrievalExampleGen", "StatisticsGen", "ExampleValidator", "DataGate",
    "BaselineResolver", "Transform", "Trainer", "IndexBuilder", "RetrievalEvaluator",
    "ServingValidator", "Pusher", "StatusReport",
)  # fmt: skip


def recording(version, task):
    """`executor_input` and `component_spec` of a task; skips the test where there are none."""
    path = FOLDER / f"recorded-{version}" / f"{task}.json"
    if not path.exists():
        pytest.skip(f"{path} is not here: set KFP_RECORDINGS to the folder of the recordings")
    return json.loads(path.read_text())
