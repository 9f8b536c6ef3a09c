"""Faults 48, 50, 51 and 64, and SavedModels that must not be published."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components.config import PusherConfig, ServingValidatorConfig
from components.evaluator.replay import load_signature
from components.pusher.push import PushRequest, push
from components.serving_validator import process, sample, validate, warmup
from components.serving_validator.cases import serialised, user_inputs
from components.serving_validator.contract import broken_promises
from components.serving_validator.probe import ProbeSession, differences
from core.errors import BundleError
from tests.components import retrieval_world as fake
from tests.components.bundle_fixtures import write_tree
from tests.trainer.tiny import TRANSFORM
from trainer import features, inputs
from trainer.config import ModelConfig, RetrievalConfig, TrainerConfig
from trainer.model import RetrievalModel
from trainer.retrieval import signature
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.validation import all_slots
from trainer.vocabularies import load_vocabularies
from trainer.warm_start import load_warm_start

QUICK = ServingValidatorConfig(
    requests=4, latency_requests=2, warmup_requests=2, latency_budget_ms=60_000
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A fake model's examples and two indexes: `scann` and `exact`."""
    root = tmp_path_factory.mktemp("made")
    fake.write_world(root, n_eval=20)
    fake.build(root, "scann", kind="scann")
    fake.build(root, "exact")
    return root


def some_requests(examples, rows):
    _, table = sample.sample_requests(str(examples), 20, 1)
    return sample.request_of(table, np.asarray(rows))


# -- 48 -----------------------------------------------------------------------------------


@pytest.mark.fault(48)
def test_a_fresh_process_answers_without_importing_scann(made, tmp_path):
    """It has a copy of ScaNN's operations; this process imports `scann` and answers alike."""
    asked = some_requests(made / "examples", range(5))
    _, table = sample.sample_requests(str(made / "examples"), 20, 1)
    warmup.write_warmup(tmp_path / "warmup", table, 1)
    plan = {
        "cases": [{"signature": signature.RETRIEVE, "inputs": asked}],
        "timed": [],
        "timed_signature": signature.RETRIEVE,
    }
    folder = made / "scann" / "retriever_scann"
    findings = process.run_probe(folder, tmp_path / "warmup", plan, scann=True, timeout_s=300)
    assert findings["forbidden"] == []
    assert {op.split(">")[0] for op in findings["unknown_ops"]} == {"Scann"}
    answer = findings["answers"][0]
    assert (answer["error"], answer["unequal"], answer["gap"]) == ("", [], 0.0)
    here = load_signature(folder, scann=True)(**{n: tf.constant(v) for n, v in asked.items()})
    want = {name: value.numpy() for name, value in here.items()}
    assert differences(answer["outputs"], want) == ([], 0.0)

    with pytest.raises(process.ProbeError, match="Op type not registered 'Scann>"):
        process.run_probe(folder, tmp_path / "warmup", plan, scann=False, timeout_s=300)


# -- 50 -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(world):
    """The index of the trained world, and its stock SavedModel behind a TF1 session."""
    folder = world.model.parent / "index" / "retriever"
    return folder, ProbeSession(str(folder))


@pytest.mark.fault(50)
def test_a_trained_retriever_has_the_signatures_that_are_promised(trained):
    assert broken_promises(trained[0]) == []


def _no_signature(definitions):
    del definitions["embed_items"]


def _renamed(definitions):
    definitions["retrieve"].inputs["history"].CopyFrom(definitions["retrieve"].inputs["timestamp"])
    del definitions["retrieve"].inputs["timestamp"]


def _other_dtype(definitions):
    definitions["retrieve"].outputs["score"].dtype = tf.float64.as_datatype_enum


def _other_shape(definitions):
    definitions["embed_user"].inputs["followed_topic"].tensor_shape.dim[1].size = 7


def _one_row(definitions):
    definitions["retrieve"].outputs["item_id"].tensor_shape.dim[0].size = 1


def _no_default(definitions):
    del definitions["retrieve"].defaults["num_results"]


def _other_default(definitions):
    definitions["retrieve"].defaults["num_results"].CopyFrom(tf.make_tensor_proto([7], tf.int32))


@pytest.mark.fault(50)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_no_signature, "no signature `embed_items`"),
        (_renamed, "retrieve input `timestamp` is missing"),
        (_renamed, "retrieve input `history` is not promised"),
        (_other_dtype, "retrieve output `score` is float64, promised float32"),
        (_other_shape, "embed_user input `followed_topic` has shape [-1, 7]"),
        (_one_row, "retrieve output `item_id` has shape [1, "),
        (_no_default, "retrieve input `num_results` has no default"),
        (_other_default, "retrieve input `num_results` has default"),
    ],
)
def test_another_name_dtype_shape_or_default_is_named(made, tmp_path, change, words):
    content = (made / "exact/retriever/saved_model.pb").read_bytes()
    proto = saved_model_pb2.SavedModel.FromString(content)
    change(proto.meta_graphs[0].signature_def)
    (tmp_path / "saved_model.pb").write_bytes(proto.SerializeToString())
    assert any(words in problem for problem in broken_promises(tmp_path)), words


