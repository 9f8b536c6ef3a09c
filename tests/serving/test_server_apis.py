"""The two APIs in detail: names, errors, metadata, defaults, metrics."""

from __future__ import annotations

import http.client
import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from werkzeug.wrappers import Response

from core.errors import BundleError, ConfigError, DataError
from serving.server.engine import Engine
from serving.server.errors import RequestError
from serving.server.http import HttpServer, check_port, create_app
from serving.server.session import WARMUP_FILE
from serving.server.source import OneBundle
from serving.server.tensors import from_proto, to_proto
from serving.server.version import load
from tests.serving import bundles

USER = {
    "timestamp": np.array([1000], np.int64),
    "history_item_id": np.array([[b"a1"]], object),
    "history_timestamp": np.array([[9]], np.int64),
    "history_action": np.array([[b"like"]], object),
    "followed_topic": np.array([[b"t1"]], object),
}
ROW = {
    "timestamp": 1000,
    "history_item_id": ["a1"],
    "history_timestamp": [9],
    "history_action": ["like"],
    "followed_topic": ["t1"],
    "user_id": "u",
    "num_results": 3,
    "use_implicit": True,
    "use_explicit": True,
}
MODEL = f"/v1/models/{bundles.NAME}"


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as made:
        yield made


def predict(channel, inputs, signature="", name=bundles.NAME, outputs=(), **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    request.output_filter.extend(outputs)
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)


def call(server, method: str, path: str, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    text = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
    connection.request(method, path, text)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data if path.startswith("/mon") else json.loads(data)


def test_defaults_of_the_savedmodel_are_filled_in(channel):
    answer = predict(channel, USER)
    assert answer.model_spec.name == bundles.NAME
    assert answer.model_spec.version.value == 1
    assert answer.model_spec.signature_name == "serving_default"
    assert tf.make_ndarray(answer.outputs["count"]).tolist() == [bundles.RESULTS]
    assert tf.make_ndarray(answer.outputs["user_id"]).tolist() == [b""]
    assert len(answer.outputs["score"].float_val) == bundles.RESULTS, "in the typed field"


def test_only_the_wanted_outputs_are_returned(channel):
    answer = predict(channel, USER, outputs=["item_id", "count"])
    assert set(answer.outputs) == {"item_id", "count"}
    for outputs, text in ((["nope"], "alias not found"), (["count"] * 2, "duplicate output")):
        with pytest.raises(grpc.RpcError, match=text) as caught:
            predict(channel, USER, outputs=outputs)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"name": "other"}, "NOT_FOUND", "Servable not found for request: Latest(other)"),
        ({"version": 7}, "NOT_FOUND", "Servable not found for request: Specific(demo, 7)"),
        ({"label": "canary"}, "INVALID_ARGUMENT", "Unrecognized servable version label: canary"),
        ({"name": ""}, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"signature": "nope"}, "FAILED_PRECONDITION", 'Serving signature key "nope" not found'),
    ],
)
def test_unknown_names_are_answered_as_tensorflow_serving_does(channel, spec, code, text):
    with pytest.raises(grpc.RpcError) as caught:
        predict(channel, USER, **spec)
    assert caught.value.code().name == code and text in caught.value.details()


def test_metadata_holds_every_signature_with_its_defaults(channel, server):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = bundles.NAME
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError, match="at least one metadata_field"):
        stub.GetModelMetadata(request)
    request.metadata_field.append("signature_def")
    answer = stub.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    names = {"serving_default", "retrieve", "retrieve_examples", "embed_user", "embed_items"}
    names |= {"similar_items", "score_items"}
    assert set(signatures.signature_def) == names
    assert "num_results" in signatures.signature_def["retrieve"].defaults
    status, body = call(server, "GET", f"{MODEL}/metadata")
    assert status == 200 and set(body["metadata"]["signature_def"]["signature_def"]) == names
    request.metadata_field.append("weights")
    with pytest.raises(grpc.RpcError, match="Metadata field weights is not supported"):
        stub.GetModelMetadata(request)


