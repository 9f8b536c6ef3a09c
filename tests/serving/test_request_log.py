"""The request log: what is written, by the hour and whole; what is read again."""

from __future__ import annotations

import time
import uuid

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.user_ids import IdKey
from core.errors import DataError
from core.storage import ObjectStore
from serving.request_log.reader import LogWindow, local_log, read_log
from serving.request_log.record import SCHEMA, records
from serving.request_log.writer import RequestLog
from serving.server.engine import Engine
from serving.server.process import ModelServer
from serving.server.source import OneBundle
from serving.server.tensors import to_proto
from tests.serving import bundles
from tests.serving.test_server_apis import MODEL, ROW, USER, call, predict

KEY = IdKey(b"0123456789abcdef")
INPUTS = {
    "user_id": np.array([b"u1", b""], object),
    "timestamp": np.array([100, 200], np.int64),
    "history_item_id": np.array([[b"a", b"b"], [b"", b""]], object),
    "history_timestamp": np.array([[9, 8], [0, 0]], np.int64),
    "history_action": np.array([[b"like", b""], [b"", b""]], object),
    "followed_topic": np.array([[b"t"], [b""]], object),
}
OUTPUTS = {
    "item_id": np.array([[b"x", b"y", b""], [b"", b"", b""]], object),
    "slot_kind": np.array([[0, 1, -1], [-1, -1, -1]], np.int32),
    "score": np.zeros((2, 3), np.float32),
}
FIRST = {
    "timestamp": 100,
    "history_item_id": ["a", "b"],
    "history_timestamp": [9, 8],
    "history_action": ["like", ""],
    "followed_topic": ["t"],
    "item_id": ["x", "y"],
    "kind": ["implicit", "explicit"],
}


def write(folder, *moments, rate=1.0, key=None):
    log = RequestLog(folder, rate, key)
    for moment in moments:
        log._queue.put(_entry(moment))
    log.close()
    return log


def _entry(moment):
    from serving.request_log.writer import _Entry

    return _Entry(moment, 3, "retrieve", INPUTS, OUTPUTS, 2)


def test_a_row_holds_raw_features_without_pads_and_nobodys_id():
    table = records(12.5, 3, "retrieve", INPUTS, OUTPUTS)
    assert table.schema == SCHEMA
    first, second = table.to_pylist()
    assert first["time"].timestamp() == 12.5 and first["version"] == 3
    assert {name: first[name] for name in FIRST} == FIRST
    assert first["user"] is None and second["user"] is None
    assert second["item_id"] == second["kind"] == second["history_item_id"] == []


def test_a_key_hashes_users_and_another_key_otherwise():
    one = records(0.0, 1, "", INPUTS, OUTPUTS, KEY)["user"].to_pylist()
    assert one == [KEY.hashed("u1"), None]
    other = IdKey(KEY.secret + b"!")
    assert records(0.0, 1, "", INPUTS, OUTPUTS, other)["user"].to_pylist() != one


def test_serialised_examples_are_logged_like_dense_inputs():
    example = tf.train.Example()
    for name in ("history_item_id", "history_action", "followed_topic"):
        kept = [v for v in INPUTS[name][0].tolist() if v]
        example.features.feature[name].bytes_list.value.extend(kept)
    example.features.feature["timestamp"].int64_list.value.append(100)
    example.features.feature["history_timestamp"].int64_list.value.extend([9, 8])
    inputs = {"examples": np.array([example.SerializeToString()], object)}
    outputs = {name: value[:1] for name, value in OUTPUTS.items()}
    [row] = records(0.0, 1, "retrieve_examples", inputs, outputs).to_pylist()
    assert {name: row[name] for name in FIRST} == FIRST | {"history_action": ["like"]}


def test_parts_lie_by_the_hour_and_are_read_again(tmp_path):
    write(tmp_path, 3599.0, 3600.0, 7300.0)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        f"hour=1970-01-01T0{hour}" for hour in range(3)
    ]
    log = read_log(tmp_path)
    assert log.total == log.rows.num_rows == 6 and log.rows.schema == SCHEMA
    inside = read_log(tmp_path, LogWindow(3600, 7300)).rows
    assert inside["time"].cast(pa.int64()).to_pylist() == [3_600_000] * 2


