"""The description that requests are checked against is the published one, and it checks."""

import json

import pytest

from tests.kubeflow_pipelines.client import api_rules
from tests.kubeflow_pipelines.client.api_subset import OPERATIONS, ORIGINAL, SUBSET, subset


def test_the_subset_is_what_the_original_says():
    if not ORIGINAL.exists():
        pytest.skip("Kubeflow Pipelines' API description is not here (KFP_API_DESCRIPTION)")
    assert json.loads(SUBSET.read_text()) == subset(json.loads(ORIGINAL.read_text()))


def test_every_operation_is_in_the_subset_and_its_origin_is_named():
    found = {
        operation["operationId"]
        for methods in api_rules.DESCRIPTION["paths"].values()
        for operation in methods.values()
    }
    assert found == OPERATIONS
    assert "Apache License 2.0" in api_rules.DESCRIPTION["x-notice"]


RUN = {"display_name": "r", "runtime_config": {"parameters": {"run_date": "2024-06-30"}}}


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "files", "problem"),
    [
        ("POST", "/runs", [], RUN, [], None),
        ("POST", "/runs", [], RUN | {"pipeline_id": "p"}, [], "Additional properties"),
        ("POST", "/runs", [], RUN | {"display_name": 1}, [], "is not of type 'string'"),
        ("POST", "/runs", [], None, [], "None is not of type 'object'"),
        ("POST", "/runs", [], RUN | {"created_at": "today"}, [], "is not a 'date-time'"),
        ("POST", "/recurringruns", [], {"mode": "ENABLED"}, [], "is not one of"),
        ("POST", "/recurringruns", [], {"max_concurrency": 1}, [], "is not of type 'string'"),
        ("POST", "/recurringruns", [], {"trigger": {"cron": "x"}}, [], "Additional properties"),
        ("POST", "/recurringruns/x:enable", [], {}, [], "body: none is described"),
        ("GET", "/runs", [("page_size", "ten")], None, [], "no integer"),
        ("GET", "/runs", [("pipeline_id", "p")], None, [], "query pipeline_id: unknown"),
        ("GET", "/runs", [("filter", "{")], None, [], "filter"),
        ("GET", "/runs", [("filter", '{"predicate": []}')], None, [], "Additional properties"),
        ("GET", "/runs", [("filter", '{"predicates": [{"operation": 1}]}')], None, [], None),
        ("POST", "/pipelines/upload_version", [("name", "v")], None, ["uploadfile"], None),
        ("POST", "/pipelines/upload_version", [], None, ["file"], "files"),
    ],
)
def test_a_request_is_checked(method, path, query, body, files, problem):
    operation, _ = api_rules.operation_of(method, f"/apis/v2beta1{path}")
    found = "\n".join(api_rules.request_problems(operation, query, body, files))
    assert (found == "") if problem is None else (problem in found)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/runs"), ("GET", "/run"), ("POST", "/runs/x:start")]
)
def test_an_unknown_method_or_path_is_none(method, path):
    assert api_rules.operation_of(method, f"/apis/v2beta1{path}") is None


def test_an_answer_is_checked():
    operation, _ = api_rules.operation_of("GET", "/apis/v2beta1/runs/x")
    assert not api_rules.answer_problems(operation, 200, {"run_id": "x", "state": "RUNNING"})
    assert api_rules.answer_problems(operation, 200, {"run_id": "x", "state": "GOING"})
    assert api_rules.answer_problems(operation, 404, {"text": "x"})
