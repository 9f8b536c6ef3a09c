"""Columns of features: what is read of them, what is missing, what is refused."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import ConfigError, DataError
from core.feature_config import FeatureConfig, FeaturesConfig
from input_tables.checking import check_tables
from input_tables.config import DataConfig
from input_tables.feature_survey import FeatureCount
from input_tables.feature_values import packed, values_of
from input_tables.generate import GeneratorConfig, write_generated
from tests.input_tables.field import write

WORD = st.text(st.sampled_from("ab=|é\n "), min_size=1, max_size=4).filter(
    lambda text: text not in ("nan", "None")
)
FLOAT = st.floats(-(2.0**100), 2.0**100)
ITEMS = FeaturesConfig(
    items={
        "kind": "category",
        "tags": "list",
        "size": "number",
        "vector": {"kind": "embedding", "size": 2},
    }
).items


@given(
    st.lists(
        st.tuples(
            st.none() | WORD,
            st.none() | st.lists(st.none() | WORD, max_size=4),
            st.none() | FLOAT,
            st.none() | st.lists(FLOAT, min_size=2, max_size=2),
        ),
        max_size=12,
    )
)
def test_rows_keep_what_they_hold_and_nothing_else(rows):
    def text(value):
        return None if value is None else str(value).encode()

    def joined(values):
        return None if values is None else "\x1f".join(text_of(v) for v in values).encode()

    def text_of(value):
        return "" if value is None else str(value)

    table = pa.table(
        {
            "kind": pa.array([text(kind) for kind, *_ in rows], pa.binary()),
            "tags": pa.array([joined(tags) for _, tags, *_ in rows], pa.binary()),
            "size": pa.array([text(size) for *_, size, _ in rows], pa.binary()),
            "vector": pa.array([joined(vector) for *_, vector in rows], pa.binary()),
        }
    )
    wanted = []
    for kind, tags, size, vector in rows:
        texts = [] if kind is None else [f"kind={kind}"]
        tags = [part for tag in tags or [] if tag for part in tag.split("|") if part]
        texts += [f"tags={tag}" for tag in dict.fromkeys(tags)]
        texts += [] if size is None else [f"size={size}"]
        texts += [] if vector is None else [f"vector={vector[0]} {vector[1]}"]
        wanted.append(texts)
    found = packed(ITEMS, table).to_pylist()
    assert [[text.decode() for text in row] for row in found] == wanted


@pytest.mark.parametrize("text", ["[1.5, -2e3]", "1.5|-2e3", " 1.5 -2e3", "{1.5;-2e3}"])
def test_an_embedding_is_read_however_its_floats_are_separated(text):
    feature = FeatureConfig(kind="embedding", size=2)
    found = values_of("v", feature, pa.array([text.encode()], pa.binary()))
    assert found.text.to_pylist() == ["1.5 -2e3"]


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        ({"kind": "embedding", "size": 2}, "1 2 3"),
        ({"kind": "embedding", "size": 2}, "1 x"),
        ({"kind": "embedding", "size": 1}, "1e39"),
        ("number", "big"),
        ("number", "1,5"),
        ("number", "1e999"),
    ],
)
def test_what_is_of_another_kind_is_odd_and_missing(feature, value):
    found = values_of(
        "f", FeatureConfig.model_validate(feature), pa.array([value.encode(), None], pa.binary())
    )
    assert found.odd.tolist() == [True, False]
    assert not len(found.text)


def test_a_pattern_takes_the_value_out_of_a_text():
    feature = FeatureConfig(kind="number", pattern=r"\((\d{4})\)$")
    column = pa.array([b"Heat (1995)", b"(2001) odd", b"no year", None], pa.binary())
    found = values_of("year", feature, column)
    assert found.row.tolist() == [0]
    assert found.text.to_pylist() == ["1995"]
    assert not found.odd.any()
    with pytest.raises(ConfigError, match="year"):
        values_of("year", FeatureConfig(kind="number", pattern=r"(?=(a))"), column)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("needs size", {"items": {"v": "embedding"}}),
        ("no other has it", {"items": {"v": {"kind": "number", "size": 3}}}),
        ("tells nothing apart", {"items": {"v": {"kind": "number", "buckets": 1}}}),
        ("2 groups", {"items": {"v": {"kind": "number", "pattern": "(a)(b)"}}}),
        ("is no expression", {"items": {"v": {"kind": "number", "pattern": "("}}}),
        ("letters, digits", {"items": {"a=b": "category"}}),
        ("known already", {"items": {"t": {"kind": "list", "column": "topics"}}}),
        ("unknown", {"users": {"a": "sort"}}),
    ],
)
def test_wrong_settings_are_refused(words, given):
    with pytest.raises(ValidationError) as error:
        FeaturesConfig.model_validate(given)
    assert words in str(error.value) or "Input should be" in str(error.value)


def checked(root, **features):
    return check_tables(DataConfig(root=str(root)), features=FeaturesConfig(**features))


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    root = tmp_path_factory.mktemp("generated") / "data"
    config = GeneratorConfig(users=150, items=200, topics=8, engagements=2000, features=True)
    write_generated(config, root, "csv")
    return root, config


def test_generated_features_pass_and_are_counted(generated):
    found = checked(
        generated[0],
        items={
            "studio": "category",
            "tags": "list",
            "year": "number",
            "embedding": {"kind": "embedding", "size": 8},
        },
        users={"region": "category", "age": "number"},
    )
    assert found["passed"], found["errors"]
    facts = found["facts"]["features"]
    assert {name for name in facts if "." in name} == {
        *(f"items.{name}" for name in ("studio", "tags", "year", "embedding")),
        *(f"users.{name}" for name in ("region", "age")),
    }
    assert all(0.8 < facts[name]["given"] < 1.0 for name in facts if "." in name)
    assert 1900 < facts["items.year"]["min"] < facts["items.year"]["max"] < 2100
    assert facts["users with a row"] == 1.0
    assert found["tables"]["users"]["rows"] == 150


def test_the_other_tables_are_those_without_features(generated, tmp_path):
    root, config = generated
    write_generated(config.model_copy(update={"features": False}), tmp_path / "plain", "csv")
    for name in ("engagements.csv", "follows.csv"):
        assert (root / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert not (tmp_path / "plain" / "users.csv").exists()
    assert "features" not in json.loads((tmp_path / "plain" / "generator.json").read_text())
    head = (tmp_path / "plain" / "items.csv").read_text().splitlines()[0]
    assert head == '"item_id","topics","title","created_at"'


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"items": {"colour": "category"}}, "required column 'colour' is missing"),
        ({"users": {"height": "number"}}, "required column 'height' is missing"),
        ({"items": {"studio": "number"}}, "give another kind"),
        ({"items": {"tags": {"kind": "embedding", "size": 3}}}, "a list of 3 floats"),
        (
            {"items": {"n": {"kind": "number", "column": "title", "pattern": "(zzz)"}}},
            "finds nothing in it",
        ),
    ],
)
def test_wrong_columns_are_refused_by_name(generated, features, words):
    try:
        errors = checked(generated[0], **features)["errors"]
    except DataError as error:
        errors = [str(error)]
    assert any(words in error for error in errors), errors


def test_a_few_odd_values_are_a_warning(generated, tmp_path):
    (tmp_path / "items.csv").write_text(
        (generated[0] / "items.csv").read_text().replace(",19", ",x19", 1)
    )
    for name in ("engagements.csv", "users.csv"):
        (tmp_path / name).write_bytes((generated[0] / name).read_bytes())
    found = checked(tmp_path, items={"year": "number"})
    assert not found["errors"]
    assert any("'x19" in warning and "missing there" in warning for warning in found["warnings"])


def test_users_of_another_writing_are_an_error_and_no_table_too(generated, tmp_path):
    for name in ("engagements.csv", "items.csv"):
        (tmp_path / name).write_bytes((generated[0] / name).read_bytes())
    assert checked(tmp_path)["passed"]
    with pytest.raises(DataError, match="users: not found"):
        checked(tmp_path, users={"age": "number"})
    (tmp_path / "users.csv").write_text("user_id,age\nU-1,3\nU-2,4\n")
    errors = checked(tmp_path, users={"age": "number"})["errors"]
    assert any("none of its 2 users has an engagement" in error for error in errors)
    assert checked(tmp_path)["passed"]  # nobody asks for it


def test_lists_of_parquet_are_those_of_csv(generated, tmp_path):
    config = generated[1]
    write_generated(config, tmp_path / "parquet", "parquet")
    names = {"tags": "list", "embedding": {"kind": "embedding", "size": 8}}
    both = [checked(root, items=names) for root in (generated[0], tmp_path / "parquet")]
    assert both[0]["facts"]["features"] == both[1]["facts"]["features"]
    nested = pa.table({"item_id": ["a"], "topics": [["t"]], "tags": [[["x"]]]})
    pq.write_table(nested, tmp_path / "parquet" / "items.parquet")
    with pytest.raises(DataError, match="a list of single values"):
        checked(tmp_path / "parquet", items=names)


@given(st.lists(st.lists(st.integers(-5, 5) | st.just("x"), max_size=5), min_size=1, max_size=4))
def test_counts_of_parts_add_up(parts):
    feature, whole, added = FeatureConfig(kind="number"), FeatureCount(), FeatureCount()
    columns = [pa.array([str(v).encode() for v in part], pa.binary()) for part in parts]
    whole.add("n", feature, pa.concat_arrays(columns))
    for column in columns[::-1]:
        one = FeatureCount()
        one.add("n", feature, column)
        added.merge(one)
    assert (added.rows, added.given, added.odd) == (whole.rows, whole.given, whole.odd)
    assert added.numbers == pytest.approx(whole.numbers, nan_ok=True)
    assert math.isfinite(added.numbers[1])
    assert bool(added.example) == bool(whole.odd)


def test_a_checked_set_without_features_says_nothing_of_them(tmp_path):
    assert "features" not in checked(write(tmp_path, None))["facts"]