def test_status_over_both_apis(channel, server):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = bundles.NAME
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    [state] = stub.GetModelStatus(request).model_version_status
    assert (state.version, state.state) == (1, state.AVAILABLE)
    want = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK"}}
    want["status"]["error_message"] = ""
    for path in (MODEL, f"{MODEL}/versions/1"):
        assert call(server, "GET", path) == (200, {"model_version_status": [want]})
    request.model_spec.name = "other"
    with pytest.raises(grpc.RpcError, match="Could not find any versions of model other"):
        stub.GetModelStatus(request)


def test_other_methods_say_that_they_are_not_served(channel):
    from tensorflow_serving.apis import classification_pb2

    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    for ask in (
        lambda: stub.Classify(classification_pb2.ClassificationRequest()),
        lambda: models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest()),
    ):
        with pytest.raises(grpc.RpcError, match="is not served here: ") as caught:
            ask()
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_rows_and_columns_answer_alike(server, channel):
    status, rows = call(server, "POST", f"{MODEL}:predict", {"instances": [ROW, ROW]})
    assert status == 200 and len(rows["predictions"]) == 2
    columns = {name: [value, value] for name, value in ROW.items()}
    status, body = call(server, "POST", f"{MODEL}/versions/1:predict", {"inputs": columns})
    assert status == 200
    for row, answer in enumerate(rows["predictions"]):
        assert answer == {name: value[row] for name, value in body["outputs"].items()}
    answer = predict(channel, {**USER, "num_results": np.array([3], np.int32)})
    got = np.array(rows["predictions"][0]["score"], np.float32)
    np.testing.assert_array_equal(got, tf.make_ndarray(answer.outputs["score"])[0])
    assert rows["predictions"][0]["item_id"] == [
        each.decode() for each in answer.outputs["item_id"].string_val
    ]


def test_one_input_and_one_output_need_no_names(server):
    body = {"signature_name": "retrieve_examples", "instances": [{"b64": ""}]}
    status, answer = call(server, "POST", f"{MODEL}:predict", body)
    assert status == 400 and "timestamp" in answer["error"]
    items = {"item_id": ["a1", {"b64": "YTE="}], "item_topics": [["t0"], ["t0"]]}
    body = {"signature_name": "embed_items", "inputs": items}
    status, answer = call(server, "POST", f"{MODEL}:predict", body)
    assert status == 200 and answer["outputs"][0] == answer["outputs"][1]
    rows = [{"item_id": "a1", "item_topics": ["t0"]}]
    body = {"signature_name": "embed_items", "instances": rows}
    assert call(server, "POST", f"{MODEL}:predict", body)[1]["predictions"] == [
        answer["outputs"][0]
    ]


