"""Tables under a URL, and RetrievalExampleGen as TFX runs it, with artifacts wherever."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from tfx.types import standard_artifacts

from components.artifacts import DataReport
from components.config import ExampleGenConfig
from components.example_gen.executor import Executor
from core.storage import ObjectStore, is_remote
from tests.components.example_gen_oracle import DAY, Rules
from tests.components.example_gen_tables import at, config_for, write_csv
from tests.components.test_example_gen_ingest import FOLLOWS, ITEMS, RULES, log

START = 1_704_067_200  # 2024-01-01
DAYS = 4


def write_world(root: Path) -> ExampleGenConfig:
    """CSV files and one Parquet file of many row groups, with dead letters of both kinds."""
    for part in range(DAYS):
        day = f"span=2024-01-{part + 1:02d}"
        events = [e._replace(time=START + part * DAY + e.time) for e in log(400, part)]
        write_csv(root / "engagements" / day / "part-0.csv", "engagements", events)
        items = [(item, "|".join(topics)) for item, topics in ITEMS.items()]
        write_csv(root / "items" / day / "part-0.csv", "items", items)
        write_csv(root / "follows" / day / "part-0.csv", "follows", at(START, FOLLOWS))
        with open(root / "items" / day / "part-0.csv", "ab") as file:
            file.write(b"i1,t1|t2|t3\r\n")
        with open(root / "engagements" / day / "part-0.csv", "ab") as file:
            file.write(b"u1,i1\r\nu\xff1,i1,1,like,,\r\n")
    _as_parquet(root / "engagements/span=2024-01-02/part-0.csv")
    rules = Rules(**(RULES._asdict() | {"strategy": "time", "eval_days": 1, "validation_days": 1}))
    data = {"root": str(root), "run_date": f"2024-01-{DAYS:02d}", "window_days": DAYS}
    return config_for(
        root, rules, data=data, time_unit="seconds", bucket_rows=300, max_bad_share=0.9
    )


def _as_parquet(path: Path) -> None:
    text = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join(text[:-2]) + b"\n")
    names = text[0].decode().split(",")
    types = {name: pa.string() for name in names} | {"timestamp": pa.int64()}
    convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True)
    table = pacsv.read_csv(path, convert_options=convert)
    bad = table.slice(0, 1).set_column(2, "timestamp", pa.array([-5], pa.int64()))
    table = pa.concat_tables([table.slice(0, 250), bad, table.slice(250)])
    pq.write_table(table, path.with_suffix(".parquet"), row_group_size=64)
    path.unlink()


def executed(
    config: ExampleGenConfig, root: str, places: Mapping[str, str], args: list[str]
) -> dict[str, Any]:
    """Runs the executor.

    Args:
      config: what `write_world` returned.
      root: folder or URL of the tables.
      places: folders or URLs `examples`, `report`, `kept`.
      args: Beam's.

    Returns:
      Everything that it wrote, without what differs between places.
    """
    examples, report = standard_artifacts.Examples(), DataReport()
    examples.uri, report.uri = places["examples"], places["report"]
    context = Executor.Context(
        beam_pipeline_args=[*args, "--sdk_container_image=none"], tmp_dir="none", unique_id="1"
    )
    properties = {
        "data_root": root,
        "run_date": str(config.data.run_date),
        "config_json": config.canonical_json(),
        "dead_letter_dir": places["kept"],
    }
    Executor(context).Do({}, {"examples": [examples], "report": [report]}, properties)
    return written(places, root)


def written(places: Mapping[str, str], root: str) -> dict[str, Any]:
    """What lies in the places: examples, report, dead letters, and the names of the rest."""
    import json

    examples, report = content(places["examples"]), content(places["report"])
    figures = json.loads(report.pop("data_report.json"))
    figures.pop("fingerprint")  # another one for a folder
    letters = sorted(
        line.replace(root, "ROOT")
        for name in sorted(report)
        for line in report.pop(name).decode().splitlines()
        if name.startswith("dead_letter/")
    )
    return {"files": examples, "report": figures, "letters": letters, "rest": report}


def content(place: str) -> dict[str, bytes]:
    """Name -> bytes of every file in a folder or below a URL."""
    if is_remote(place):
        store = ObjectStore(place)
        return {name: store.read(name) for name in store.list()}
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in sorted(Path(place).rglob("*"))
        if path.is_file()
    }


def places_below(base: str) -> dict[str, str]:
    return {name: f"{base}/{name}" for name in ("examples", "report", "kept")}


@contextmanager
def elsewhere(folder: Path) -> Iterator[Path]:
    """A current folder and a TMPDIR in which nothing may stay; yields the latter."""
    import tempfile

    before, tmp = os.getcwd(), folder / "tmp"
    tmp.mkdir(parents=True)
    (folder / "cwd").mkdir()
    os.chdir(folder / "cwd")
    kept, tempfile.tempdir = tempfile.tempdir, str(tmp)
    try:
        yield tmp
    finally:
        os.chdir(before)
        tempfile.tempdir = kept
