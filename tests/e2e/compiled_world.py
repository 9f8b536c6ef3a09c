"""A scheduled pipeline in an object store, and a server that really runs what it is sent."""

import datetime as dt
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from tests.e2e.conftest import DAILY, LAST_DAY, REPOSITORY, WINDOW, tessera, write_config
from tests.kubeflow_pipelines.client.kfp_stub import FINAL, KfpStub

MIDDLE_DAY = LAST_DAY - dt.timedelta(days=1)
NAME = "e2e"
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def storage_access():
    """What `kubeflow` must say: tasks see of this process's environment what they name."""
    names = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
    return {
        "env": {name: os.environ[name] for name in names},
        "pods": {"secrets": [{"name": "store", "env": {n: n for n in _SECRETS}}]},
    }


class World:
    """Tables in a bucket, a compiled file, and where its runs work.

    Attributes:
      python: starts `tessera run --compiled`, and is what the tasks' `python` is.
    """

    def __init__(self, root, s3, tables, python):
        self.root, self.s3, self.tables, self.python = Path(root), s3, tables, python
        self.runs = []
        self.data_root, self.serving_root = s3.url("tables"), s3.url("serving")
        self.work_dir = self.root / "compiled"
        self.conf = write_config(
            self.root / "kubeflow.yaml",
            self.data_root,
            self.root / "nowhere",
            name=NAME,
            serving_dir=self.serving_root,
            data={"root": self.data_root, **WINDOW},
            kubeflow={
                "image": "registry.example/tessera:1",
                "pipeline_root": s3.url("artifacts"),
                "retry": {"max_retries": 1, "backoff_s": 1},
                "status_dir": s3.url("status"),
                **storage_access(),
            },
            **DAILY,
        )
        self.file = self.root / "pipeline.yaml"
        done = tessera("compile", "--conf", self.conf, "-o", self.file)
        assert done.code == 0, done.err

    def upload(self, without=()):
        for path in sorted(self.tables.rglob("*")):
            name = path.relative_to(self.tables).as_posix()
            if path.is_file() and not name.startswith(tuple(without)):
                self.s3.put(f"{self.data_root}/{name}", path.read_bytes())

    def command(self, day):
        return [
            self.python, "-m", "cli", "run", "--compiled", str(self.file),
            "--run-date", str(day), "--work-dir", str(self.work_dir), "--object-store", "s3",
        ]  # fmt: skip

    def start(self, day):
        run = subprocess.Popen(
            self.command(day),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.runs.append(run)
        return run

    def stop(self):
        """Ends what a failed test left running; tasks die with their run."""
        for run in self.runs:
            run.kill()
            run.wait()

    def logs(self, task):
        return sorted(self.work_dir.glob(f"runs/*/logs/{task}-*.log"))

    def published(self):
        """Version -> keys, of every version that a reader would take for one."""
        keys = self.s3.keys(f"{self.serving_root}/{NAME}")
        versions = {key.split("/")[0] for key in keys if key.split("/")[0].isdigit()}
        return {
            int(v): {k.split("/", 1)[1]: body for k, body in keys.items() if k.startswith(f"{v}/")}
            for v in versions
            if f"{v}/saved_model.pb" in keys
        }

    def manifests(self):
        return {v: json.loads(files["manifest.json"]) for v, files in self.published().items()}

    def entrypoint_of(self, task):
        """Process number of a running task's container command, None when there is none.

        Other worlds, of another test run on this machine, have tasks of the same name.
        """
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace")
                folder = os.readlink(f"/proc/{entry}/cwd")
            except OSError:
                continue
            if (
                "kubeflow_pipelines.task.entrypoint" in words
                and f"/pods/{task}-" in folder
                and folder.startswith(f"{self.work_dir.resolve()}/")
            ):
                return int(entry)
        return None

    def kill_when(self, task, condition):
        """Kills the first attempt of a task with -9 once a condition holds."""

        def killing():
            wait_for(condition)
            pid = self.entrypoint_of(task)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)

        thread = threading.Thread(target=killing, daemon=True)
        thread.start()
        return thread


def wait_for(condition, seconds=1500.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.1)
    return found


class ExecutingStub(KfpStub):
    """Runs end as the compiled file ends that was uploaded, executed task by task."""

    def run_with(self, world):
        self.world, self.jobs = world, {}
        return self

    def _GetRun(self, path, **more):
        run = self._get(self.runs, path["run_id"])
        if run["state"] in FINAL:
            return run
        if run["run_id"] not in self.jobs:
            assert self._package(run) == self.world.file.read_bytes()
            day = self._complete(run)["run_date"]
            self.jobs[run["run_id"]] = self.world.start(day)
        job = self.jobs[run["run_id"]]
        if job.poll() is None:
            run["state"] = "RUNNING"
            return run
        failed = "tessera: " in (text := job.stdout.read())
        self.outcome = lambda *_: ("FAILED", text) if failed else "SUCCEEDED"
        self._left[run["run_id"]] = 0
        return super()._GetRun(path, **more)
