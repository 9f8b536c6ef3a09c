"""TFX executor of StatusReport."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import urllib.request
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_executor

from components.base import Artifacts, Properties
from components.bundle.days import version_of_day
from components.bundle.reports import report_path
from core.errors import ConfigError, TesseraError
from core.files import staged_file
from core.storage import ObjectStore, is_remote
from input_tables.run_date import parse_run_date

_LOG = logging.getLogger("tessera")

#: Address that a report is posted to as JSON; from a secret, so that no pipeline holds it.
WEBHOOK_VARIABLE = "TESSERA_STATUS_WEBHOOK"
_TIMEOUT_S = 20.0
_GOOD = ("COMPLETE", "SUCCEEDED")


class Executor(base_executor.BaseExecutor):
    """Trouble with a report only warns: the run's own outcome stands."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """See base class."""
        report = status_report(
            exec_properties["final_status"],
            exec_properties["run_date"],
            exec_properties["model_name"],
        )
        if report["state"] in _GOOD and exec_properties.get("serving_dir"):
            report |= published(
                exec_properties["serving_dir"],
                report["model"],
                report["run_date"],
                refresh=exec_properties.get("pipeline") == "refresh",
            )
        text = json.dumps(report, sort_keys=True)
        log = _LOG.info if report["state"] in _GOOD else _LOG.error
        log("run ended: %s", text)
        # Posted first: the storage may be what the run failed of.
        if os.environ.get(WEBHOOK_VARIABLE):
            _post(os.environ[WEBHOOK_VARIABLE], text)
        if exec_properties["status_dir"]:
            _keep(exec_properties["status_dir"], report, text)


def status_report(final_status: str, run_date: str, model_name: str) -> dict[str, Any]:
    """Returns what is reported of a run.

    Args:
      final_status: a `PipelineTaskFinalStatus` as JSON, in either spelling of its keys.
      run_date: the run's parameter; a schedule gives `YYYY-MM-DD-Nd`.
      model_name: the run's parameter.
    """
    status = json.loads(final_status or "{}")
    error = status.get("error") or {}
    run = next(
        (
            status[key]
            for key in ("pipelineJobResourceName", "pipeline_job_resource_name")
            if status.get(key)
        ),
        "",
    )
    return {
        "model": model_name,
        "run_date": _day(run_date),
        "run": run,
        "state": status.get("state", "UNKNOWN"),
        "error": error.get("message", ""),
    }


def published(serving_dir: str, name: str, run_date: str, refresh: bool = False) -> dict[str, Any]:
    """Returns the newest version of a day and where its report is; nothing where there is none.

    Args:
      serving_dir: folder or URL of pushed bundles.
      name: of the model.
      run_date: the day; '': of tables without days, whose versions are not looked up.
      refresh: the day is that of a refresh's items.
    """
    if not run_date:
        return {}
    try:
        version = version_of_day(serving_dir, name, dt.date.fromisoformat(run_date), refresh)
        if version is None:
            return {}
        found: dict[str, Any] = {"version": version}
        path = report_path(serving_dir, name, version)
        there = (
            ObjectStore(serving_dir).size(path.removeprefix(f"{serving_dir.rstrip('/')}/"))
            is not None
            if is_remote(serving_dir)
            else Path(path).exists()
        )
        return {**found, "report": path} if there else found
    except (OSError, ValueError, TesseraError) as error:
        _LOG.warning("what was published could not be looked up: %s", error)
        return {}


def _day(run_date: str) -> str:
    """Returns the day that a run is of, what it was given where that is none."""
    try:
        return parse_run_date(run_date).isoformat() if run_date else ""
    except ConfigError:
        return run_date


def _keep(folder: str, report: dict[str, Any], text: str) -> None:
    name = "-".join(part for part in (report["model"], report["run_date"]) if part)
    try:
        if is_remote(folder):
            ObjectStore(folder).write(f"{name}.json", f"{text}\n".encode())
            return
        with staged_file(Path(folder) / f"{name}.json") as staging:
            staging.write_text(f"{text}\n")
    except (OSError, TesseraError) as error:
        _LOG.warning("the run's status could not be written to %s: %s", folder, error)


def _post(address: str, text: str) -> None:
    headers = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(address, data=text.encode(), headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
            pass
    except (OSError, ValueError) as error:
        # The address is a secret: it may be in the error's text.
        _LOG.warning("the run's status could not be posted: %s", type(error).__name__)