def without(name: str) -> dict:
    return {key: value for key, value in ROW.items() if key != name}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error: "),
        (b"\xff", "JSON Parse error: "),
        (b"[" * 100_000, "JSON Parse error: "),
        (b"[]", "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": {}, "instances": []}, "expecting only one of 'inputs' or 'instances'"),
        ({"instances": {}}, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [1]}, "instances is a plain list, but expecting list of objects"),
        ({"instances": [ROW, 1]}, "Expecting object but got list at item 1"),
        ({"instances": [without("num_results")]}, "keys must be equal to: followed_topic,"),
        ({"inputs": 1}, "inputs is a plain value/list"),
        ({"inputs": without("timestamp")}, "Missing named input: "),
        ({"signature_name": 3, "instances": [ROW]}, "'signature_name' key must be a string"),
        ({"signature_name": "no", "instances": [ROW]}, 'Serving signature name: "no" not found'),
        ({"instances": [{**ROW, "timestamp": "x"}]}, "Type: String is not of expected type: int64"),
        ({"instances": [{**ROW, "timestamp": 1.5}]}, "Type: Number is not of expected type: int64"),
        ({"instances": [{**ROW, "timestamp": 2**63}]}, "is not of expected type: int64"),
        ({"instances": [{**ROW, "num_results": 2**31}]}, "is not of expected type: int32"),
        ({"instances": [{**ROW, "use_implicit": 1}]}, "is not of expected type: bool"),
        ({"instances": [{**ROW, "user_id": None}]}, "Type: Null is not of expected type: string"),
        ({"instances": [{**ROW, "user_id": {"b64": "?"}}]}, "Unable to base64 decode"),
        ({"instances": [{**ROW, "user_id": {"x": "y"}}]}, "not formatted correctly for base64"),
        ({"instances": [{**ROW, "timestamp": [5]}]}, "must have the shape [?], not [1, 1]"),
        (
            {"instances": [ROW, {**ROW, "history_item_id": ["a1", "a2"]}]},
            "pad the shorter ones",
        ),
        ({"instances": [{**ROW, "history_item_id": ["a", ["b"]]}]}, "at unexpected level"),
        ({"instances": [{**ROW, "history_item_id": [["b"], "a"]}]}, "at incorrect level"),
        ({"instances": [{**ROW, "history_action": []}]}, "must have the same shape"),
        ({"instances": [ROW] * 9000}, "send 8192 at most"),
    ],
)
def test_bad_bodies_are_refused_with_the_reason(server, body, text):
    status, answer = call(server, "POST", f"{MODEL}:predict", body)
    assert status == 400 and text in answer["error"], answer


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/models", 400, "Malformed request: GET /v1/models"),
        ("GET", f"{MODEL}:predict", 400, "Malformed request"),
        ("POST", MODEL, 400, "Malformed request"),
        ("DELETE", MODEL, 400, "Malformed request"),
        ("GET", "/v1/models/other", 404, "Could not find any versions of model other"),
        ("GET", f"{MODEL}/versions/8", 404, "Could not find version 8 of model demo"),
        ("GET", f"{MODEL}/versions/{'9' * 30}", 400, "Failed to convert version"),
        ("POST", f"{MODEL}/versions/8:predict", 404, "Specific(demo, 8)"),
        ("POST", f"{MODEL}/labels/x:predict", 400, "Unrecognized servable version label: x"),
        ("POST", f"{MODEL}:classify", 501, "use :predict"),
        ("GET", "/nothing", 404, "no such page"),
    ],
)
def test_bad_paths_are_refused_with_the_reason(server, method, path, status, text):
    got, answer = call(server, method, path, {"instances": [ROW]} if method == "POST" else None)
    assert got == status and text in answer["error"]


def test_metrics_count_requests_by_version_signature_and_code(server, channel):
    predict(channel, USER)
    call(server, "POST", f"{MODEL}:predict", {})
    status, text = call(server, "GET", "/monitoring/prometheus/metrics")
    assert status == 200
    for line in (
        b'tessera_requests_total{api="grpc",code="OK",model="demo",signature="serving_default",'
        b'version="1"}',
        b'tessera_requests_total{api="rest",code="INVALID_ARGUMENT",model="demo",signature="",'
        b'version="1"}',
        b"tessera_request_seconds_bucket{",
        b'tessera_loaded_version{model="demo",version="1"} 1.0',
        b'tessera_loads_total{model="demo",version="1"} 1.0',
        b"process_resident_memory_bytes ",
    ):
        assert line in text


def test_routes_of_other_packages_are_answered_beside_the_apis(server):
    def fail(request):
        raise {"/data": DataError("no table"), "/deep/x": RuntimeError("secret")}[request.path]

    routes = {
        "/": lambda request: Response("index"),
        "/deep/*": lambda request: Response("deep"),
        "/deep/x": fail,
        "/deep/er/*": lambda request: Response(request.path),
        "/data": fail,
    }
    http_server = HttpServer("127.0.0.1", 0, create_app(server.engine, routes))
    http_server.start()
    try:

        def get(path):
            connection = http.client.HTTPConnection("127.0.0.1", http_server.port, timeout=60)
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

        assert get("/") == (200, "index")
        assert get("/deep/a") == (200, "deep") and get("/deep/er/z") == (200, "/deep/er/z")
        assert get("/data") == (400, '{"error": "no table"}')
        status, text = get("/deep/x")
        assert status == 500 and "secret" not in text
        assert get(MODEL)[0] == 200 and get("/else")[0] == 404
    finally:
        assert http_server.stop(10.0)
    with pytest.raises(ConfigError, match="/v1/models"):
        create_app(server.engine, {"/v1/models": fail})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST", "rebound.example"])
