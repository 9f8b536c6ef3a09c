"""Fault 74: the metadata of local runs is deleted, damaged, locked, or used by two runs at once."""

import contextlib
import subprocess
import sys

import pytest

from core.errors import TesseraError
from core.lock import run_lock
from pipeline.config import RunConfig
from pipeline.local import runner as local_runner


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the smallest pipeline there is through the real runner."""
    import pipeline.dag
    from components.curated_schema.component import CuratedSchema

    def one_component(config, paths):
        return [CuratedSchema(schema_text=paths.schema)]

    monkeypatch.setattr(pipeline.dag, "build_components", one_component)
    config = RunConfig.model_validate({"data": {"root": "/tables"}, "work_dir": str(tmp_path)})
    return lambda: local_runner.run_local(config)


@contextlib.contextmanager
def _holding(script, path):
    """A process that holds something until its standard input is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        yield other


@pytest.mark.fault(74)
def test_deleted_metadata_cost_the_cache_and_nothing_else(run, tmp_path):
    assert run().error is None
    (tmp_path / "metadata.db").unlink()
    assert run().error is None
    assert run().error is None


@pytest.mark.fault(74)
def test_damaged_metadata_are_named_with_the_mend(run, tmp_path):
    assert run().error is None
    (tmp_path / "metadata.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(TesseraError, match=r"metadata\.db: .*not a database; remove it"):
        run()
    (tmp_path / "metadata.db").unlink()
    assert run().error is None


@pytest.mark.fault(74)
def test_locked_metadata_are_named_and_used_once_they_are_free(run, tmp_path):
    assert run().error is None
    locking = (
        "import sqlite3, sys\n"
        "held = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "held.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()\n"
    )
    with _holding(locking, tmp_path / "metadata.db") as other:
        with pytest.raises(TesseraError, match=r"metadata\.db: cannot be written .*locked"):
            run()
        other.stdin.close()
    assert run().error is None


@pytest.mark.fault(74)
def test_a_second_run_at_the_same_time_is_refused_and_the_first_goes_on(run, tmp_path):
    holder = (
        "import sys, pathlib; from core.lock import run_lock\n"
        "with run_lock(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with _holding(holder, tmp_path) as other:
        with pytest.raises(TesseraError, match="another run"):
            run()
        other.stdin.close()
    with run_lock(tmp_path):
        pass
    assert run().error is None
