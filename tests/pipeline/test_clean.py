"""`tessera clean`: artifacts of old runs, by the metadata that the runs wrote."""

import json

import pytest
from click.testing import CliRunner
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from cli.clean import clean as command
from core.errors import ConfigError, TesseraError
from core.lock import run_lock
from pipeline.clean import Kept, clean
from pipeline.forget.work_dir import remove_artifact

COMPLETE, CACHED = mlmd.Execution.COMPLETE, mlmd.Execution.CACHED


class Runs:
    """Writes runs of three components into a real metadata store, with a folder per artifact."""

    def __init__(self, root):
        self.root = root
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(root / "metadata.db")
        config.sqlite.connection_mode = 3  # READWRITE_OPENCREATE
        self.store = store = metadata_store.MetadataStore(config)
        put = store.put_artifact_type
        self.types = {name: put(mlmd.ArtifactType(name=name))
                      for name in ("Examples", "Model", "components.Blessing")}  # fmt: skip
        self.contexts = {name: store.put_context_type(mlmd.ContextType(name=name))
                         for name in ("pipeline", "pipeline_run", "node")}  # fmt: skip
        self.execution = store.put_execution_type(mlmd.ExecutionType(name="component"))
        self.known, self.number = {}, 0

    def context(self, kind, name):
        if (kind, name) not in self.known:
            given = mlmd.Context(type_id=self.contexts[kind], name=name)
            (self.known[kind, name],) = self.store.put_contexts([given])
        return self.known[kind, name]

    def node(self, run, name, kind, reads=(), cached=None, blessed=None, pipeline="demo"):
        """One execution; returns its artifact."""
        execution = mlmd.Execution(
            type_id=self.execution, last_known_state=COMPLETE if cached is None else CACHED
        )
        artifact = mlmd.Artifact(id=cached) if cached else self.artifact(name, kind, blessed)
        (number,) = self.store.put_executions([execution])
        made = cached or self.store.put_artifacts([artifact])[0]
        events = [mlmd.Event(artifact_id=a, execution_id=number, type=mlmd.Event.INPUT)
                  for a in reads]  # fmt: skip
        key = mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key="out")])
        out = mlmd.Event.OUTPUT
        events += [mlmd.Event(artifact_id=made, execution_id=number, type=out, path=key)]
        self.store.put_events(events)
        where = (("pipeline", pipeline), ("pipeline_run", run), ("node", f"{pipeline}.{name}"))
        self.store.put_attributions_and_associations(
            [], [mlmd.Association(execution_id=number, context_id=self.context(*c)) for c in where]
        )
        return made

    def artifact(self, name, kind, blessed):
        self.number += 1
        folder = self.root / "artifacts" / name / "out" / str(self.number)
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 10)
        live = mlmd.Artifact.LIVE
        artifact = mlmd.Artifact(type_id=self.types[kind], uri=str(folder), state=live)
        if blessed is not None:
            artifact.custom_properties["blessed"].int_value = int(blessed)
        return artifact

    def run(self, name, blessed, examples=None, pipeline="demo"):
        """A whole run; with `examples` these are answered from the cache."""
        given = self.node(name, "Gen", "Examples", (), examples, pipeline=pipeline)
        model = self.node(name, "Trainer", "Model", (given,), pipeline=pipeline)
        self.node(name, "Eval", "components.Blessing", (model,), None, blessed, pipeline)
        return given

    def there(self):
        folders = (self.root / "artifacts").glob("*/*/*")
        return {f"{path.parts[-3]}{path.name}" for path in folders}


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


def test_the_newest_runs_and_the_newest_blessed_model_stay(runs):
    runs.run("r1", True)  # 1 2 3
    runs.run("r2", True)  # 4 5 6
    runs.run("r3", False)  # 7 8 9
    runs.run("r4", False)  # 10 11 12
    old = clean(runs.root, Kept(1), 0, dry_run=True)
    assert [one.bytes for one in old] == [10] * 6 and len(runs.there()) == 12
    assert clean(runs.root, Kept(1), 0, dry_run=False) == old
    assert runs.there() == {"Gen4", "Trainer5", "Eval6", "Gen10", "Trainer11", "Eval12"}
    assert clean(runs.root, Kept(1), 0, dry_run=False) == []


def test_what_a_kept_run_took_from_the_cache_stays(runs):
    examples = runs.run("r1", False)
    runs.run("r2", False)
    runs.run("r3", False, examples)
    clean(runs.root, Kept(1), 0, dry_run=False)
    assert runs.there() == {"Gen1", "Trainer7", "Eval8"}


def test_a_run_that_stopped_early_does_not_cost_the_cache(runs):
    runs.run("r1", False)  # 1 2 3
    runs.run("r2", False)  # 4 5 6
    runs.node("r3", "Gen", "Examples")  # 7
    clean(runs.root, Kept(1), 0, dry_run=False)
    assert runs.there() == {"Trainer5", "Eval6", "Gen7"}


def test_each_pipeline_keeps_its_blessed_model(runs):
    runs.run("r1", True, pipeline="refresh")
    runs.run("r2", True)
    runs.run("r3", False)
    assert clean(runs.root, Kept(1), 0, dry_run=False) == []


def test_young_runs_stay_and_unknown_folders_too(runs):
    for name in ("r1", "r2", "r3"):
        runs.run(name, False)
    (runs.root / "artifacts/Gen/out/99").mkdir()
    (context,) = runs.store.get_contexts_by_type("pipeline_run")[:1]
    soon, later = (context.create_time_since_epoch + days * 86_400_000 for days in (1, 3))
    assert clean(runs.root, Kept(1, 2.0), soon, dry_run=False) == []
    assert len(clean(runs.root, Kept(1, 2.0), later, dry_run=False)) == 6
    assert "Gen99" in runs.there()


def test_the_command_lists_first_and_removes_with_yes(runs):
    for name in ("r1", "r2"):
        runs.run(name, False)
    where = ["--work-dir", str(runs.root), "--keep-runs", "1"]
    listed = CliRunner().invoke(command, where).stdout
    assert "3 artifacts, 0.0 MB would be removed; do it with --yes" in listed
    assert len(runs.there()) == 6
    done = json.loads(CliRunner().invoke(command, [*where, "--yes", "--json"]).stdout)
    assert done["removed"] and done["bytes"] == 30 and len(runs.there()) == 3
    assert CliRunner().invoke(command, []).exit_code == 2


def test_tfx_answers_nothing_from_its_cache_whose_folder_is_gone(runs):
    """What `tessera forget` and `tessera clean` rest on."""
    from tfx.orchestration import metadata
    from tfx.orchestration.portable.cache_utils import get_cached_outputs

    runs.run("r1", False)
    config = metadata.sqlite_metadata_connection_config(str(runs.root / "metadata.db"))
    (cache,) = (c for c in runs.store.get_contexts_by_type("node") if c.name == "demo.Gen")
    with metadata.Metadata(config) as handle:
        assert get_cached_outputs(handle, cache) is not None
        (folder,) = (runs.root / "artifacts/Gen/out").iterdir()
        remove_artifact(folder, runs.root)
        assert get_cached_outputs(handle, cache) is None


def test_no_work_folder_or_a_running_run_is_refused(runs, tmp_path):
    with pytest.raises(ConfigError, match="no work folder of runs"):
        clean(tmp_path / "artifacts", Kept(1), 0, dry_run=True)
    runs.run("r1", False)
    with run_lock(runs.root), pytest.raises(TesseraError, match="another run"):
        clean(runs.root, Kept(1), 0, dry_run=True)
