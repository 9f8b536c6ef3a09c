"""The pipeline's shape: what waits for what, and what each component is told."""

import ast
import json
from pathlib import Path

import pytest
from tfx.orchestration.pipeline import Pipeline

from pipeline.config import RunConfig
from pipeline.dag import (
    EXAMPLES_CODE,
    GATE_CODE,
    Paths,
    build_components,
    build_data_components,
    checkpoint_digest,
    training_digest,
)

PATHS = Paths("/tables", "/serving", "/schema.pbtxt", "", "/checkpoints", "/dead_letters")


def config(**more):
    return RunConfig.model_validate({"data": {"root": "/tables"}, **more})


@pytest.fixture(scope="module")
def nodes():
    tree = {"examples": {"negative_actions": ["hide"]}, "model": {"negative_actions": ["skip"]}}
    nodes = build_components(config(**tree), PATHS)
    # Only a pipeline knows which node reads what another one writes.
    Pipeline(pipeline_name="p", pipeline_root="unused", components=nodes)
    return {node.id: node for node in nodes}


def upstream(node):
    found, queue = set(), list(node.upstream_nodes)
    while queue:
        parent = queue.pop()
        if parent.id not in found:
            found.add(parent.id)
            queue.extend(parent.upstream_nodes)
    return found


@pytest.mark.fault(72)
def test_nothing_is_transformed_before_the_gate_passed(nodes):
    assert "DataGate" in upstream(nodes["Transform"])


@pytest.mark.fault(72)
def test_nothing_is_pushed_before_every_gate(nodes):
    gates = {"DataGate", "RetrievalEvaluator", "ServingValidator", "ExampleValidator"}
    assert upstream(nodes["Pusher"]) >= gates


def test_what_is_validated_for_serving_is_what_is_published(nodes):
    validator, pusher = nodes["ServingValidator"], nodes["Pusher"]
    assert validator.inputs["index"] == pusher.inputs["index"]
    assert pusher.inputs["validation"] == validator.outputs["validation"]


def test_components_come_in_an_order_that_can_run(nodes):
    seen = set()
    for node in nodes.values():
        assert {parent.id for parent in node.upstream_nodes} <= seen
        seen.add(node.id)


def test_actions_that_make_no_target_feed_no_interest(nodes):
    custom = json.loads(nodes["Trainer"].exec_properties["custom_config"])
    assert json.loads(custom["model"])["negative_actions"] == ["skip", "hide"]


@pytest.mark.fault(75)
def test_the_code_is_part_of_every_cache_key(nodes):
    for name in ("RetrievalExampleGen", "DataGate", "BaselineResolver", "IndexBuilder",
                 "RetrievalEvaluator", "ServingValidator", "Pusher"):  # fmt: skip
        assert len(nodes[name].exec_properties["code_digest"]) == 16, name
    for name in ("Transform", "Trainer"):
        assert "code_digest" in json.loads(nodes[name].exec_properties["custom_config"]), name


def test_the_training_digest_follows_what_is_trained_and_nothing_else():
    base = training_digest(config())
    assert training_digest(config(work_dir="elsewhere", evaluator={"seed": 9})) == base
    assert training_digest(config(model={"num_interests": 2})) != base
    assert training_digest(config(trainer={"seed": 2})) != base


def test_what_follows_training_does_not_train_anew():
    base = checkpoint_digest(config())
    later = {"retrieval": {"explicit_share": 0.5}, "index": {"kind": "exact"}}
    assert checkpoint_digest(config(**later)) == base
    assert checkpoint_digest(config(trainer={"seed": 2})) != base


@pytest.mark.fault(75)
@pytest.mark.parametrize("code", [EXAMPLES_CODE, GATE_CODE])
def test_digested_code_imports_no_project_code_outside_the_digest(code):
    root = Path(__file__).resolve().parents[2]
    places = [root / place for place in code]
    sources = {p for place in places for p in ([place] if place.is_file() else place.rglob("*.py"))}
    assert all(place.exists() for place in places)
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            for name in imported(node):
                found = module_file(root, name)
                assert found is None or found in sources, f"{source} imports {name}"


def imported(node):
    """Names of the modules that an import statement may load."""
    if isinstance(node, ast.ImportFrom):
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def module_file(root, name):
    """The project's file of a module; packages that hold nothing but a docstring do not count."""
    path = root / name.replace(".", "/")
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    initial = path / "__init__.py"
    bare = not initial.is_file() or len(ast.parse(initial.read_text()).body) <= 1
    return None if bare else initial


def test_training_waits_for_a_baseline_only_where_it_may_start_from_one(nodes):
    assert "BaselineResolver" not in upstream(nodes["Trainer"])
    spans = {"data": {"root": "/tables", "layout": "spans", "run_date": "2024-02-29"}}
    daily = build_components(RunConfig.model_validate(spans), PATHS)
    Pipeline(pipeline_name="d", pipeline_root="unused", components=daily)
    by_id = {node.id: node for node in daily}
    assert "BaselineResolver" in upstream(by_id["Trainer"])


def test_the_data_part_is_the_whole_chain_as_far_as_transform_with_the_same_cache_keys(nodes):
    """Who trains by themselves reuses what a run has cached, and the other way round."""
    part = build_data_components(config(model={"negative_actions": ["skip"]}), PATHS)
    assert [node.id for node in part] == list(nodes)[: len(part)]
    assert part[-1].id == "Transform"
    whole = build_components(config(model={"negative_actions": ["skip"]}), PATHS)
    for mine, theirs in zip(part, whole, strict=False):
        assert mine.exec_properties == theirs.exec_properties


def test_candidates_are_made_after_the_push_and_only_where_they_are_wanted(nodes):
    assert "CandidateGen" not in nodes
    tree = {"candidates": {"out": "/candidates", "num_results": 7}}
    made = build_components(config(**tree), PATHS)
    Pipeline(pipeline_name="p", pipeline_root="unused", components=made)
    last = made[-1]
    assert last.id == "CandidateGen" and "Pusher" in upstream(last)
    told = json.loads(last.exec_properties["config_json"])
    assert (told["candidates"]["num_results"], told["time_unit"]) == (7, "seconds")
