"""The Flink preset on a foreign job server: Prism, Beam's portable runner in Go.

`make prism` builds it once, outside the repository; where it is missing these tests are
skipped by name. Workers are those of the preset: Beam's worker pool, in processes of its own.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from pipeline.config import load_tree
from tests.components.test_example_gen_distributed import (  # noqa: F401 - fixtures
    config,
    free_port,
    run,
    served,
    wanted,
)
from tests.seaweedfs import tools

ROOT = Path(__file__).resolve().parents[3]
PRISM = tools() / "prism-2.74.0"
IN_PROCESS = ["--runner=FnApiRunner", "--sdk_container_image=none"]
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PRISM.is_file(), reason="Prism is not built here: make prism"),
]


@contextmanager
def prism(
    folder: Path, monkeypatch: pytest.MonkeyPatch, workers_folder: Path | None = None
) -> Iterator[list[str]]:
    """Runs job server and worker pool; yields the preset's arguments.

    Args:
      folder: gets the logs.
      monkeypatch: sets what the preset reads.
      workers_folder: current folder and TMPDIR of the workers; None: this process's.
    """
    jobs, pool, web = free_port(), free_port(), free_port()
    monkeypatch.setenv("TESSERA_BEAM_JOB_SERVER", f"localhost:{jobs}")
    preset = load_tree(ROOT / "conf/beam/flink.yaml")["beam"]["args"]
    # Nothing but the pool's port is another: tests may run side by side.
    args = [arg.replace(":50000", f":{pool}") for arg in preset]
    assert "--runner=PortableRunner" in args
    folder.mkdir(exist_ok=True)
    command = [str(PRISM), f"--job_port={jobs}", f"--web_port={web}", "--log_kind=text"]
    with (
        open(folder / "prism.log", "wb") as log,
        served(
            "apache_beam.runners.worker.worker_pool_main",
            "service_port",
            pool,
            folder / "pool.log",
            workers_folder,
        ),
    ):
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield args
        finally:
            server.kill()
            server.wait(30)


def statistics(examples: Any, out: Path, args: list[str]) -> dict[str, Any]:
    """TFX's StatisticsGen as the pipeline runs it; the statistics by split.

    Features are sorted: TFX leaves them in the order in which workers were done.
    """
    import tensorflow_data_validation as tfdv
    from tfx.components.statistics_gen.executor import Executor
    from tfx.types import standard_artifacts

    found = standard_artifacts.ExampleStatistics()
    found.uri = str(out / "statistics")
    context = Executor.Context(beam_pipeline_args=args, tmp_dir=str(out / "tmp"), unique_id="2")
    Executor(context).Do(
        {"examples": [examples]}, {"statistics": [found]}, {"exclude_splits": "[]"}
    )
    by_split = {}
    for path in sorted((out / "statistics").rglob("FeatureStats.pb")):
        (data_set,) = json_format.MessageToDict(tfdv.load_stats_binary(str(path)))["datasets"]
        data_set["features"].sort(key=lambda feature: feature["path"]["step"])
        by_split[path.parent.name] = data_set
    return by_split


def close(found: Any, other: Any) -> bool:
    """Whether two trees are equal but for the last digits of what depends on the order of sums."""
    if isinstance(other, dict):
        same = isinstance(found, dict) and found.keys() == other.keys()
        return same and all(close(found[key], other[key]) for key in other)
    if isinstance(other, list):
        same = isinstance(found, list) and len(found) == len(other)
        return same and all(map(close, found, other))
    if isinstance(other, float) and isinstance(found, float):
        return math.isclose(found, other, rel_tol=1e-9)
    return found == other


def transformed(examples: Any, out: Path, args: list[str]) -> dict[str, Any]:
    """TFX's Transform as the pipeline runs it; records by split and the vocabularies."""
    import tensorflow as tf
    from tfx.components.transform.executor import Executor
    from tfx.proto import transform_pb2
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    from trainer import features
    from trainer.config import TransformConfig

    schema = standard_artifacts.Schema()
    schema.uri = str(out / "schema")
    (out / "schema").mkdir(parents=True)
    (out / "schema/schema.pbtxt").write_text((ROOT / "schemas/examples.pbtxt").read_text())
    graph, made = standard_artifacts.TransformGraph(), standard_artifacts.Examples()
    graph.uri, made.uri = str(out / "graph"), str(out / "transformed")
    splits = transform_pb2.SplitsConfig(analyze=["train", "corpus"], transform=features.SPLITS)
    context = Executor.Context(beam_pipeline_args=args, tmp_dir=str(out / "tmp"), unique_id="3")
    properties = {
        "preprocessing_fn": "trainer.preprocessing.preprocessing_fn",
        "disable_statistics": 1,
        "splits_config": proto_utils.proto_to_json(splits),
        "custom_config": json.dumps({"transform": TransformConfig().canonical_json()}),
    }
    Executor(context).Do(
        {"examples": [examples], "schema": [schema]},
        {"transform_graph": [graph], "transformed_examples": [made]},
        properties,
    )
    records = {
        folder.name: sorted(
            # The order of an Example's features is that of a hash table.
            tf.train.Example.FromString(record.numpy()).SerializeToString(deterministic=True)
            for path in sorted(folder.glob("*.gz"))
            for record in tf.data.TFRecordDataset(str(path), "GZIP")
        )
        for folder in sorted((out / "transformed").iterdir())
    }
    names = sorted((out / "graph").rglob("assets/*"))
    return {"records": records, "vocabularies": {path.name: path.read_bytes() for path in names}}


def artifact(out: Path) -> Any:
    """The examples that `run` wrote, as StatisticsGen and Transform are given them."""
    from tfx.types import artifact_utils, standard_artifacts

    from trainer import features

    found = standard_artifacts.Examples()
    found.uri = str(out / "examples")
    found.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    found.set_string_custom_property("payload_format", "FORMAT_PARQUET")
    return found


def test_the_chain_on_prism_equals_the_run_in_process(
    config: Any,  # noqa: F811
    wanted: dict,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with prism(tmp_path / "logs", monkeypatch) as args:
        assert run(config, tmp_path / "prism", *args) == wanted
        examples = artifact(tmp_path / "prism")
        figures = statistics(examples, tmp_path / "prism", args)
        made = transformed(examples, tmp_path / "prism", args)
    assert len(figures) == 4 and not close({"a": [1.0, 2]}, {"a": [1.0 + 1e-6, 2]})
    assert close(figures, statistics(examples, tmp_path / "here", IN_PROCESS))
    here = transformed(examples, tmp_path / "here", IN_PROCESS)
    assert made["vocabularies"] == here["vocabularies"] and here["vocabularies"]
    assert made["records"] == here["records"] and all(here["records"].values())
    assert "Starting worker with command" in (tmp_path / "logs/pool.log").read_text()
