"""Faults 1 to 5: wrong configuration is refused with a clear message, before TensorFlow."""

from __future__ import annotations

import copy
import datetime as dt
import os
import subprocess
import sys
import typing
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import annotated_types as bounds
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from components.config import FLOORS
from core.errors import ConfigError
from pipeline.config import RunConfig, load_config
from tests.input_tables.tiny import csv_bytes

REPOSITORY = Path(__file__).resolve().parents[2]
#: `${...}` in a text is an environment variable, surrogates are no text.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda text: "${" not in text
)


def run(*arguments: Any) -> subprocess.CompletedProcess:
    """The command in a fresh process, which says at its end whether TensorFlow was imported."""
    code = (
        "import sys\nfrom cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print('tensorflow', 'tensorflow' in sys.modules)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )


def refused(done: subprocess.CompletedProcess, message: str) -> None:
    assert done.returncode == 2
    assert done.stdout.split() == ["tensorflow", "False"]
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def tables(tmp_path):
    """Tables with 40 items, and a configuration that names them."""
    (tmp_path / "engagements.csv").write_bytes(
        csv_bytes(["user_id", "item_id", "timestamp", "action"], [["u", "i1", 1, "like"]])
    )
    rows = [[f"i{n}", "t"] for n in range(40)]
    (tmp_path / "items.csv").write_bytes(csv_bytes(["item_id", "topics"], rows))
    conf = tmp_path / "run.yaml"
    conf.write_text(
        yaml.safe_dump({"data": {"root": str(tmp_path)}, "work_dir": str(tmp_path / "w")})
    )
    return conf


@pytest.mark.fault(2)
def test_more_results_than_the_catalogue_holds_are_refused_before_tensorflow(tables):
    done = run("run", "--conf", tables)
    refused(done, "evaluator.ks asks for k=100, but the catalogue")
    assert "items.csv) has 40 items" in done.stderr
    assert not (tables.parent / "w").exists()


@pytest.mark.fault(2)
def test_as_many_results_as_items_are_fine(tables):
    from pipeline.local.preflight import refuse_more_results_than_items

    def measured_at(k):
        judged = ["evaluator.primary_metric=mrr", "evaluator.thresholds={mrr: {min: 0.1}}"]
        return load_config(tables, [f"evaluator.ks=[10, {k}]", *judged])

    refuse_more_results_than_items(measured_at(40))
    with pytest.raises(ConfigError, match=r"k=41, .*40 items"):
        refuse_more_results_than_items(measured_at(41))


@pytest.mark.fault(2)
def test_widths_of_layers_are_positive(tables):
    for value in ("[0]", "[128, -3]"):
        with pytest.raises(ConfigError, match=r"model\.hidden_units\.\d: .*greater than"):
            load_config(tables, [f"model.hidden_units={value}"])


@pytest.mark.fault(3)
@pytest.mark.parametrize(
    ("bound", "message"),
    [
        ("{}", "min or max"),
        ("{min: .nan}", "finite"),
        ("{min: .inf}", "finite"),
        ("{min: 0.5, max: 0.1}", "nothing can pass"),
    ],
)
def test_a_threshold_that_bounds_nothing_is_refused(tables, bound, message):
    with pytest.raises(ConfigError, match=message):
        load_config(tables, [f"evaluator.thresholds={{recall@10: {bound}}}"])


@pytest.mark.fault(4)
def test_a_missing_variable_is_named_with_its_file(tmp_path, monkeypatch):
    monkeypatch.delenv("TESSERA_SURELY_NOT_SET", raising=False)
    (tmp_path / "base.yaml").write_text("data: {root: '${TESSERA_SURELY_NOT_SET}/x'}\n")
    top = tmp_path / "top.yaml"
    top.write_text("extends: base.yaml\n")
    with pytest.raises(ConfigError) as caught:
        load_config(top)
    assert str(caught.value).startswith(f"{tmp_path / 'base.yaml'}: environment variable")
    assert "TESSERA_SURELY_NOT_SET is not set" in str(caught.value)


def values(annotation: Any, info: FieldInfo | None = None) -> st.SearchStrategy:
    """A strategy for a type of the configuration, within the bounds of its field."""
    limits = _limits(info.metadata if info else [])
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return values(inner[0], FieldInfo.from_annotation(annotation))
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (typing.Union, UnionType):
        return st.one_of([values(part, info) for part in inner])
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(TEXT, values(inner[1]), max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return models(annotation)
    if annotation is int:
        low = limits.get("ge", limits.get("gt", -1) + 1)
        return st.integers(int(low), max(int(low), 10**6))
    if annotation is float:
        return st.floats(
            limits.get("ge", limits.get("gt")),
            limits.get("le", limits.get("lt", 1e6)),
            exclude_min="gt" in limits,
            exclude_max="lt" in limits,
            allow_nan=False,
        )
    plain = {bool: st.booleans(), str: TEXT, dt.date: st.dates(), type(None): st.none()}
    return plain[annotation]


def _limits(metadata: list[Any]) -> dict[str, float]:
    kinds = {"ge": bounds.Ge, "gt": bounds.Gt, "le": bounds.Le, "lt": bounds.Lt}
    return {
        name: getattr(entry, name)
        for name, kind in kinds.items()
        for entry in metadata
        if isinstance(entry, kind)
    }


def models(model: type[BaseModel]) -> st.SearchStrategy:
    """Trees of a model in which each field is given or, where it may be, left out."""
    given_, optional = {}, {}
    for name, info in model.model_fields.items():
        (given_ if info.is_required() else optional)[name] = values(info.annotation, info)
    return st.fixed_dictionaries(given_, optional=optional)


def fitting(tree: dict[str, Any]) -> dict[str, Any]:
    """Makes what one field says about another true; all else stays as drawn."""
    tree = copy.deepcopy(tree)
    if "name" in tree:
        tree["name"] = "legal-name"
    model = tree.get("model", {})
    for key in model.keys() & {"num_interests", "explicit_slots"}:
        model[key] = 1 + model[key] % 31
    interests = model.get("num_interests", 4)
    tree.setdefault("transform", {})["history_max_items"] = interests + 7
    evaluator = tree.setdefault("evaluator", {})
    evaluator["ks"] = tuple(1 + k for k in evaluator.get("ks", ())) or (10,)
    evaluator["primary_metric"] = f"recall@{evaluator['ks'][0]}"
    evaluator["must_beat_floors"] = FLOORS[: len(evaluator.get("must_beat_floors", ()))]
    evaluator["thresholds"] = {"mrr": {"min": 0.25, "max": None}}
    tree.setdefault("retrieval", {})["num_results"] = max(evaluator["ks"])
    return tree


TREES = models(RunConfig)
LEGAL = TREES.map(fitting)
SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("conf") / "c.yaml"


@pytest.mark.fault(5)
@SLOW
@given(LEGAL)
def test_any_legal_configuration_survives_yaml(path, tree):
    try:
        config = RunConfig.model_validate(tree)
    except ValidationError:  # fields that do not fit together
        assume(False)
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    loaded = load_config(path)
    assert loaded == config
    assert loaded.model_dump() == config.model_dump()
    assert RunConfig.from_json(config.canonical_json()) == config


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.dates()
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.fault(5)
@SLOW
@given(LEGAL, ANYTHING, st.randoms(use_true_random=False))
def test_anything_anywhere_is_a_configuration_or_a_config_error(path, tree, value, chance):
    tree = copy.deepcopy(tree)
    node: Any = tree
    while True:
        key = chance.choice([*node, "another key"]) if node else "another key"
        if isinstance(node.get(key), dict) and chance.random() < 0.8:
            node = node[key]
            continue
        node[key] = value
        break
    path.write_text(yaml.safe_dump(_plain(tree)))
    try:
        load_config(path)
    except ConfigError as error:
        assert str(path) in str(error)


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(value) for value in tree] if isinstance(tree, (list, tuple)) else tree


@pytest.mark.fault(5)
@SLOW
@given(st.randoms(use_true_random=False))
def test_bytes_changed_in_a_configuration_give_one_or_a_config_error(path, chance):
    data = bytearray((REPOSITORY / "conf" / "goodbooks-10k.yaml").read_bytes())
    for _ in range(chance.choice([1, 3, 10])):
        data[chance.randrange(len(data))] = chance.choice(b"{}[]:!&*?-\"'\x00\xff \n0ax%")
    path.write_bytes(bytes(data))
    try:
        load_config(path)
    except ConfigError as error:
        assert str(path) in str(error) or "configuration file" in str(error)


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    "text",
    [
        "data: {root: /t, run_date: 2024-02-30}",
        "data: !!int abc",
        "data: !!timestamp abc",
        "data: {root: /t}\nmodel: {embedding_dim: 1" + "0" * 5000 + "}",
        "a: " + "[" * 3000,
        'extends: "\\0"',
        "1: 2",
        "data: &a {root: *a}",
        "\x00",
    ],
)
def test_what_only_looks_like_yaml_is_a_config_error(path, text):
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_config(path)
