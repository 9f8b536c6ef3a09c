"""ExampleGen and Transform beside a plain Polars program: rows/s, CPU seconds, peak memory.

    python benchmarks/example_gen.py --sizes 100000 300000 1000000

Each measurement is a fresh process. `cpu` is what the work itself cost in user and
system seconds, all threads and children, without interpreter start and imports
(`import`, about the same for any size); `peak MB` is of the whole process, and most
of it at small sizes is TensorFlow. The examples of both programs are compared:
counts, and a digest of every row of a sample of users.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.fresh import fresh  # noqa: E402

BEAM_ARGS = ["--runner=FnApiRunner", "--sdk_container_image=none"]
SPLITS = ("train", "validation", "eval")


def cpu_seconds() -> float:
    """Returns user and system seconds of this process, its threads and its children."""
    usages = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measured(work: Callable[[], None], imported: float) -> dict[str, float]:
    """Runs `work` and returns its wall and CPU seconds and the process's peak memory."""
    wall, cpu = time.monotonic(), cpu_seconds()
    work()
    return {
        "import": imported,
        "wall": time.monotonic() - wall,
        "cpu": cpu_seconds() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run_example_gen(data: Path, out: Path) -> dict[str, float]:
    """The executor's work on `data`, with the configuration that the Polars program has."""
    started = cpu_seconds()
    import apache_beam as beam

    from components.config import ExampleGenConfig, SplitConfig
    from components.example_gen.ingest import ingest
    from components.example_gen.window import resolve
    from input_tables.config import DataConfig

    config = ExampleGenConfig(
        data=DataConfig(root=str(data)),
        split=SplitConfig(eval_days=3, validation_days=2),
        follows_max_topics=20,
        negative_actions=("hide",),
    )
    imported = cpu_seconds() - started

    def work() -> None:
        ingest(
            config,
            resolve(config, {}),
            examples_uri=str(out),
            report_uri=str(out / "report"),
            dead_letter_dir=str(out / "dead_letters"),
            make_pipeline=lambda: beam.Pipeline(argv=BEAM_ARGS),
        )

    return measured(work, imported)


def run_transform(data: Path, out: Path, beam_args: Sequence[str] = BEAM_ARGS) -> dict[str, float]:
    """TFX's Transform executor on the examples in `data`, as the pipeline runs it."""
    started = cpu_seconds()
    from tfx.components.transform.executor import Executor
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.proto import transform_pb2
    from tfx.types import artifact_utils, standard_artifacts
    from tfx.utils import proto_utils

    import trainer.preprocessing  # noqa: F401
    from trainer import features
    from trainer.config import TransformConfig

    imported = cpu_seconds() - started
    examples = standard_artifacts.Examples()
    examples.uri = str(data)
    examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    examples.set_string_custom_property("payload_format", "FORMAT_PARQUET")
    schema = standard_artifacts.Schema()
    schema.uri = str(out / "schema")
    (out / "schema").mkdir(parents=True)
    curated = (ROOT / "schemas" / "examples.pbtxt").read_text()
    (out / "schema" / "schema.pbtxt").write_text(curated)
    graph, transformed = standard_artifacts.TransformGraph(), standard_artifacts.Examples()
    graph.uri, transformed.uri = str(out / "graph"), str(out / "transformed")
    splits = transform_pb2.SplitsConfig(analyze=["train", "corpus"], transform=features.SPLITS)
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args), tmp_dir=str(out / "tmp"), unique_id="1"
    )
    properties = {
        "preprocessing_fn": "trainer.preprocessing.preprocessing_fn",
        "disable_statistics": 1,
        "splits_config": proto_utils.proto_to_json(splits),
        "custom_config": json.dumps({"transform": TransformConfig().canonical_json()}),
    }
    outputs = {"transform_graph": [graph], "transformed_examples": [transformed]}

    def work() -> None:
        inputs = {"examples": [examples], "schema": [schema]}
        Executor(context).Do(inputs, outputs, properties)

    return measured(work, imported)


