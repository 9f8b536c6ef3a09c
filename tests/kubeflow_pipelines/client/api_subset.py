"""The part of Kubeflow Pipelines' published API that Tessera uses.

Written from the description of tag sdk-2.5.0,
backend/api/v2beta1/swagger/kfp_api_single_file.swagger.json of
github.com/kubeflow/pipelines (Apache License 2.0):

    python -m tests.kubeflow_pipelines.client.api_subset ORIGINAL
"""

import json
import os
import re
import sys
from pathlib import Path

SUBSET = Path(__file__).with_name("v2beta1-subset.json")
ORIGINAL = Path(
    os.environ.get("KFP_API_DESCRIPTION")
    or Path(__file__).resolve().parents[4] / "shared/kfp/v2beta1.swagger.json"
)
OPERATIONS = {
    "GetHealthz",
    "ListExperiments",
    "CreateExperiment",
    "ListPipelines",
    "CreatePipeline",
    "ListPipelineVersions",
    "UploadPipelineVersion",
    "ListRuns",
    "CreateRun",
    "GetRun",
    "ListRecurringRuns",
    "CreateRecurringRun",
    "DeleteRecurringRun",
    "EnableRecurringRun",
    "DisableRecurringRun",
}
NOTICE = (
    "Part of the Kubeflow Pipelines API description (github.com/kubeflow/pipelines, tag "
    "sdk-2.5.0, backend/api/v2beta1/swagger/kfp_api_single_file.swagger.json), without its "
    "prose. Copyright The Kubeflow Authors, Apache License 2.0, "
    "http://www.apache.org/licenses/LICENSE-2.0"
)
REFERENCE = re.compile(r'"#/definitions/([A-Za-z0-9]+)"')


def subset(original):
    """What `original` says of the operations, with every definition that they need."""
    paths = {}
    for path, methods in original["paths"].items():
        chosen = {m: op for m, op in methods.items() if op["operationId"] in OPERATIONS}
        if chosen:
            paths[path] = _without_prose(chosen)
    # A filter is a query parameter of type string; what is in the string is defined, too.
    needed, done = {"v2beta1Filter", *REFERENCE.findall(json.dumps(paths))}, {}
    while needed - done.keys():
        for name in needed - done.keys():
            done[name] = _without_prose(original["definitions"][name])
        needed |= set(REFERENCE.findall(json.dumps(done)))
    return {
        "x-notice": NOTICE,
        "swagger": original["swagger"],
        "info": {k: original["info"][k] for k in ("title", "version", "license")},
        "paths": paths,
        "definitions": dict(sorted(done.items())),
    }


def _without_prose(tree, names=False):
    """`tree` without what only people read; `names`: its keys are names of properties."""
    if isinstance(tree, list):
        return [_without_prose(entry) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        key: _without_prose(value, names=key == "properties" and not names)
        for key, value in tree.items()
        if names or key not in ("description", "title", "summary", "tags")
    }


if __name__ == "__main__":
    whole = json.loads(Path(sys.argv[1]).read_text())
    SUBSET.write_text(json.dumps(subset(whole), indent=1) + "\n")
