"""The configuration files of TensorFlow Serving are what its protos and flags accept."""

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from tests.deploy.deployment_files import SCHEMAS, TF_SERVING, command_lines, documents, kserve

KNOWN_FLAGS = set((SCHEMAS / "tf_serving_flags.txt").read_text().splitlines()[1:])


def message(name, **fields):
    """A proto message class from `{field: (number, type)}`.

    The stubs of these two messages are in no package: the fields are those of
    session_bundle_config.proto and monitoring_config.proto.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto",
        package="tessera.test",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    names = {name: fields, "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")}}
    for message_name, message_fields in names.items():
        proto = file.message_type.add(name=message_name)
        for field_name, (number, kind) in message_fields.items():
            added = proto.field.add(name=field_name, number=number, label=field.LABEL_OPTIONAL)
            if kind.startswith("."):
                added.type, added.type_name = field.TYPE_MESSAGE, kind
            elif kind.startswith("repeated "):
                added.label = field.LABEL_REPEATED
                added.type = getattr(field, "TYPE_" + kind.split()[1].upper())
            else:
                added.type = getattr(field, "TYPE_" + kind.upper())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.MessageFactory(pool).GetPrototype(
        pool.FindMessageTypeByName(f"tessera.test.{name}")
    )


INT64 = ".google.protobuf.Int64Value"
BATCHING = message(
    "BatchingParameters",
    max_batch_size=(1, INT64),
    batch_timeout_micros=(2, INT64),
    max_enqueued_batches=(3, INT64),
    num_batch_threads=(4, INT64),
    thread_pool_name=(5, ".google.protobuf.StringValue"),
    allowed_batch_sizes=(6, "repeated int64"),
    pad_variable_length_inputs=(7, "bool"),
)
MONITORING = message("MonitoringConfig", prometheus_config=(1, ".tessera.test.PrometheusConfig"))


def parse(name, kind):
    return text_format.Parse((TF_SERVING / name).read_text(), kind())


def models(text):
    """The models of a ModelServerConfig; labels name versions that are loaded."""
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    for model in config.model_config_list.config:
        assert model.model_platform == "tensorflow"
        policy = model.model_version_policy
        if model.version_labels:
            assert policy.WhichOneof("policy_choice") == "specific"
            assert set(model.version_labels.values()) <= set(policy.specific.versions)
    return list(config.model_config_list.config)


def test_the_example_of_the_models_file_is_one():
    (model,) = models((TF_SERVING / "models.config").read_text())
    assert model.name == "tessera" and model.base_path == "/models/tessera"
    assert dict(model.version_labels) == {"stable": 7, "canary": 8}


def test_kserve_pins_one_version_per_revision():
    found = [d for _, d in kserve() if d["kind"] == "ConfigMap"]
    assert len(found) == 2
    for config_map in found:
        (model,) = models(config_map["data"]["models.config"])
        (version,) = model.model_version_policy.specific.versions
        assert model.name == "tessera" and model.base_path.startswith("/mnt/models")
        assert config_map["metadata"]["name"].endswith(f"-version-{version}")


def test_batching_never_pads():
    batching = parse("batching.config", BATCHING)
    assert not batching.pad_variable_length_inputs
    assert not batching.allowed_batch_sizes
    assert batching.max_batch_size.value == 32
    assert batching.num_batch_threads.value >= 1
    assert 0 < batching.batch_timeout_micros.value <= 10_000
    assert batching.max_enqueued_batches.value > 0


def test_metrics_are_on_where_prometheus_looks():
    prometheus = parse("monitoring.config", MONITORING).prometheus_config
    assert prometheus.enable and prometheus.path == "/monitoring/prometheus/metrics"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("max_batch_size: 32", BATCHING),  # a wrapper, not a number
        ("batch_size { value: 32 }", BATCHING),
        ('prometheus { path: "/x" }', MONITORING),
        ("model_config_list { config { nom: 'a' } }", model_server_config_pb2.ModelServerConfig),
    ],
)
def test_a_field_that_does_not_exist_is_found(text, kind):
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text, kind())


def test_a_label_on_a_version_that_is_not_loaded_is_found():
    text = (TF_SERVING / "models.config").read_text().replace("versions: 8", "versions: 9")
    with pytest.raises(AssertionError):
        models(text)


@pytest.mark.parametrize(("where", "given"), list(command_lines()))
def test_the_server_knows_every_flag(where, given):
    assert set(given) <= KNOWN_FLAGS, where
    assert not {*given, "enable_batchng"} <= KNOWN_FLAGS


@pytest.mark.parametrize(
    ("where", "given"), [c for c in command_lines() if c[0] not in ("overlay batching",)]
)
def test_every_server_loads_beside_the_requests_and_restarts_with_labels(where, given):
    # Without a load thread the loop that answers state changes waits for each load; without
    # the labels' flag a server that starts with labels refuses its own configuration.
    assert given["num_load_threads"] == given["num_unload_threads"] == "1"
    assert given["allow_version_labels_for_unavailable_models"] == "true"
    assert given["model_config_file"]
    assert given["monitoring_config_file"] == "/etc/tf_serving/monitoring.config"
    assert "model_name" not in given and "model_base_path" not in given  # ignored beside a file


def test_the_config_map_has_every_file_that_flags_name():
    (kustomization,) = documents(TF_SERVING / "kustomization.yaml")
    (generated,) = kustomization["configMapGenerator"]
    for name in generated["files"]:
        assert (TF_SERVING / name).exists()
    named = {
        value.removeprefix("/etc/tf_serving/")
        for _, given in command_lines()
        for value in given.values()
        if value.startswith("/etc/tf_serving/")
    }
    assert named == set(generated["files"])
