"""Candidates for many users against a large ScaNN index: users a second, and memory.

    python -m benchmarks.candidates --items 1000000 --users 4000 16000

`tessera candidates` is run as a user starts it, once per number of users, 100 results each. What
starting costs (imports, loading the index) is the same in both runs, so the rate is that of the
users that the larger run has more. A stand-in for the user tower gives 12 embeddings; how busy
the machine is shows in the CPU seconds beside the clock.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.delta import NAME, ROOT, World

_EVENTS, _FOLLOWS, _DISTINCT = 20, 2, 2000


class Spent(NamedTuple):
    """What a run took: seconds of the clock and of the processor, most memory in MB."""

    clock: float
    cpu: float
    memory: float


def write_tables(world: World, users: int, folder: Path) -> None:
    """Writes the tables of some users."""
    folder.mkdir()
    random = np.random.default_rng(users)
    names = [f"u{user}" for user in range(users)]
    item = random.integers(world.items, size=users * _EVENTS)
    pq.write_table(
        pa.table(
            {
                "user_id": np.repeat(names, _EVENTS),
                "item_id": [f"pin{row}" for row in item],
                "timestamp": 1_700_000_000 + random.integers(86_400, size=len(item)),
                "action": np.full(len(item), "like"),
            }
        ),
        folder / "engagements.parquet",
    )
    topic = random.integers(500, size=users * _FOLLOWS)
    follows = {"user_id": np.repeat(names, _FOLLOWS), "topic": [f"topic{t}" for t in topic]}
    pq.write_table(pa.table(follows), folder / "follows.parquet")
    pq.write_table(world.table(np.arange(10)), folder / "items.parquet")


def run(bundle: Path, tables: Path, out: str) -> Spent:
    """Runs the command."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cli", "candidates", "--bundle", str(bundle)),
            *("--data", str(tables), "--out", out),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"tessera candidates ended with {os.waitstatus_to_exitcode(status)}")
    seconds = time.perf_counter() - started
    return Spent(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, nargs=2, default=[4000, 16_000])
    parser.add_argument("--out", help="folder or URL of the candidates; a temporary one without")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        world = World(arguments.items, [0.0], work, _DISTINCT)
        world.publish()
        print("| users | seconds | CPU s | most memory, MB |\n|---:|---:|---:|---:|")
        spent = []
        for users in arguments.users:
            write_tables(world, users, work / f"tables-{users}")
            place = f"{arguments.out or work}/candidates-{users}"
            spent.append(run(work / "serving" / NAME, work / f"tables-{users}", place))
            clock, cpu, memory = spent[-1]
            print(f"| {users:,} | {clock:.1f} | {cpu:.1f} | {memory:,.0f} |", flush=True)
        more = arguments.users[1] - arguments.users[0]
        clock, cpu = spent[1].clock - spent[0].clock, spent[1].cpu - spent[0].cpu
        print(f"\n{more / clock:,.0f} users/s, {more / cpu:,.0f} users per CPU second")


if __name__ == "__main__":
    main()