def run_polars(data: Path, out: Path) -> dict[str, float]:
    """The Polars program."""
    started = cpu_seconds()
    from benchmarks import polars_examples

    imported = cpu_seconds() - started
    return measured(lambda: polars_examples.main(data, out), imported)


STEPS = {"example_gen": run_example_gen, "transform": run_transform, "polars": run_polars}


def content(uri: Path, share: int) -> dict[str, tuple[int, int]]:
    """Returns per split the number of examples and a digest of every `share`-th user's.

    The digest does not depend on the order of rows.
    """
    from components.examples_io import count_rows, read_split

    found = {}
    for split in SPLITS:
        digest = 0
        for batch in read_split(str(uri), split):
            users = batch.column("user_id").flatten().to_pylist()
            chosen = [
                row
                for row, user in enumerate(users)
                if zlib.crc32(user if isinstance(user, bytes) else user.encode()) % share == 0
            ]
            for row in batch.take(chosen).to_pylist() if chosen else ():
                digest ^= int.from_bytes(_row_digest(row), "big")
        found[split] = (count_rows(str(uri), split), digest)
    return found


def _row_digest(row: dict[str, list[Any]]) -> bytes:
    import hashlib

    plain = {
        name: [value.decode() if isinstance(value, bytes) else value for value in values]
        for name, values in sorted(row.items())
    }
    return hashlib.sha256(json.dumps(plain).encode()).digest()[:8]


def compare(ours: Path, peer: Path, share: int) -> int:
    """Returns the number of examples; stops when the two programs disagree."""
    first, second = content(ours, share), content(peer, share)
    if first != second:
        raise SystemExit(f"the examples differ:\n  example_gen {first}\n  polars      {second}")
    return sum(count for count, _ in first.values())


def bench(size: int, folder: Path) -> list[dict[str, Any]]:
    """Measures all steps at one size.

    Args:
      size: engagements to generate, about.
      folder: an empty folder to work in.
    """
    from input_tables.generate import GeneratorConfig, write_generated

    config = GeneratorConfig(
        users=max(50, size // 18), items=max(200, size // 50), topics=200, engagements=size
    )
    events = write_generated(config, folder / "data", "csv")["engagements"]
    steps = {
        "example_gen": (folder / "data", folder / "ours"),
        "transform": (folder / "ours", folder / "transform"),
        "polars": (folder / "data", folder / "peer"),
    }
    results = {
        step: fresh([sys.executable, __file__, "--step", step, *map(str, paths)])
        for step, paths in steps.items()
    }
    examples = compare(folder / "ours", folder / "peer", 1 if size <= 150_000 else 16)
    peer = results["polars"]
    return [
        {
            "engagements": events,
            "examples": examples,
            "step": step,
            **result,
            "rows_s": examples / result["wall"],
            "rows_cpu_s": examples / result["cpu"],
            "ratio": {key: result[key] / peer[key] for key in ("wall", "cpu", "peak_mb")},
        }
        for step, result in results.items()
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the results as one table."""
    lines = [
        f"{'engagements':>11} {'examples':>9} {'step':<12} {'wall s':>7} {'cpu s':>7} "
        f"{'import':>6} {'rows/s':>9} {'rows/cpu-s':>10} {'peak MB':>8}   "
        "x Polars: wall / cpu / memory"
    ]
    lines += [
        f"{row['engagements']:>11,} {row['examples']:>9,} {row['step']:<12} {row['wall']:>7.2f} "
        f"{row['cpu']:>7.2f} {row['import']:>6.1f} {row['rows_s']:>9,.0f} "
        f"{row['rows_cpu_s']:>10,.0f} {row['peak_mb']:>8,.0f}   "
        f"{row['ratio']['wall']:>6.2f} / {row['ratio']['cpu']:.2f} / {row['ratio']['peak_mb']:.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--json", help="also write the results there")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step, data, out = arguments.step
        print(json.dumps(STEPS[step](Path(data), Path(out))))
        return
    rows = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="tessera-benchmark-") as folder:
            rows += bench(size, Path(folder))
        print(f"{size:,}: the same {rows[-1]['examples']:,} examples from both programs")
    print(table(rows))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
