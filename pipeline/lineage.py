"""What ML Metadata knows of one local run: states and output artifacts per node."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

_DONE = (mlmd.Execution.COMPLETE, mlmd.Execution.CACHED)


@dataclass
class NodeState:
    """One component of a run.

    Attributes:
      done: whether it completed or was reused from the cache.
      state: ML Metadata's name of its state.
      outputs: output key -> artifact folder.
      properties: output key -> custom properties of the artifact.
    """

    done: bool
    state: str
    outputs: dict[str, Path] = field(default_factory=dict)
    properties: dict[str, dict[str, object]] = field(default_factory=dict)


def read_run(metadata_path: Path, since_ms: int) -> dict[str, NodeState]:
    """Reads the newest run that began at or after a moment.

    Args:
      metadata_path: SQLite file of the metadata store.
      since_ms: Unix time in milliseconds; older runs are not looked at.

    Returns:
      node id -> state; empty when no run began since then.
    """
    if not metadata_path.exists():
        return {}
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(metadata_path)
    store = metadata_store.MetadataStore(config)
    runs = [
        context
        for context in store.get_contexts_by_type("pipeline_run")
        if context.create_time_since_epoch >= since_ms
    ]
    if not runs:
        return {}
    run = max(runs, key=lambda context: context.create_time_since_epoch)
    return {
        _node_id(store, execution.id): _node_state(store, execution)
        for execution in sorted(store.get_executions_by_context(run.id), key=lambda e: e.id)
    }


def _node_id(store: metadata_store.MetadataStore, execution_id: int) -> str:
    for context in store.get_contexts_by_execution(execution_id):
        if context.type == "node":
            # Named '<pipeline>.<node>'; pipeline names hold no dots.
            return str(context.name).split(".", 1)[-1]
    return f"execution-{execution_id}"


def _node_state(store: metadata_store.MetadataStore, execution: mlmd.Execution) -> NodeState:
    state = execution.last_known_state
    node = NodeState(done=state in _DONE, state=mlmd.Execution.State.Name(state))
    events = [
        event
        for event in store.get_events_by_execution_ids([execution.id])
        if event.type == mlmd.Event.OUTPUT
    ]
    artifacts = {a.id: a for a in store.get_artifacts_by_id([e.artifact_id for e in events])}
    for event in events:
        key = event.path.steps[0].key
        artifact = artifacts[event.artifact_id]
        node.outputs[key] = Path(artifact.uri)
        node.properties[key] = {
            name: getattr(value, value.WhichOneof("value"))
            for name, value in artifact.custom_properties.items()
        }
    return node
