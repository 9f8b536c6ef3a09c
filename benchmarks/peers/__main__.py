"""ComiRec-SA and MIND of a PyTorch library beside our models: accuracy and examples/s.

    make bench-peers

The same split, exported from our raw examples; the same full ranking in NumPy; the same
greatest number of epochs; the best epoch by validation HR@50. A peer is trained with the
defaults of its library's examples, then with the best of a small search (the settings are
printed). Every training is a process of its own and is kept: after a kill the same command
goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import export
from benchmarks.peers.split import save_split
from core.digest import code_digest, file_sha256, json_digest
from core.files import read_json, staged_file, write_json
from pipeline import environment

ROOT = Path(__file__).resolve().parents[2]
OURS = ("two_tower", "self_attention", "mind", "dcm")
PEERS = ("comirec_sa", "mind")
#: Tried for every peer, for a few epochs each; the best by validation is trained in full.
#: Each divides the scores by 0.1, as ours do, draws negatives uniformly and leaves the
#: user's id out, but for the last, which has it.
_BASE = {"temperature": 0.1, "popularity": False, "user_id": False}
SEARCH: list[dict[str, Any]] = [
    *(
        {**_BASE, "learning_rate": rate, "negatives": negatives}
        for negatives in (20, 100)
        for rate in (1e-3, 3e-3, 1e-2)
    ),
    {**_BASE, "learning_rate": 3e-3, "negatives": 20, "user_id": True},
]
FIGURES = ("hr@10", "hr@50", "hr@100", "ndcg@10")


class Runner:
    """Runs trainings in processes of their own and keeps what they print."""

    def __init__(self, arguments: argparse.Namespace, split: Path) -> None:
        self._arguments, self._split = arguments, split
        self._folder = Path(arguments.out)
        self._data = file_sha256(split)

    def ours(self, model: str) -> dict[str, Any]:
        """Trains one of our models."""
        asked = self._arguments
        command = [sys.executable, "-m", "benchmarks.peers.ours", str(asked.conf), asked.work_dir]
        command += [str(self._split), model, f"--epochs={asked.epochs}"]
        code = code_digest(("core", "trainer", "benchmarks/peers/ours.py"))
        return self._kept(f"ours-{model}", command, code)

    def peer(self, model: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Trains a model of the library."""
        given = {"epochs": self._arguments.epochs, "seconds": self._arguments.seconds, **settings}
        command = [self._arguments.peer_python, "-m", "benchmarks.peers.rechub"]
        command += [str(self._split), model, json.dumps(given)]
        return self._kept(f"peer-{model}", command, code_digest(("benchmarks/peers/rechub.py",)))

    def _kept(self, name: str, command: list[str], code: str) -> dict[str, Any]:
        """Returns what a command printed, from an earlier run where nothing changed."""
        key = json_digest({"command": command[1:], "code": code, "data": self._data})
        path = self._folder / f"{name}-{key}.json"
        if not path.is_file():
            shown = " ".join(command[3:])
            print(f"training {shown}", file=sys.stderr, flush=True)
            done = subprocess.run(
                command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{shown} ended with code {done.returncode}")
            write_json(path, json.loads(done.stdout.splitlines()[-1]))
        return dict(read_json(path))


def exported_split(arguments: argparse.Namespace) -> Path:
    """Makes the data and writes the split for both libraries; returns the file."""
    config = export.experiment(arguments.conf, arguments.work_dir)
    length = config.data_config("peers").transform.history_max_items
    prepared = export.prepare_data(config)
    path = Path(arguments.out) / f"split-{prepared.fingerprint}.npz"
    if not path.is_file():
        catalogue = export.read_catalogue(prepared.examples)
        with staged_file(path) as staging, staging.open("wb") as stream:
            save_split(export.export_split(prepared.examples, catalogue, length), stream)
    return path


def peer_rows(runner: Runner, model: str, search_epochs: int) -> list[dict[str, Any]]:
    """Trains one peer with its library's defaults and with the best setting of the search."""
    rows = [{**runner.peer(model, {}), "row": f"torch-rechub {model}, its defaults"}]
    tried = [(runner.peer(model, {**s, "epochs": search_epochs}), s) for s in SEARCH]
    _, best = max(tried, key=lambda pair: pair[0]["validation_hr@50"])
    rows.append({**runner.peer(model, best), "row": f"torch-rechub {model}, searched"})
    rows[-1]["search"] = [
        {**settings, "validation_hr@50": found["validation_hr@50"]} for found, settings in tried
    ]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the results as one table."""
    lines = [
        f"{'model':<34} {'HR@10':>6} {'HR@50':>6} {'HR@100':>6} {'NDCG@10':>7} {'cosine':>6} "
        f"{'epochs':>6} {'best':>4} {'ended':>8} {'examples/s':>10} {'per CPU-s':>9} {'weights':>9}"
    ]
    for row in rows:
        figures = " ".join(
            f"{row[name]:>{width}.4f}" for name, width in zip(FIGURES, (6, 6, 6, 7), strict=True)
        )
        lines.append(
            f"{row['row']:<34} {figures} {row['user_cosine']:>6.2f} {row['epochs']:>6} "
            f"{row['best_epoch']:>4} {row['ended']:>8} {row['examples_per_s']:>10,.0f} "
            f"{row['examples_per_cpu_s']:>9,.0f} {row['parameters']:>9,}"
        )
    return "\n".join(lines)


def budget(arguments: argparse.Namespace) -> str:
    """Says in words what everyone was given."""
    return (
        f"Budget: at most {arguments.epochs} epochs for every training, for a peer at most "
        f"{arguments.seconds:.0f} s of them as well; best epoch by validation HR@50; seed 1; "
        f"{os.cpu_count()} cores. Peers: {len(SEARCH)} settings of {arguments.search_epochs} "
        f"epochs each, the best by validation trained in full. Ours: the settings of "
        f"{arguments.conf}, one training each. Examples/s without the first epoch."
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=".venv-peers/bin/python")
    parser.add_argument("--conf", type=Path, default=ROOT / "benchmarks/peers/amazon-beauty.yaml")
    parser.add_argument("--work-dir", default="runs/experiments", help="of the prepared data")
    parser.add_argument("--out", default="runs/peers", help="split and finished trainings")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--search-epochs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=280.0, help="of a peer's training")
    parser.add_argument("--ours", nargs="*", default=list(OURS))
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--json", help="also write the results there")
    arguments = parser.parse_args()
    environment.prepare()
    runner = Runner(arguments, exported_split(arguments).resolve())
    rows = []
    for peer in arguments.peers:
        rows += peer_rows(runner, peer, arguments.search_epochs)
    rows += [{**runner.ours(model), "row": f"tessera {model}"} for model in arguments.ours]
    print(table(rows))
    print(budget(arguments))
    for row in rows:
        if "search" in row:
            print(f"{row['row']}: {json.dumps(row['settings'])}")
    if arguments.json:
        write_json(arguments.json, {"budget": budget(arguments), "rows": rows})


if __name__ == "__main__":
    main()
