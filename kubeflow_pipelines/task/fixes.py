"""What TFX 1.16 gets wrong on open-source Kubeflow Pipelines v2, as checks of the installed TFX.

`invocation` and `entrypoint` of this package work around each defect. A TFX that no longer
has one, or in which it sits elsewhere, must not be worked around unseen: `check` then stops
every task (and a test), naming what to look at.

Reported upstream: tensorflow/tfx#7768, kubeflow/pipelines#13476.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

from google.protobuf import struct_pb2
from kfp.pipeline_spec import pipeline_spec_pb2 as pipeline_pb2
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as utils
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as run_executor

from core.errors import TesseraError


class Fix(NamedTuple):
    """One defect.

    Attributes:
      name: of the defect.
      where: what works around it here.
      present: whether the installed TFX has it; raises where TFX has changed around it.
    """

    name: str
    where: str
    present: Callable[[], bool]


class FixError(TesseraError):
    """The installed TFX is not the one that the entry point was written for."""


def check() -> None:
    """Makes sure that every defect is where it is expected.

    Raises:
      FixError: lists those that are not.
    """
    problems = []
    for fix in FIXES:
        try:
            if not fix.present():
                problems.append(f"{fix.name}: TFX does it right now; remove {fix.where}")
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            problems.append(f"{fix.name}: TFX has changed ({what}); look at {fix.where}")
    if problems:
        raise FixError(
            "this TFX is not the one that the Kubeflow entry point was written for:\n  "
            + "\n  ".join(problems)
        )


def _fails(call: Callable[[], object], *kinds: type[Exception]) -> bool:
    try:
        call()
    except kinds:
        return True
    return False


def _class_path(**schema: str) -> str:
    path: str = utils._retrieve_class_path(pipeline_pb2.ArtifactTypeSchema(**schema))
    return path


def _untyped() -> bool:
    return _fails(_class_path, UnboundLocalError)


def _empty_schema() -> bool:
    return _fails(lambda: _class_path(instance_schema=""), AttributeError)


def _collapsed() -> bool:
    # A class path that can be imported has the form module.Class of a module that is there.
    return _class_path(schema_title="system.Model") == "system.Model"


def _structure() -> bool:
    value = struct_pb2.Value(struct_value=struct_pb2.Struct())
    spec = pipeline_pb2.ComponentInputsSpec()
    parsed = utils.parse_execution_properties({"status": value}, {}, spec)["status"]
    return isinstance(parsed, struct_pb2.Struct)


def _null_metadata() -> bool:
    mapping = utils._get_json_value_mapping({"key": metadata_store_pb2.Value()})
    return mapping == {"key": None}


def _object_storage() -> bool:
    return _fails(lambda: fileio.exists("minio://bucket/key"), Exception)


def _stale_output_file() -> bool:
    source = inspect.getsource(run_executor._run_executor)
    if "executor_input.outputs.output_file" not in source:
        raise LookupError("_run_executor reads no output_file")
    return "fileio.exists(executor_input.outputs.output_file)" in source


def _two_arguments() -> bool:
    return list(inspect.signature(run_executor._run_executor).parameters) == ["args", "beam_args"]


FIXES = (
    Fix("input artifacts without a type", "invocation.complete_types", _untyped),
    Fix("an empty instance schema", "invocation.complete_types", _empty_schema),
    Fix("types collapsed to system.*", "invocation.complete_types", _collapsed),
    Fix("structures as parameters", "invocation.text_parameters", _structure),
    Fix("null among the metadata", "invocation.restored", _null_metadata),
    Fix("URIs of the launcher", "invocation.prepare", _object_storage),
    Fix("a stale output file is read", "entrypoint._clear", _stale_output_file),
    Fix("the call of the executor", "entrypoint._execute", _two_arguments),
)
