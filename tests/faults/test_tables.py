"""Faults 6, 7, 11, 17 and 25 of the input tables, as whoever runs the pipeline meets them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml
from tfx.orchestration.pipeline import Pipeline

from components.index_builder.alignment import check_alignment
from components.index_builder.catalogue import embed_catalogue
from core.errors import DataError
from pipeline.config import RunConfig
from pipeline.dag import Paths, build_components
from tests.components.example_gen_oracle import Event, Rules
from tests.components.example_gen_tables import config_for, ingest, write_tables
from tests.components.raw_examples import corpus_item, write_split
from tests.input_tables.tiny import table_bytes, write_single
from tests.markers import nightly
from trainer.retrieval.search import ExactSearch

REPOSITORY = Path(__file__).resolve().parents[2]
NOW = 1_700_000_000
ITEMS = {f"i{k}": ["t"] for k in range(5)}


def tessera(*arguments: object) -> subprocess.CompletedProcess:
    return _run("-m", "pipeline", *arguments)


#: The interpreter may lie where only root can read: everything is loaded before the change.
_AS_NOBODY = """
import os, sys
from cli.main import main
def call(words):
    try:
        main(words)
    except SystemExit as stop:
        return stop.code
with open(os.devnull, "w") as sys.stdout:
    loaded = call(["data", "check", "--root", sys.argv[1]])
sys.stdout = sys.__stdout__
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(loaded or call(sys.argv[2:]))
"""


def tessera_as_nobody(loading: Path, *arguments: object) -> subprocess.CompletedProcess:
    """Runs a command without privileges; `loading` holds good tables."""
    return _run("-c", _AS_NOBODY, loading, *arguments)


def _run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.fault(6, 72)
def test_whatever_trains_or_publishes_waits_for_the_gate(tmp_path):
    """So that an empty log, which the gate refuses, leaves what is served alone."""
    places = {name: str(tmp_path) for name in Paths.__dataclass_fields__}
    config = RunConfig.model_validate({"data": {"root": str(tmp_path)}})
    nodes = build_components(config, Paths(**places | {"run_date": ""}))
    above: dict[str, set[str]] = {}
    for node in Pipeline("p", str(tmp_path), components=nodes).components:
        direct = {each.id for each in node.upstream_nodes}
        above[node.id] = direct | {name for each in direct for name in above[each]}
    waiting = {name for name, found in above.items() if "DataGate" in found}
    assert waiting >= {"Transform", "Trainer", "IndexBuilder", "RetrievalEvaluator", "Pusher"}
    assert above["Pusher"] >= {"RetrievalEvaluator", "IndexBuilder", "Trainer", "DataGate"}


@pytest.mark.fault(7)
def test_all_problems_of_all_tables_come_in_one_message_with_file_and_line(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    (root / "engagements.csv").write_text("\nuser_id,item_id,item_id,action\nu,i,i,like\n")
    pq.write_table(pa.table({"item_id": [1], "topics": [1.5]}), root / "items.parquet")
    (root / "follows.csv").write_bytes(b"")
    conf = tmp_path / "run.yaml"
    conf.write_text(yaml.safe_dump({"data": {"root": str(root)}, "work_dir": str(tmp_path / "w")}))
    expected = [
        f"{root}/engagements.csv:2: required column 'timestamp' is missing",
        f"{root}/engagements.csv:2: column 'item_id' appears 2 times",
        f"{root}/items.parquet:schema: column 'item_id' must be a string",
        f"{root}/items.parquet:schema: column 'topics' must be a list of strings",
        f"{root}/follows.csv:1: the file is empty",
    ]
    set_ks = ("--set", "evaluator={ks: [1], primary_metric: mrr, thresholds: {mrr: {min: 0}}}")
    for words in (
        ("data", "check", "--root", root),
        ("run", "--conf", conf, *set_ks, "--dry-run"),
    ):
        done = tessera(*words)
        assert done.returncode == 2
        for problem in expected:
            assert problem in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    with pytest.raises(DataError) as caught:
        ingest(config_for(root), tmp_path / "out")
    assert all(problem in str(caught.value) for problem in expected)


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda time: time * 1000, "too large for seconds; it looks like milliseconds"),
        *nightly(
            [lambda time: -time, "timestamp is negative"],
            [lambda time: time + 40 * 365 * 86_400, "timestamp is in the future"],
        ),
    ],
)
def test_a_log_in_another_epoch_is_refused_with_the_reason(tmp_path, change, reason):
    events = [Event(f"u{k % 3}", f"i{k % 5}", change(NOW + k), "like") for k in range(50)]
    root = write_tables(tmp_path / "data", events, ITEMS)
    with pytest.raises(DataError, match=reason) as caught:
        ingest(config_for(root, time_unit="seconds"), tmp_path)
    assert "50 of 50 rows" in str(caught.value)


@pytest.mark.fault(11)
def test_events_out_of_order_with_equal_times_have_one_order(tmp_path):
    events = [Event("u", f"i{k}", 5 + (k == 4), "like") for k in range(5)]
    wanted = None
    for number, rows in enumerate((events, events[::-1], events[2:] + events[:2])):
        out = tmp_path / str(number)
        root = write_tables(out / "data", rows, ITEMS)
        ingest(config_for(root, Rules()), out)
        found = {path.name: path.read_bytes() for path in (out / "examples").rglob("*.parquet")}
        wanted = wanted or found
        assert found == wanted


NUMBERS = ["nan", "NaN", "inf", "-Infinity", "1e400", "5e-324", "1e-310", "0.1", "1,5", "१२"]


@pytest.mark.fault(17)
def test_numbers_that_are_not_whole_never_become_times(tmp_path):
    good = [Event(f"u{k % 3}", f"i{k % 5}", k, "like") for k in range(20)]
    bad = [Event("u1", "i1", text, "like") for text in NUMBERS]
    root = write_tables(tmp_path / "data", [*good, *bad], ITEMS)
    report = ingest(config_for(root, max_bad_share=0.5), tmp_path)
    assert report["dead_letter_reasons"] == {"timestamp is not a whole number": len(NUMBERS)}
    assert report["events"]["total"] == len(good)


@pytest.mark.fault(17)
@pytest.mark.parametrize("values", [[np.nan], [np.inf], [5e-324], [1.0]])
def test_a_column_of_floating_point_times_is_refused(tmp_path, values):
    root = write_tables(tmp_path / "data", [], ITEMS)
    (root / "engagements.csv").unlink()
    columns = {"user_id": ["u"], "item_id": ["i1"], "timestamp": values, "action": ["like"]}
    pq.write_table(pa.table(columns), root / "engagements.parquet")
    with pytest.raises(DataError, match=r"parquet:schema: column 'timestamp' must be int64"):
        ingest(config_for(root), tmp_path)


class Given(tf.Module):
    """Embeds item number n as the n-th of given vectors."""

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__()
        self.vectors = tf.constant(vectors, tf.float32)

    def embed_items(self, item_id, item_topics):
        return {"embeddings": tf.gather(self.vectors, tf.strings.to_number(item_id, tf.int32))}


@pytest.mark.fault(17)
def test_denormal_vectors_are_searched_without_turning_into_nan(tmp_path):
    vectors = np.array([[1.0, 0.0], [1e-40, 1e-42], [0.0, 1e-45], [0.0, 1.0]], np.float32)
    write_split(tmp_path, "corpus", [corpus_item(str(n), []) for n in range(4)])
    model = Given(vectors)
    catalogue = embed_catalogue(model, str(tmp_path), 10)
    assert check_alignment(model, catalogue) == 4
    search = ExactSearch(tf.Variable(catalogue.embeddings, trainable=False))
    rows, scores = search.search(tf.constant(vectors), tf.constant(4))
    assert np.isfinite(scores.numpy()).all()
    assert rows.numpy()[0, 0] == 0 and rows.numpy()[3, 0] == 3


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def open_folder():
    """A folder that another user can reach; pytest's own is closed to others."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def write_day(root: Path) -> Path:
    """Tables of one span; returns the file of engagements."""
    for table in ("engagements", "items"):
        folder = root / table / "span=2024-01-01"
        folder.mkdir(parents=True)
        (folder / "part-0.csv").write_bytes(table_bytes(table))
    return root / "engagements" / "span=2024-01-01" / "part-0.csv"