def test_a_log_under_a_url_is_read_by_the_hours_of_the_window(tmp_path):
    write(tmp_path / "log", 3599.0, 3600.0, 7300.0)
    url = f"memory://log-{uuid.uuid4().hex}"
    store = ObjectStore(url)
    for path in (tmp_path / "log").rglob("*.parquet"):
        store.upload(path, path.relative_to(tmp_path / "log").as_posix())
    with local_log(url) as folder:
        assert read_log(folder).rows.equals(read_log(tmp_path / "log").rows)
    with local_log(url, LogWindow(3600, 7200)) as folder:
        assert [path.name for path in folder.iterdir()] == ["hour=1970-01-01T01"]
    assert not folder.exists()
    with (
        pytest.raises(DataError, match=r"memory://log-.*in this window"),
        local_log(url, LogWindow(90_000)),
    ):
        pass


def test_a_large_log_is_sampled_evenly_and_the_same_way(tmp_path):
    write(tmp_path, *range(0, 36_000, 600))
    log, again = read_log(tmp_path, limit=30), read_log(tmp_path, limit=30)
    assert log.total == 120 and log.rows.num_rows == 30
    assert log.rows.equals(again.rows)
    assert len(set(log.rows["time"].to_pylist())) > 10


def test_a_share_is_logged_and_other_signatures_are_not(tmp_path):
    log = RequestLog(tmp_path, rate=0.0)
    log.record(1, "retrieve", INPUTS, OUTPUTS)
    log.close()
    log = RequestLog(tmp_path)
    log.record(1, "similar_items", {"item_id": OUTPUTS["item_id"]}, OUTPUTS)
    log.record(1, "retrieve", INPUTS, {"item_id": OUTPUTS["item_id"]})
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_or_cannot_be_written_is_dropped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.request_log.writer._MOST_WAITING_ROWS", 1)
    log = RequestLog(tmp_path)
    log.record(1, "retrieve", INPUTS, OUTPUTS)
    assert log.dropped == 2
    log.close()
    (tmp_path / "hour=1970-01-01T00").write_text("a file where a folder belongs")
    assert write(tmp_path, 5.0, 3605.0).dropped == 2
    assert [p.parent.name for p in tmp_path.rglob("*.parquet")] == ["hour=1970-01-01T01"]


def test_both_apis_are_logged(store, tmp_path):
    log = RequestLog(tmp_path, user_key=KEY)
    server = ModelServer(Engine(OneBundle(store[1]), request_log=log))
    server.start()
    began = time.time()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        answer = predict(channel, USER, "retrieve")
    assert call(server, "POST", f"{MODEL}:predict", {"instances": [ROW]})[0] == 200
    assert server.stop(60.0)
    rows = read_log(tmp_path).rows.to_pylist()
    assert [row["user"] for row in rows] == [None, KEY.hashed("u")]
    shown = [v.decode() for v in answer.outputs["item_id"].string_val]
    assert rows[0]["item_id"] == shown and len(shown) == bundles.RESULTS
    assert rows[1]["item_id"] == shown[:3], "the same user, three results"
    assert all(began <= row["time"].timestamp() + 0.01 <= time.time() + 0.01 for row in rows)
    assert {row["version"] for row in rows} == {1}


def prediction_log(moment=0, answered=True):
    log = prediction_log_pb2.PredictionLog()
    log.log_metadata.timestamp_secs = moment
    for name, value in INPUTS.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    if answered:
        log.predict_log.response.model_spec.version.value = 7
        for name, value in OUTPUTS.items():
            log.predict_log.response.outputs[name].CopyFrom(to_proto(value))
    return log.SerializeToString()


def test_prediction_logs_of_tensorflow_serving_are_read(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "log-0")) as writer:
        for text in (prediction_log(50), prediction_log(), prediction_log(answered=False)):
            writer.write(text)
    log = read_log(tmp_path)
    assert (log.total, log.skipped) == (4, 1)
    rows = log.rows.to_pylist()
    assert [row["time"].timestamp() for row in rows] == [50, 50, 100, 100]
    assert {name: rows[0][name] for name in FIRST} == FIRST
    assert [row["user"] for row in rows[:2]] == ["u1", None] and rows[0]["version"] == 7
    [hashed] = (
        read_log(tmp_path, LogWindow(until=60), limit=1, user_key=KEY).rows["user"].to_pylist()
    )
    assert hashed in (None, KEY.hashed("u1"))


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        (None, b"", "no request was logged here"),
        ("part-1.parquet", b"no Parquet", "cannot be read as a part"),
        ("log", b"no TFRecord at all", "neither a Parquet part nor a TFRecord file"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, name, content, text):
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=text):
        read_log(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_log(tmp_path / "missing")


def test_another_table_is_refused(tmp_path):
    pq.write_table(pa.table({"time": pa.array([1], pa.timestamp("ms"))}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column version"):
        read_log(tmp_path)
    pq.write_table(pa.table({"time": ["soon"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="cannot be read as a part"):
        read_log(tmp_path)
