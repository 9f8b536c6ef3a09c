"""TFX executor of CatalogueRefresh."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from components.base import Artifacts, Properties, mark, only
from core.errors import PushError
from core.files import write_json
from input_tables.run_date import parse_run_date
from pipeline.config import RunConfig, validate_tree
from pipeline.local.runner import RunResult, run_local
from pipeline.report.render import HTML_NAME, JSON_NAME

_LOG = logging.getLogger("tessera")


class Executor(base_executor.BaseExecutor):
    """Runs a refresh in a folder of its own and keeps its report."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """See base class."""
        pushed = only(output_dict, "pushed")
        with tempfile.TemporaryDirectory(prefix="tessera-refresh-") as work_dir:
            result = run_local(refresh_config(exec_properties, work_dir))
            # Also of a run that failed: the launcher uploads nothing then, but the log has it.
            _keep(result, pushed)
        if result.error is not None:
            raise result.error
        if result.exit_code:
            reason = result.report.get("not_pushed_reason") or result.report.get("status")
            raise PushError(f"the refresh published nothing: {reason}")


def refresh_config(properties: dict[str, Any], work_dir: str) -> RunConfig:
    """Returns the configuration of a refresh with what the run was given.

    Args:
      properties: of the component.
      work_dir: for artifacts and metadata.

    Raises:
      ConfigError: a value is wrong.
    """
    tree = json.loads(properties["config_json"])
    tree |= {
        "pipeline": "refresh",
        "name": properties["name"],
        "serving_dir": properties["serving_dir"],
        "work_dir": work_dir,
    }
    tree["data"] = {**tree.get("data", {}), "root": properties["data_root"]}
    if properties["run_date"]:
        tree["data"]["run_date"] = parse_run_date(properties["run_date"]).isoformat()
    return validate_tree(RunConfig, tree, "the compiled refresh")


def _keep(result: RunResult, pushed: types.Artifact) -> None:
    report = result.report
    done = report.get("status") == "pushed"
    bundle, reason = report.get("bundle") or "", report.get("not_pushed_reason") or ""
    mark(
        pushed,
        pushed=done,
        pushed_version=report.get("pushed_version") or 0,
        pushed_destination=bundle,
        reason=reason,
    )
    for name in (JSON_NAME, HTML_NAME):
        if (result.run_dir / name).exists():
            shutil.copy(result.run_dir / name, Path(pushed.uri) / name)
    write_json(
        Path(pushed.uri) / "pushed.json",
        {
            "pushed": done,
            "version": report.get("pushed_version"),
            "destination": bundle,
            "reason": reason,
        },
    )
    _LOG.info("refresh: %s", report.get("status"))
