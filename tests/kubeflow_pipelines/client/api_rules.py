"""Checks requests and answers against the API's description."""

import copy
import json
import re

from jsonschema import Draft4Validator, FormatChecker

from tests.kubeflow_pipelines.client.api_subset import SUBSET

DESCRIPTION = json.loads(SUBSET.read_text())
#: What a server tells beyond the description of its health (backend/src/apiserver/main.go).
UNDESCRIBED = {"GetHealthz": {"tag_name", "commit_sha"}}
CAMEL = re.compile(r"(?<=[a-z])([A-Z])")


def _strict(tree):
    """Objects with properties have no others."""
    if isinstance(tree, dict):
        tree = {key: _strict(value) for key, value in tree.items()}
        if "properties" in tree:
            tree.setdefault("additionalProperties", False)
        if tree.get("format") == "int64" and tree.get("type") == "string":
            tree["pattern"] = r"^-?[0-9]+$"
    return tree


def _definitions():
    found = _strict(copy.deepcopy(DESCRIPTION["definitions"]))
    # google.protobuf.Value: any JSON. The generator of that release writes it as an object,
    # with which not one text could be a parameter.
    found["v2beta1RuntimeConfig"]["properties"]["parameters"]["additionalProperties"] = {}
    return found


DEFINITIONS = _definitions()


def problems_of(value, schema):
    """What of a value the description does not allow."""
    validator = Draft4Validator({**schema, "definitions": DEFINITIONS}, format_checker=FORMATS)
    return [f"{'/'.join(map(str, e.path))}: {e.message}" for e in validator.iter_errors(value)]


FORMATS = FormatChecker(formats=[])


@FORMATS.checks("date-time")
def _date_time(value):
    return not isinstance(value, str) or re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value
    )


def operation_of(method, path):
    """The operation of a request and its path parameters; None when there is none."""
    found = []
    for template, methods in DESCRIPTION["paths"].items():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", template)
        match = re.fullmatch(pattern, path)
        if match and method.lower() in methods:
            found.append((len(match.groupdict()), methods[method.lower()], match.groupdict()))
    return min(found, key=lambda entry: entry[0])[1:] if found else None


def request_problems(operation, query, body, files):
    """What of a request the description does not allow.

    Args:
      query: pairs.
      body: JSON, None without.
      files: names of the uploaded files.
    """
    declared = {(p["name"], p["in"]): p for p in operation.get("parameters", ())}
    found = []
    for name, value in query:
        parameter = declared.get((name, "query"))
        if parameter is None:
            found.append(f"query {name}: unknown")
        elif parameter["type"] == "integer" and not re.fullmatch(r"-?[0-9]+", value):
            found.append(f"query {name}={value!r}: no integer")
        elif name == "filter" and value:
            found += [f"filter {p}" for p in filter_problems(value)]
    if len({name for name, _ in query}) != len(query):
        found.append("query: a name twice")
    wanted = declared.get(("body", "body"))
    if wanted is None and body is not None:
        found.append("body: none is described")
    elif wanted is not None:
        found += [f"body {p}" for p in problems_of(body, wanted["schema"])]
    described = {name for name, place in declared if place == "formData"}
    if set(files) != described:
        found.append(f"files: {sorted(files)}, described: {sorted(described)}")
    return found


def answer_problems(operation, status, body):
    """What of an answer the description does not allow."""
    responses = operation["responses"]
    response = responses.get(str(status)) or responses.get("default")
    schema = response["schema"] if response else {"$ref": "#/definitions/googlerpcStatus"}
    if status == 200 and isinstance(body, dict):
        extra = UNDESCRIBED.get(operation["operationId"], set())
        body = {key: value for key, value in body.items() if key not in extra}
    return [f"answer {p}" for p in problems_of(body, schema)]


def read_filter(text):
    """A filter with the names of the description: JSON of protobuf may say `stringValue` and 1."""
    operations = DEFINITIONS["v2beta1PredicateOperation"]["enum"]

    def plain(tree):
        if isinstance(tree, list):
            return [plain(entry) for entry in tree]
        if not isinstance(tree, dict):
            return tree
        tree = {CAMEL.sub(r"_\1", key).lower(): plain(value) for key, value in tree.items()}
        if isinstance(tree.get("operation"), int):
            tree["operation"] = operations[tree["operation"]]
        return tree

    return plain(json.loads(text))


def filter_problems(text):
    try:
        tree = read_filter(text)
    except ValueError as error:
        return [str(error)]
    return problems_of(tree, {"$ref": "#/definitions/v2beta1Filter"})