def test_a_server_of_this_machine_is_asked_under_its_own_names_alone(server, host):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    connection.request("GET", MODEL, headers={"Host": f"{host}:{server.rest_port}"})
    response = connection.getresponse()
    text = response.read().decode()
    assert response.status == (403 if host == "rebound.example" else 200), text
    assert response.status == 200 or "rebound.example" in text


def test_a_port_in_use_is_named(server):
    with pytest.raises(ConfigError, match=str(server.rest_port)):
        check_port("127.0.0.1", server.rest_port)


@pytest.mark.parametrize(
    "value",
    [
        np.array([[1, 2], [3, 4]], np.int64),
        np.array([1.5, -0.0, np.nan], np.float32),
        np.array([], np.int32).reshape(0, 3),
        np.array([True, False]),
        np.array([[b"a", b""], [b"\xff", b"c"]], object),
    ],
)
def test_tensors_survive_both_ways_of_writing_them(value):
    for proto in (to_proto(value), tf.make_tensor_proto(value)):
        got = from_proto("x", proto)
        assert got.shape == value.shape
        np.testing.assert_array_equal(got, value)


def test_values_that_do_not_fit_their_shape_are_refused_without_making_room_for_them():
    proto = tf.make_tensor_proto(np.array([1, 2, 3], np.int64))
    for sizes in ([2], [1 << 40], [1 << 20, 1 << 20, 0, 1 << 40], [-1]):
        del proto.tensor_shape.dim[:]
        for size in sizes:
            proto.tensor_shape.dim.add().size = size
        with pytest.raises(RequestError):
            from_proto("x", proto)


def warm(folder, records: list[bytes]):
    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    bundles.reseal(folder)


def log(**inputs) -> bytes:
    record = prediction_log_pb2.PredictionLog()
    request = record.predict_log.request
    request.model_spec.name = bundles.NAME
    for key, value in {**USER, **inputs}.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return record.SerializeToString()


def test_warm_up_requests_are_replayed_and_one_that_fails_fails_the_load(store, model_dir):
    folder = bundles.place(store[1], model_dir)
    warm(folder, [log(), log()])
    loaded = load(folder)
    assert loaded.session.warm_up(folder) == 2
    assert loaded.close()
    warm(folder, [log(), log(extra=np.array([1]))])
    with pytest.raises(BundleError, match="warm-up fails"):
        load(folder)


@pytest.mark.nightly
def test_warm_up_records_that_are_no_requests_fail_the_load(store, model_dir):
    folder = bundles.place(store[1], model_dir)
    session_log = prediction_log_pb2.PredictionLog()
    session_log.session_run_log.SetInParent()
    for records, text in (
        ([b"\xff\xff"], "record 1 is not a PredictionLog"),
        ([session_log.SerializeToString()], "record 1 is not a Predict request"),
        ([log(timestamp=np.array([], np.int64))] * 1, "warm-up fails"),
    ):
        warm(folder, records)
        with pytest.raises(BundleError, match=text):
            load(folder)
    warm(folder, [])
    (folder / WARMUP_FILE).write_bytes(b"")
    bundles.reseal(folder)
    assert load(folder).close()


def test_too_many_warm_up_records_fail_the_load(store, model_dir, monkeypatch):
    monkeypatch.setattr("serving.server.session.MAX_WARMUP_RECORDS", 3)
    folder = bundles.place(store[1], model_dir)
    warm(folder, [log()] * 4)
    with pytest.raises(BundleError, match="more than 3 warm-up records"):
        load(folder)


def test_a_bundle_that_does_not_say_what_to_serve_is_refused(store, model_dir):
    folder = bundles.place(store[1], model_dir)
    (folder / "index.json").write_text("{}")
    bundles.reseal(folder)
    with pytest.raises(BundleError, match="does not say what to serve"):
        load(folder)
    engine = Engine(OneBundle(folder))
    assert engine.name == bundles.NAME