@pytest.mark.fault(50)
def test_a_graph_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 20)
    with pytest.raises(BundleError, match=r"saved_model\.pb cannot be read"):
        broken_promises(tmp_path)


@pytest.mark.fault(50)
@pytest.mark.parametrize("rows", [0, 1, 64])
def test_batches_of_0_1_and_64_are_answered_by_every_signature(world, trained, rows):
    table = sample.sample_requests(str(world.model.parent / "examples"), 100, 1)[1]
    one = sample.request_of(table, np.resize(np.arange(table.num_rows), max(rows, 1)))
    asked = {name: value[:rows] for name, value in one.items()}
    items = {
        "item_id": np.full(rows, b"i3", object),
        "item_topics": np.full((rows, 1), b"t0", object),
    }
    for name, request in (
        ("serving_default", asked),
        ("retrieve", asked),
        ("retrieve_examples", {"examples": serialised(asked)}),
        ("embed_user", user_inputs(asked)),
        ("embed_items", items),
    ):
        answer = trained[1].answer(name, request)
        assert {len(value) for value in answer.values()} == {rows}, name


@pytest.mark.fault(50)
def test_an_unknown_input_is_refused_and_an_unknown_feature_of_an_example_ignored(world, trained):
    asked = some_requests(world.model.parent / "examples", [0, 1])
    call = signature.bind(world.retriever, "retrieve")
    given = {name: tf.constant(value) for name, value in asked.items()}
    with pytest.raises(TypeError, match="mood"):
        call(**given, mood=tf.constant(["good", "bad"]))
    protos = []
    for content in serialised(asked):
        example = tf.train.Example.FromString(content)
        example.features.feature["mood"].bytes_list.value.append(b"good")
        protos.append(example.SerializeToString())
    strange = trained[1].answer("retrieve_examples", {"examples": np.asarray(protos, object)})
    plain = trained[1].answer("retrieve_examples", {"examples": serialised(asked)})
    assert differences(strange, plain) == ([], 0.0)


# -- 51 -----------------------------------------------------------------------------------


@pytest.mark.fault(51)
def test_training_and_serving_make_the_same_tensors_of_a_raw_example(world, trained):
    """Transform's output through the trained weights = raw features through the signature."""
    files = inputs.split_files([f"{world.transformed.examples}/Split-train/*"], "eval")
    spec = world.transformed.output().transformed_feature_spec()
    columns = inputs.read_columns(files, spec)
    model = trained_model(world, spec)
    tensors = {name: tf.constant(column) for name, column in columns.items()}
    (vectors,) = model.embed_distinct([tensors[features.transformed_name("history_item_id")]])
    embeddings, valid = (part.numpy() for part in all_slots(model, tensors, vectors))
    rows = world.raw["eval"]
    assert len(rows) == len(embeddings) >= 20
    table = sample.sample_requests(str(world.model.parent / "examples"), len(rows), 1)[1]
    served = trained[1].answer(
        "embed_user", user_inputs(sample.request_of(table, np.arange(len(rows))))
    )
    compared = 0
    for row, raw in enumerate(rows):
        if len(raw[features.FOLLOWED_TOPIC]) > model.config.explicit_slots:
            continue  # which follows get a slot is drawn, in training by another draw
        np.testing.assert_array_equal(served["slot_valid"][row], valid[row])
        both = valid[row]
        np.testing.assert_allclose(
            served["embeddings"][row][both], embeddings[row][both], atol=1e-6
        )
        compared += 1
    assert compared >= 10


def trained_model(world, spec):
    """The trained model, from the weights that its export carries."""
    output = world.transformed.output()
    vocabularies = load_vocabularies(output, TRANSFORM)
    files = inputs.split_files([f"{world.transformed.examples}/Split-train/*"], "corpus")
    topics = inputs.item_topics_table(inputs.read_columns(files, spec), vocabularies.item_rows)
    folder = world.model / "warm_start"
    config = ModelConfig.from_json((folder / "model_config.json").read_text())
    model = RetrievalModel(config, TrainerConfig(), TRANSFORM, vocabularies, topics)
    model.build_from(spec)
    load_warm_start(model, str(folder))
    return model


# -- 64 -----------------------------------------------------------------------------------


