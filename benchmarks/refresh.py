"""Recall on items that the model never saw, after a refresh, beside the items it was trained on.

    python -m benchmarks.refresh --held-out 0.1 --json refresh.json

Generated tables; a random share of the items is taken out of catalogue and log before the
training. The refresh then gets the full items table. Both published versions are asked the
requests of the last days of the full log, through the served graph: the user's history
and follows as they were, the next item as the target. Before the refresh no unseen item
can be found; afterwards the difference to the known ones is what a training is worth.
`--retrain` also trains on everything, which is what the same items reach as known ones.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).resolve().parent.parent
KS = (10, 50, 100)
NAME = "refresh"


@dataclass(frozen=True)
class RefreshLoad:
    """Sizes of the measurement.

    Attributes:
      users: of the generated tables.
      items: catalogue size.
      topics: broad topics and their sub-topics together.
      engagements: about so many rows of the log.
      held_out: share of the items that the training does not see.
      epochs: of the training.
      seed: of tables and choice.
      requests: most requests that are replayed.
    """

    users: int = 1500
    items: int = 2000
    topics: int = 40
    engagements: int = 60_000
    held_out: float = 0.1
    epochs: int = 8
    seed: int = 1
    requests: int = 10_000


def write_tables(load: RefreshLoad, work: Path) -> set[str]:
    """Writes `full/` and `known/`, the same without the held-out items; returns their ids."""
    from input_tables.generate import GeneratorConfig, write_generated

    config = GeneratorConfig(
        users=load.users,
        items=load.items,
        topics=load.topics,
        engagements=load.engagements,
        seed=load.seed,
    )
    full, known = work / "full", work / "known"
    write_generated(config, full)
    items = pq.read_table(full / "items.parquet")
    ids = np.asarray(items["item_id"].to_pylist(), object)
    chance = np.random.default_rng(load.seed)
    held_out = set(chance.choice(ids, round(load.held_out * len(ids)), replace=False))
    known.mkdir()
    for name in ("items", "engagements"):
        table = pq.read_table(full / f"{name}.parquet")
        unseen = pc.is_in(table["item_id"], value_set=pa.array(held_out, table["item_id"].type))
        pq.write_table(table.filter(pc.invert(unseen)), known / f"{name}.parquet")
    shutil.copyfile(full / "follows.parquet", known / "follows.parquet")
    return held_out


def run(conf: dict[str, Any], path: Path) -> dict[str, Any]:
    """Runs `tessera run` as a user does; returns its report and the seconds of the clock."""
    path.write_text(yaml.safe_dump(conf))
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "--conf", str(path), "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{path}: tessera run ended with {done.returncode}")
    return {**json.loads(done.stdout), "clock_s": time.perf_counter() - started}


def training(load: RefreshLoad, data: Path, work: Path, name: str) -> dict[str, Any]:
    """The configuration of a whole run that is published whatever it reaches."""
    return {
        "extends": str(ROOT / "conf" / "local.yaml"),
        "name": name,
        "work_dir": str(work / name),
        "serving_dir": str(work / "serving"),
        "data": {"root": str(data)},
        # What an item is found by when it is new; it has no neighbours before a training.
        "retrieval": {"neighbours": "off"},
        # One training each, and id vectors as they were when the figures in docs/ were measured.
        "model": {"item_min_targets": 1},
        "trainer": {"epochs": load.epochs, "batch_size": 256, "refit": False},
        "evaluator": {
            "thresholds": {f"recall@{max(KS)}": {"min": 0.0}},
            "must_beat_floors": [],
            "max_examples": 1000,
        },
    }


def refreshing(data: Path, work: Path) -> dict[str, Any]:
    """The configuration of the refresh."""
    return {
        "pipeline": "refresh",
        "name": NAME,
        "work_dir": str(work / "refreshes"),
        "serving_dir": str(work / "serving"),
        "data": {"root": str(data)},
    }


def full_examples(work: Path) -> str:
    """Makes the examples of the full log; returns their folder."""
    import apache_beam as beam

    from components.example_gen.ingest import ingest
    from components.example_gen.window import resolve
    from pipeline.config import load_config
    from pipeline.dag import example_gen_config

    run_config = load_config(ROOT / "conf" / "local.yaml")
    config = example_gen_config(run_config, str(work / "full"))
    ingest(
        config,
        resolve(config, {}),
        examples_uri=str(work / "examples"),
        report_uri=str(work / "report"),
        dead_letter_dir=str(work / "dead_letters"),
        make_pipeline=lambda: beam.Pipeline(argv=list(run_config.beam.args)),
    )
    return str(work / "examples")


def recalls(bundle: Path, examples: str, held_out: set[str], load: RefreshLoad) -> dict[str, Any]:
    """Asks one published version; returns recall@k of known and unseen targets.

    Args:
      bundle: folder of the version.
      examples: examples of the full log.
      held_out: ids of the unseen items.
      load: how many requests.
    """
    from components.evaluator.examples import read_eval_examples
    from components.evaluator.items import Items
    from components.evaluator.metrics import per_example, target_ranks
    from components.evaluator.replay import replay
    from core.files import read_json

    items = Items.read(bundle / "items.parquet")
    asked = read_eval_examples(examples, items, load.requests, load.seed)
    served = read_json(bundle / "index.json")["serve"]
    folder = bundle / served if (bundle / served).is_dir() else bundle
    lists = replay(folder, folder != bundle, asked, items, 512).lists
    ranks = target_ranks(lists, asked.target)
    targets = [names[0].decode() for names in asked.table["item_id"].to_pylist()]
    unseen = np.array([name in held_out for name in targets])
    values = per_example(ranks, KS)
    of_both = {"known": ~unseen, "unseen": unseen}
    return {
        "items": len(items),
        **{
            kind: {
                "requests": int(rows.sum()),
                **{f"recall@{k}": float(values[f"recall@{k}"][rows].mean()) for k in KS},
            }
            for kind, rows in of_both.items()
        },
        "share_of_results_unseen": _share_of(lists[:, : max(KS)], items, held_out),
    }


def _share_of(lists: np.ndarray, items: Any, held_out: set[str]) -> float:
    unseen = np.array([name.decode() in held_out for name in items.ids])
    return float(unseen[lists[lists >= 0]].mean())


def table(measured: dict[str, dict[str, Any]]) -> str:
    """Returns a Markdown table, one row per version and kind of target."""
    lines = [
        "| version | target | requests | " + " | ".join(f"recall@{k}" for k in KS) + " |",
        "|---|---|---:|" + "---:|" * len(KS),
    ]
    for name, figures in measured.items():
        for kind in ("known", "unseen"):
            values = " | ".join(f"{figures[kind][f'recall@{k}']:.4f}" for k in KS)
            lines.append(f"| {name} | {kind} | {figures[kind]['requests']:,} | {values} |")
        if name == "refreshed":
            chance = " | ".join(f"{k / figures['items']:.4f}" for k in KS)
            lines.append(f"| by chance | any | | {chance} |")
    return "\n".join(lines)


def measure(load: RefreshLoad, work: Path, retrain: bool) -> dict[str, Any]:
    """Trains, refreshes and asks; prints the tables.

    Args:
      load: sizes.
      work: an empty folder.
      retrain: also train on everything.
    """
    held_out = write_tables(load, work)
    trained = run(training(load, work / "known", work, NAME), work / "train.yaml")
    refreshed = run(refreshing(work / "full", work), work / "refresh.yaml")
    bundles = {"trained": trained["bundle"], "refreshed": refreshed["bundle"]}
    if retrain:
        again = run(training(load, work / "full", work, "retrained"), work / "retrain.yaml")
        bundles["retrained"] = again["bundle"]
    examples = full_examples(work)
    measured = {
        name: recalls(Path(bundle), examples, held_out, load) for name, bundle in bundles.items()
    }
    print(table(measured))
    unseen = measured["refreshed"]["share_of_results_unseen"]
    print(f"\nunseen items: {load.held_out:.0%} of the catalogue, {unseen:.1%} of the results")
    seconds = refreshed["timings_s"]
    print("\n| component | seconds |\n|---|---:|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.1f} |")
    print(f"| all components | {sum(seconds.values()):.1f} |")
    print(f"| the command, start to end | {refreshed['clock_s']:.1f} |")
    print(f"| beside it: the training run | {trained['clock_s']:.1f} |")
    return {
        "load": asdict(load),
        "recall": measured,
        "refresh_s": {**seconds, "clock": refreshed["clock_s"]},
        "training_s": {**trained["timings_s"], "clock": trained["clock_s"]},
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for field, value in asdict(RefreshLoad()).items():
        parser.add_argument(f"--{field.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--retrain", action="store_true", help="also train on everything")
    parser.add_argument("--work", type=Path, help="keep everything in this empty folder")
    parser.add_argument("--json", type=Path, help="also write the results there")
    arguments = parser.parse_args()
    load = RefreshLoad(**{field: getattr(arguments, field) for field in asdict(RefreshLoad())})
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        found = measure(load, work.resolve(), arguments.retrain)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
