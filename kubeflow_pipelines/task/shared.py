"""Artifacts on a volume that Beam's workers on other machines mount too.

The launcher brings artifacts to folders of the pod, which no other pod sees. Where a task's
Beam pipeline runs on workers elsewhere, its artifacts go by way of a volume that they and
the task's pod mount at the same place.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.digest import json_digest
from core.storage import SHARED_VARIABLE as SHARED_VARIABLE
from core.storage import is_remote
from kubeflow_pipelines.task.invocation import Invocation
from kubeflow_pipelines.task.uris import replace_prefix


@contextmanager
def on_shared_volume(invocation: Invocation, folder: str | None) -> Iterator[Invocation]:
    """Yields an invocation whose artifacts lie on the volume; brings its outputs back.

    What the task had there is removed afterwards, however it ended; outputs come back only
    when it ended well.

    Args:
      invocation: with paths of the launcher.
      folder: on the volume; None leaves everything as it is, and so does a URL, which
        RetrievalExampleGen sees to itself (`components.example_gen.places`).
    """
    if not folder or is_remote(folder):
        yield invocation
        return
    own = Path(folder) / f"task-{json_digest(sorted(invocation.uris.values()))}"
    moved = {path: f"{own}{os.path.abspath(path)}" for path in invocation.uris}
    outputs = set(invocation.outputs.values())
    shutil.rmtree(own, ignore_errors=True)  # of a try that was killed
    own.mkdir(parents=True)
    try:
        for path, there in moved.items():
            if path not in outputs and os.path.isdir(path):
                shutil.copytree(path, there)
        yield replace(
            invocation,
            executor_input=_moved(invocation.executor_input, moved),
            outputs={key: moved.get(path, path) for key, path in invocation.outputs.items()},
            uris={moved[path]: uri for path, uri in invocation.uris.items()},
        )
        for path in outputs & moved.keys():
            shutil.copytree(moved[path], path, dirs_exist_ok=True)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _moved(executor_input: Any, moved: dict[str, str]) -> Any:
    found = copy.deepcopy(executor_input)
    for part in (found.inputs.artifacts, found.outputs.artifacts):
        for entries in part.values():
            for artifact in entries.artifacts:
                artifact.uri = replace_prefix(artifact.uri, moved)
                for value in artifact.metadata.fields.values():
                    if value.WhichOneof("kind") == "string_value":
                        value.string_value = replace_prefix(value.string_value, moved)
    return found