@pytest.mark.fault(64)
@pytest.mark.parametrize(("asked", "written"), [(1, 1), (8, 8), (1000, 1000), (4000, 1000)])
def test_warm_up_requests_parse_and_match_the_signature(made, tmp_path, asked, written):
    _, table = sample.sample_requests(str(made / "examples"), 20, 1)
    path = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    warmup.write_warmup(path, table, asked)
    content = (made / "exact/retriever/saved_model.pb").read_bytes()
    signatures = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def
    batches = set()
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert len(records) == written
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        definition = signatures[request.model_spec.signature_name]
        assert set(request.inputs) == set(definition.inputs)
        for name, proto in request.inputs.items():
            assert proto.dtype == definition.inputs[name].dtype
            assert len(proto.tensor_shape.dim) == len(definition.inputs[name].tensor_shape.dim)
        sizes = {proto.tensor_shape.dim[0].size for proto in request.inputs.values()}
        assert len(sizes) == 1, "a batching server wants the same first dimension everywhere"
        batches |= sizes
    assert batches == ({1} if asked == 1 else {1, warmup.LARGER_BATCH})


@pytest.mark.fault(64)
def test_warm_up_requests_are_answered(made, tmp_path):
    from components.serving_validator.probe import replay_warmup

    _, table = sample.sample_requests(str(made / "examples"), 20, 1)
    warmup.write_warmup(tmp_path / "warmup", table, 6)
    session = ProbeSession(str(made / "exact/retriever"))
    found = replay_warmup(session, str(tmp_path / "warmup"))
    assert found["records"] == 6
    assert found["signatures"] == ["retrieve", "retrieve_examples", "serving_default"]


# -- SavedModels that must not be published -----------------------------------------------


def refused(made, tmp_path, damage):
    """Damages a copy of the index; returns the failed checks and what the push said."""
    index = tmp_path / "index"
    shutil.copytree(made / "exact", index)
    damage(index)
    paths = validate.ValidatorPaths(
        str(index), str(made / "examples"), str(tmp_path / "validation")
    )
    result = validate.validate(paths, QUICK)
    assert result["validated"] is False
    request = PushRequest(
        index_dir=index,
        model_dir=None,
        evaluation_dir=write_tree(tmp_path / "evaluation", {"evaluation.json": b"{}"}),
        validation_dir=tmp_path / "validation",
        serving_dir=tmp_path / "serving",
        name="demo",
        config=PusherConfig(),
    )
    pushed = push(request, blessed=True, validated=result["validated"])
    assert not pushed.pushed
    assert not (tmp_path / "serving").exists(), "nothing is published"
    failed = {c["name"]: c["reason"] for c in result["checks"] if not c["passed"]}
    assert next(iter(failed.values())) in pushed.reason
    return failed


@pytest.mark.fault(48)
@pytest.mark.slow("a fresh process loads the SavedModel")
def test_a_saved_model_with_a_missing_variable_file_is_not_published(made, tmp_path):
    def damage(index: Path) -> None:
        next((index / "retriever/variables").glob("*.data-*")).unlink()

    failed = refused(made, tmp_path, damage)
    assert set(failed) == {"loads"}
    assert "variables" in failed["loads"]


@pytest.mark.fault(50)
@pytest.mark.slow("a fresh process loads the SavedModel")
@pytest.mark.nightly
def test_an_answer_with_nan_is_not_published(made, tmp_path):
    class Diverged(Retriever):
        def _answer(self, *arguments, **named):
            answer = super()._answer(*arguments, **named)
            return {**answer, "score": answer["score"] * np.float32(np.nan)}

    failed = refused(made, tmp_path, lambda index: replace(index, Diverged, fake.IDS))
    assert "NaN" in failed["finite"]
    assert "scores" in failed


@pytest.mark.fault(51)
@pytest.mark.slow("a fresh process loads the SavedModel")
@pytest.mark.nightly
def test_the_retriever_of_another_index_is_not_published(made, tmp_path):
    others = [f"other {n}" for n in range(fake.ITEMS)]
    failed = refused(made, tmp_path, lambda index: replace(index, Retriever, others))
    assert "not in the catalogue" in failed["known items"]


@pytest.mark.fault(51)
@pytest.mark.slow("a fresh process loads the SavedModel")
@pytest.mark.nightly
def test_the_retriever_of_another_model_is_not_published(made, tmp_path):
    failed = refused(made, tmp_path, lambda index: replace(index, Retriever, fake.IDS, seed=5))
    assert "differ" in failed["item embeddings"]
    assert "scores" in failed


def replace(index, kind, ids, seed=0):
    """Puts another retriever in the place of the index's own."""
    shutil.rmtree(index / "retriever")
    model = fake.fake_model(seed)
    retriever = kind(
        model,
        [name.encode() for name in ids],
        [[topic.encode() for topic in topics] for topics in fake.ITEM_TOPICS],
        model.item_vectors.numpy()[: fake.ITEMS],
        RetrievalConfig(num_results=20),
    )
    save_retriever(retriever, str(index / "retriever"))
