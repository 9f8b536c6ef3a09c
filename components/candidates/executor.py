"""TFX executor of the CandidateGen."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path

from tfx.dsl.components.base import base_beam_executor

from components.base import Artifacts, Properties, only, uri
from components.bundle.opened import opened_bundle
from components.candidates.config import CandidateGenConfig
from components.candidates.generate import CandidateRequest, write_candidates
from core.files import write_json
from input_tables.config import DataConfig
from input_tables.layout import find_tables
from input_tables.remote import local_tables

REPORT_FILE = "candidates.json"
_LOG = logging.getLogger("tessera")


class Executor(base_beam_executor.BaseBeamExecutor):
    """Asks the version that the Pusher published; without one nothing is made."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """See base class."""
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = only(input_dict, "pushed")
        report = Path(uri(output_dict, "report")) / REPORT_FILE
        destination = pushed.get_string_custom_property("pushed_destination")
        if pushed.get_int_custom_property("pushed") != 1 or not destination:
            reason = pushed.get_string_custom_property("reason") or "nothing was published"
            _LOG.info("no candidates: %s", reason)
            write_json(report, {"made": False, "reason": reason})
            return
        config = CandidateGenConfig.from_json(exec_properties["config_json"])
        day = exec_properties["run_date"]
        root = {"root": exec_properties["data_root"], "run_date": day or None}
        place = DataConfig.model_validate({**config.data.model_dump(), **root})
        with ExitStack() as stack:
            bundle = stack.enter_context(opened_bundle(destination))
            wanted = bundle.manifest.features.columns()
            tables = find_tables(stack.enter_context(local_tables(place, wanted=wanted)), wanted)
            asked = CandidateRequest(tables, config.time_unit, config.follows_max_topics, day=day)
            made = write_candidates(bundle, asked, config.candidates, self._make_beam_pipeline)
        write_json(report, {"made": True, **made})
