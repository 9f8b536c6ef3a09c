"""The ServingValidator's parts, and one whole validation of an index with ScaNN."""

from __future__ import annotations

import json
import tempfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import IndexConfig, ServingValidatorConfig
from components.evaluator.items import Items
from components.index_builder.build import IndexPaths, build_index
from components.serving_validator import sample, validate
from components.serving_validator.answers import (
    RULES,
    KnownItems,
    broken_rules,
    misshapen,
    read_answer,
)
from components.serving_validator.cases import Case, make_cases, serialised
from tests.components import retrieval_world as world
from tests.components.bundle_fixtures import snapshot
from tests.components.raw_examples import example, write_split
from trainer.config import RetrievalConfig

QUICK = ServingValidatorConfig(
    requests=5,
    latency_requests=3,
    warmup_requests=3,
    sample_requests=12,
    latency_budget_ms=60_000,
    scann_recall_min=0.5,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    world.write_world(root, n_eval=40)
    return root


@pytest.fixture(scope="module")
def validated(root, tmp_path_factory):
    """A whole validation; the index is as it was afterwards, and no temporary folder is left."""
    index = world.build(root, kind="scann")
    before, temporary = snapshot(index), tmp_path_factory.mktemp("temporary")
    paths = validate.ValidatorPaths(str(index), str(root / "examples"), str(root / "validation"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        result = validate.validate(paths, QUICK)
    assert snapshot(index) == before
    assert list(temporary.iterdir()) == []
    return root / "validation", result


@pytest.mark.fault(48)
@pytest.mark.slow("two SavedModels, each loaded in a fresh process")
def test_a_good_index_is_validated_with_a_reason_for_everything(validated):
    _, result = validated
    assert [c for c in result["checks"] if not c["passed"]] == []
    assert result["validated"] is True
    assert all(c["reason"] for c in result["checks"])
    by_model = {}
    for c in result["checks"]:
        by_model.setdefault(c["model"], set()).add(c["name"])
    assert by_model["retriever"] >= {
        "signatures", "loads", "stands alone", "operations", "warm-up", "latency", "answered",
        "both loaders", "signatures agree", "shapes", "item embeddings", "scores", *RULES,
    }  # fmt: skip
    assert by_model["retriever_scann"] == by_model["retriever"] | {"skew", "recall"}
    assert result["skew"] == 0.0
    assert 0.5 <= result["recall"] <= 1.0
    for key in ("latency_ms", "load_s", "rss_mb"):
        assert set(result[key]) == {"retriever", "retriever_scann"}
    assert all(0 < figures["p50"] <= figures["p99"] for figures in result["latency_ms"].values())


@pytest.mark.fault(64)
@pytest.mark.slow("two SavedModels, each loaded in a fresh process")
def test_what_a_bundle_gains_lies_where_the_bundle_has_it(validated, root):
    folder, result = validated
    overlay = folder / "bundle"
    files = {p.relative_to(overlay).as_posix() for p in overlay.rglob("*") if p.is_file()}
    assert files == {
        "assets.extra/tf_serving_warmup_requests",
        "retriever_scann/assets.extra/tf_serving_warmup_requests",
        "requests.parquet",
        "validation.json",
    }
    for place in (folder, overlay):
        assert json.loads((place / "validation.json").read_text()) == result
    table = pq.read_table(overlay / "requests.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "user_id": "string",
        "timestamp": "int64",
        "history_item_id": "list<item: string>",
        "history_timestamp": "list<item: int64>",
        "history_action": "list<item: string>",
        "followed_topic": "list<item: string>",
    }
    raw = pq.read_table(root / "examples/Split-eval").to_pylist()
    real = [
        (row["user_id"][0].decode(), [i.decode() for i in row["history_item_id"]]) for row in raw
    ]
    kept = [(row["user_id"], row["history_item_id"]) for row in table.to_pylist()]
    assert len(kept) == 12
    places = iter(real)
    assert all(one in places for one in kept), "not in the order of the split"


@pytest.mark.slow("two SavedModels, each loaded in a fresh process")
@pytest.mark.nightly
def test_a_search_in_parts_is_judged_by_exact_search(root):
    """One part of nine is searched: lists are short and miss items, which is no broken rule."""
    index = root / "parts"
    settings = IndexConfig(kind="scann", partition_min_items=world.ITEMS, recall_target=0.05)
    paths = IndexPaths(str(root / "model"), str(root / "examples"), str(index))
    summary = build_index(paths, settings, RetrievalConfig(num_results=20))
    assert summary["stock"]["probed"] < summary["stock"]["parts"]
    # The stock SavedModel by itself, as if nothing else were there.
    alone = {**summary, "kind": "exact", "serve": "retriever"}
    (index / "index.json").write_text(json.dumps(alone))
    paths = validate.ValidatorPaths(str(index), str(root / "examples"), str(root / "of parts"))
    result = validate.validate(paths, QUICK.model_copy(update={"scann_recall_min": 1.0}))
    assert [c["name"] for c in result["checks"] if not c["passed"]] == ["recall"]
    assert 0.0 < result["recall"] < 1.0


def test_without_a_real_request_nothing_is_validated(root, tmp_path):
    index = world.build(root, name="plain")
    write_split(tmp_path / "examples", "eval", [])
    paths = validate.ValidatorPaths(str(index), str(tmp_path / "examples"), str(tmp_path / "out"))
    result = validate.validate(paths, QUICK)
    assert result["validated"] is False
    assert "no real request" in result["checks"][0]["reason"]
    assert [path.name for path in (tmp_path / "out/bundle").iterdir()] == ["validation.json"]


# -- the sample ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows_on_disk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    rows = [example(f"u{n}", "i0", ["i1"] * (n % 4), timestamp=100 + n) for n in range(50)]
    write_split(folder, "eval", rows)
    write_split(folder, "validation", rows[:3])
    return folder


@given(count=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_a_sample_is_in_order_without_repeats_and_the_same_for_a_seed(rows_on_disk, count, seed):
    split, table = sample.sample_requests(str(rows_on_disk), count, seed)
    stamps = [row[0] for row in table["timestamp"].to_pylist()]
    assert split == "eval"
    assert len(stamps) == min(count, 50)
    assert stamps == sorted(set(stamps))
    assert sample.sample_requests(str(rows_on_disk), count, seed)[1].equals(table)


def test_without_an_eval_split_requests_come_from_validation(tmp_path):
    assert sample.sample_requests(str(tmp_path), 5, 1)[0] == ""
    write_split(tmp_path, "validation", [example("u", "i0", ["i1"])])
    assert sample.sample_requests(str(tmp_path), 5, 1)[0] == "validation"
    write_split(tmp_path, "eval", [])
    assert sample.sample_requests(str(tmp_path), 5, 1)[0] == "validation"


@given(total=st.integers(0, 300), count=st.integers(1, 300))
def test_places_are_spread_over_all_of_them(total, count):
    places = validate.spread(total, count)
    assert len(places) == len(set(places.tolist())) == min(total, count)
    assert all(0 <= place < total for place in places)
    assert places.tolist() == sorted(places)


# -- the requests ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases(rows_on_disk):
    table = sample.sample_requests(str(rows_on_disk), 50, 1)[1]
    return {c.name: c for c in make_cases(table, np.arange(20), [b"i1", b"i2"], [[b"t"], []])}


def test_requests_cover_what_may_come(cases):
    sizes = {name: case.inputs["timestamp"].shape[0] for name, case in cases.items()
             if "timestamp" in case.inputs}  # fmt: skip
    assert sizes["replay 0"] == 20
    assert [sizes[f"batch of {n}"] for n in (0, 1, 64)] == [0, 1, 64]
    assert cases["history of 10,000"].inputs["history_item_id"].shape == (1, 10_000)
    cold = cases["no history, no follows"].inputs
    assert cold["history_item_id"].size == cold["followed_topic"].size == 0
    for case in cases.values():
        stamps = case.inputs.get("history_timestamp")
        if stamps is not None:
            assert stamps.dtype == np.int64
            assert (stamps < case.inputs["timestamp"][:, None]).all()


def test_examples_hold_what_the_dense_request_holds(cases):
    import tensorflow as tf

    dense, protos = cases["replay 0"].inputs, cases["examples 0"].inputs["examples"]
    for row, proto in enumerate(protos):
        feature = tf.train.Example.FromString(proto).features.feature
        ids = list(feature["history_item_id"].bytes_list.value)
        assert ids == [i for i in dense["history_item_id"][row].tolist() if i]
        assert len(feature["history_timestamp"].int64_list.value) == len(ids)
        assert list(feature["timestamp"].int64_list.value) == [dense["timestamp"][row]]
        assert list(feature["user_id"].bytes_list.value) == [dense["user_id"][row]]
    assert len(serialised({**dense, "timestamp": dense["timestamp"][:0]})) == 0


# -- rules over one answer --------------------------------------------------------------------

IDS = [f"i{n}".encode() for n in range(8)]
CATALOGUE = KnownItems(
    items=Items(IDS, [[b"even"] if n % 2 == 0 else [b"odd"] for n in range(8)]),
    embeddings=np.eye(8, dtype=np.float32),
    retrieval=RetrievalConfig(num_results=3, max_results=5),
    exact=True,
)


def objects(*values):
    array = np.empty(np.shape(values), object)
    array[...] = values
    return array


def case(**more):
    inputs = {
        "timestamp": np.asarray([10, 10]),
        "history_item_id": objects([b"i0", b""], [b"i1", b"i2"]),
        "history_timestamp": np.asarray([[9, 0], [9, 8]]),
        "history_action": objects([b"read", b""], [b"read", b"read"]),
        "followed_topic": objects([b"even"], [b""]),
        "user_id": objects(b"u1", b"u2"),
        **more,
    }
    return Case("two users", "retrieve", inputs)


def answer(**changes):
    """A right answer to `case()`: the first user follows `even`."""
    outputs = {
        "item_id": objects([b"i1", b"i2", b"i4"], [b"i0", b"i3", b"i5"]),
        "score": np.asarray([[0.9, 0.8, 0.7], [0.5, 0.4, 0.3]], np.float32),
        "slot": np.asarray([[0, 2, 2], [0, 1, 0]], np.int32),
        "slot_kind": np.asarray([[0, 1, 1], [0, 0, 0]], np.int32),
        "slot_topic": objects([b"", b"even", b"even"], [b"", b"", b""]),
        "found_by": np.asarray([[1, 4, 4], [1, 2, 1]]),
        "count": np.asarray([3, 3], np.int32),
        "user_id": objects(b"u1", b"u2"),
        "history_slot": np.asarray([[0, -1], [0, 1]], np.int32),
        "slot_mass": np.asarray([[1, 0, 0], [1, 1, 0]], np.float32),
        "slot_valid": np.asarray([[True, False, True], [True, True, False]]),
    }
    for name, (place, value) in changes.items():
        outputs[name] = outputs[name].copy()
        outputs[name][place] = value
    return outputs


def broken(case, outputs, catalogue=CATALOGUE):
    assert misshapen(case, outputs) == ""
    return dict(broken_rules(read_answer(case, outputs, catalogue), catalogue))


def test_a_right_answer_breaks_no_rule():
    assert broken(case(), answer()) == {}


@pytest.mark.parametrize(
    ("rule", "changes", "words"),
    [
        ("finite", {"score": ((0, 1), np.nan)}, "NaN"),
        ("finite", {"slot_mass": ((0, 0), np.inf)}, "infinite"),
        ("distinct", {"item_id": ((1, 2), b"i3")}, "twice"),
        ("known items", {"item_id": ((0, 0), b"stranger")}, "stranger"),
        ("unseen items", {"item_id": ((1, 0), b"i2")}, "history"),
        ("topics", {"item_id": ((0, 1), b"i3")}, "does not carry"),
        ("topics", {"slot_topic": ((0, 1), b"odd")}, "not followed"),
        ("counts", {"count": (0, 4)}, "count 4"),
        ("counts", {"count": (0, 2)}, "not the number of items"),
        ("reasons", {"slot": ((0, 0), 1)}, "not searched"),
        ("reasons", {"found_by": ((0, 0), 0)}, "no slot"),
        ("user ids", {"user_id": (0, b"u2")}, "not given back"),
    ],
)
def test_each_wrong_answer_breaks_its_rule(rule, changes, words):
    found = broken(case(), answer(**changes))
    assert words in found[rule]


def test_a_short_list_is_refused_where_every_item_is_searched():
    pads = {"item_id": b"", "score": 0, "slot": -1, "slot_kind": -1, "found_by": 0}
    short = {name: ((1, 2), pad) for name, pad in pads.items()}
    outputs = answer(**short, count=(1, 2))
    assert "2 items, but 3 were wanted" in broken(case(), outputs)["counts"]
    approximate = KnownItems(
        CATALOGUE.items, CATALOGUE.embeddings, CATALOGUE.retrieval, exact=False
    )
    assert "counts" not in broken(case(), outputs, approximate)


def test_pads_are_those_promised():
    outputs = answer(item_id=((1, 2), b""), count=(1, 2))
    assert "padded" in broken(case(), outputs)["counts"]


def test_a_source_that_is_off_brings_nothing():
    assert "implicit" in broken(case(use_implicit=np.asarray([False])), answer())["sources"]
    assert "topics" in broken(case(use_explicit=np.asarray([False])), answer())["sources"]
    rows = np.asarray([True, False])
    assert "sources" not in broken(case(use_explicit=rows), answer())


def test_wanted_numbers_decide_the_width():
    assert "5 items were wanted" in broken(case(num_results=np.asarray([9])), answer())["counts"]
    assert "counts" in broken(case(num_results=np.asarray([1, 2])), answer())


@pytest.mark.parametrize(
    ("name", "cut"), [("score", np.s_[:, :2]), ("count", np.s_[:1]), ("history_slot", np.s_[:, :1])]
)
def test_outputs_have_a_row_per_request(name, cut):
    outputs = answer()
    outputs[name] = outputs[name][cut]
    assert name in misshapen(case(), outputs)
    assert "dimension" in misshapen(case(), {**answer(), "item_id": objects(b"a", b"b")})