@pytest.mark.fault(25)
@needs_root
@pytest.mark.parametrize(
    ("layout", "closed"),
    [("single", "file"), ("spans", "folder"), *nightly(["single", "folder"], ["spans", "file"])],
)
def test_without_permission_the_path_is_named(open_folder, layout, closed):
    good, root = write_single(open_folder / "good"), open_folder / "data"
    words = ["data", "check", "--root", root]
    if layout == "single":
        target = write_single(root) / "items.csv"
    else:
        target = write_day(root)
        words += ["--run-date", "2024-01-01", "--window-days", 1]
    target = target if closed == "file" else target.parent
    target.chmod(0)
    assert tessera(*words).returncode == 0, "root reads it nevertheless"
    done = tessera_as_nobody(good, *words)
    assert done.returncode == 2, done.stderr
    assert "Permission denied" in done.stderr and str(target) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.fault(25)
@needs_root
def test_a_read_only_folder_of_another_owner_is_enough(open_folder):
    root = write_single(open_folder / "data")
    for path in root.iterdir():
        path.chmod(0o444)
    root.chmod(0o555)
    before = sorted(os.listdir(root))
    done = tessera_as_nobody(root, "data", "check", "--root", root)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(root)) == before


@pytest.mark.fault(25)
@pytest.mark.parametrize("place", ["", "engagements", "engagements/span=2024-01-01", "part"])
def test_a_link_that_leads_to_itself_is_named(tmp_path, place):
    root = tmp_path / "data"
    day = root / "engagements" / "span=2024-01-01"
    loop = day / "part-0.csv" if place == "part" else root / place
    loop.parent.mkdir(parents=True, exist_ok=True)
    loop.symlink_to(loop)
    data = {"root": str(root), "layout": "spans", "run_date": "2024-01-01", "window_days": 1}
    with pytest.raises(DataError, match="symbolic links") as caught:
        ingest(config_for(root, data=data), tmp_path / "out")
    assert str(root) in str(caught.value)
