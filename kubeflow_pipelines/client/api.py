"""What Tessera does with Kubeflow Pipelines, as typed calls on kfp's own client."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import kfp_server_api as api

from kubeflow_pipelines.client.connection import ONCE, Connection
from kubeflow_pipelines.client.dates import day_of_run
from kubeflow_pipelines.client.errors import ApiError, TransientError
from kubeflow_pipelines.client.records import Launch, Recurring, Run, RunState, Schedule, Version
from kubeflow_pipelines.package import Compiled
from kubeflow_pipelines.parameters import RUN_DATE

_PAGE = 100


class KubeflowClient:
    """Pipelines, versions, runs and recurring runs of one server."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._kfp = connection.client
        self._call = connection.call

    def find_pipeline(self, name: str) -> str | None:
        """Returns the id of a pipeline, None when there is none of this name."""
        found = self._call(
            f"the pipeline {name}",
            lambda: self._kfp.list_pipelines(
                filter=_named(name), namespace=self.connection.namespace or None
            ),
        )
        return found.pipelines[0].pipeline_id if found.pipelines else None

    def upload(self, compiled: Compiled) -> tuple[Version, bool]:
        """Makes a compiled file a version of its pipeline, unless it is one.

        Returns:
          The version, and whether it is new.
        """
        pipeline_id = self.find_pipeline(compiled.name) or self._create_pipeline(compiled.name)
        name = compiled.version_name
        version = self._find_version(pipeline_id, name)
        if version is not None:
            return version, False
        try:
            answer = self._call(
                f"uploading {compiled.path}",
                lambda: self._kfp.upload_pipeline_version(
                    str(compiled.path), pipeline_version_name=name, pipeline_id=pipeline_id
                ),
                ONCE,
            )
        except (TransientError, ApiError) as error:
            # The answer was lost, or somebody else was faster: either way it may be there.
            if isinstance(error, ApiError) and error.status != 409:
                raise
            version = self._find_version(pipeline_id, name)
            if version is None:
                raise
            return version, True
        return Version(pipeline_id, answer.pipeline_version_id, name), True

    def newest_version(self, pipeline_id: str) -> Version | None:
        """Returns the version of a pipeline that was uploaded last."""
        found = self._call(
            "the versions of the pipeline",
            lambda: self._kfp.list_pipeline_versions(
                pipeline_id, page_size=1, sort_by="created_at desc"
            ),
        )
        for entry in found.pipeline_versions or ():
            return Version(pipeline_id, entry.pipeline_version_id, entry.display_name)
        return None

    def find_experiment(self, name: str) -> str | None:
        """Returns the id of an experiment, None when there is none of this name."""
        found = self._call(
            f"the experiment {name}", lambda: self._kfp.list_experiments(filter=_named(name))
        )
        return found.experiments[0].experiment_id if found.experiments else None

    def experiment(self, name: str) -> str:
        """Returns the id of an experiment, which is made where it is missing."""
        found = self.find_experiment(name)
        if found is not None:
            return found
        made = self._call(
            f"creating the experiment {name}", lambda: self._kfp.create_experiment(name), ONCE
        )
        return str(made.experiment_id)

    def create_run(self, launch: Launch, day: dt.date | None) -> Run:
        """Starts the run of one day; None: of tables without days.

        Raises:
          TransientError: the answer was lost; the run may have started or not.
        """
        answer = self._call(
            f"starting the run {launch.run_name(day)}",
            lambda: self._kfp.run_pipeline(
                experiment_id=launch.experiment_id,
                job_name=launch.run_name(day),
                params=launch.with_day(None if day is None else day.isoformat()),
                pipeline_id=launch.version.pipeline_id,
                version_id=launch.version.version_id,
                pipeline_root=launch.pipeline_root or None,
                service_account=launch.service_account or None,
            ),
            ONCE,
        )
        return self._run(answer)

    def get_run(self, run_id: str) -> Run:
        """Returns a run as it is now."""
        return self._run(self._call(f"the run {run_id}", lambda: self._kfp.get_run(run_id)))

    def wait_for(
        self, run_id: str, poll_s: float, seen: Callable[[Run], None] | None = None
    ) -> Run:
        """Returns a run when it has ended.

        Args:
          run_id: of the run.
          poll_s: seconds between two questions.
          seen: is told every answer.
        """
        while True:
            run = self.get_run(run_id)
            if seen is not None:
                seen(run)
            if run.state is not RunState.RUNNING:
                return run
            time.sleep(poll_s)

    def runs(self, experiment_id: str, pipeline_id: str) -> Iterator[Run]:
        """Yields the runs of a pipeline in an experiment, the newest first."""
        token = ""
        while True:
            page = self._call(
                "the list of runs",
                lambda token=token: self._kfp.list_runs(  # type: ignore[misc]
                    page_token=token,
                    page_size=_PAGE,
                    sort_by="created_at desc",
                    experiment_id=experiment_id,
                ),
            )
            for entry in page.runs or ():
                run = self._run(entry)
                if run.pipeline_id == pipeline_id:
                    yield run
            token = page.next_page_token or ""
            if not token:
                return

    def run_of(
        self, launch: Launch, day: dt.date | None, defaults: Mapping[str, Any]
    ) -> Run | None:
        """Returns the newest run of a day with the same parameters, of whatever version.

        Args:
          launch: names pipeline, experiment and parameters.
          day: None: of tables without days.
          defaults: what a run has that does not name a parameter.
        """
        wanted = _without_day({**defaults, **launch.parameters})
        for run in self.runs(launch.experiment_id, launch.version.pipeline_id):
            if run.day == day and _without_day({**defaults, **run.parameters}) == wanted:
                return run
        return None

    def recurring_runs(self, name: str) -> list[Recurring]:
        """Returns the recurring runs of a name, the newest first."""
        found = self._call(
            f"the schedule {name}",
            lambda: self._kfp.list_recurring_runs(
                page_size=_PAGE,
                sort_by="created_at desc",
                namespace=self.connection.namespace or None,
                filter=_named(name),
            ),
        )
        return [_recurring(entry) for entry in found.recurring_runs or ()]

    def create_recurring(self, schedule: Schedule, enabled: bool, note: str) -> Recurring:
        """Makes a recurring run.

        Args:
          schedule: what runs when.
          enabled: whether it starts runs from now on.
          note: its description.
        """
        launch = schedule.launch
        answer = self._call(
            f"creating the schedule {launch.name}",
            lambda: self._kfp.create_recurring_run(
                experiment_id=launch.experiment_id,
                job_name=launch.name,
                description=note,
                cron_expression=schedule.cron,
                # A 64-bit number is text in the API's description.
                max_concurrency="1",
                no_catchup=True,
                params=launch.with_day(schedule.run_date),
                pipeline_id=launch.version.pipeline_id,
                version_id=launch.version.version_id,
                enabled=enabled,
                pipeline_root=launch.pipeline_root or None,
                service_account=launch.service_account or None,
            ),
            ONCE,
        )
        return _recurring(answer)

    def enable(self, recurring: Recurring) -> None:
        """Lets a recurring run start runs."""
        self._call(
            f"enabling the schedule {recurring.name}",
            lambda: self._kfp.enable_recurring_run(recurring.recurring_id),
        )

    def disable(self, recurring: Recurring) -> None:
        """Keeps a recurring run from starting runs."""
        self._call(
            f"pausing the schedule {recurring.name}",
            lambda: self._kfp.disable_recurring_run(recurring.recurring_id),
        )

    def delete(self, recurring: Recurring) -> None:
        """Removes a recurring run; the runs it started stay."""
        try:
            self._call(
                f"deleting the schedule {recurring.name}",
                lambda: self._kfp.delete_recurring_run(recurring.recurring_id),
            )
        except ApiError as error:
            if error.status != 404:  # it is gone, which was asked for
                raise

    def link(self, run_id: str) -> str:
        """Returns the page of a run."""
        return f"{self._kfp._get_url_prefix().rstrip('/')}/#/runs/details/{run_id}"

    def _create_pipeline(self, name: str) -> str:
        body = api.V2beta1Pipeline(display_name=name, namespace=self.connection.namespace or None)
        made = self._call(
            f"creating the pipeline {name}",
            lambda: self._kfp.pipelines.create_pipeline(body=body),
            ONCE,
        )
        return str(made.pipeline_id)

    def _find_version(self, pipeline_id: str, name: str) -> Version | None:
        found = self._call(
            f"the version {name}",
            lambda: self._kfp.list_pipeline_versions(pipeline_id, filter=_named(name)),
        )
        for entry in found.pipeline_versions or ():
            return Version(pipeline_id, entry.pipeline_version_id, name)
        return None

    def _run(self, entry: Any) -> Run:
        config, reference = entry.runtime_config, entry.pipeline_version_reference
        parameters = dict((config.parameters if config else None) or {})
        return Run(
            run_id=entry.run_id,
            name=entry.display_name or "",
            state=RunState.of(entry.state),
            shown_state=entry.state or "PENDING",
            day=day_of_run(parameters.get("run_date"), entry.created_at),
            parameters=parameters,
            created_at=entry.created_at,
            finished_at=entry.finished_at
            if RunState.of(entry.state) is not RunState.RUNNING
            else None,
            pipeline_id=(reference.pipeline_id if reference else "") or "",
            link=self.link(entry.run_id),
            reason=_reason(entry),
        )


def _without_day(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != RUN_DATE}


def _named(name: str) -> str:
    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [predicate]})


def _recurring(entry: Any) -> Recurring:
    config, reference = entry.runtime_config, entry.pipeline_version_reference
    cron = entry.trigger.cron_schedule if entry.trigger else None
    parameters: Mapping[str, Any] = (config.parameters if config else None) or {}
    enabled = entry.status == "ENABLED" or (entry.status is None and entry.mode == "ENABLE")
    return Recurring(
        recurring_id=entry.recurring_run_id,
        name=entry.display_name or "",
        note=entry.description or "",
        enabled=enabled,
        cron=(cron.cron if cron else "") or "",
        parameters=dict(parameters),
        version_id=(reference.pipeline_version_id if reference else "") or "",
        pipeline_root=(config.pipeline_root if config else "") or "",
        service_account=entry.service_account or "",
        max_concurrency=str(entry.max_concurrency or ""),
        no_catchup=bool(entry.no_catchup),
        created_at=entry.created_at,
    )


def _reason(entry: Any) -> str:
    """Returns why a run failed: its own error, then the tasks that failed."""
    parts = [entry.error.message] if entry.error and entry.error.message else []
    details = entry.run_details.task_details if entry.run_details else None
    for task in details or ():
        if task.state == "FAILED":
            said = task.error.message if task.error and task.error.message else ""
            parts.append(f"{task.display_name} failed" + (f": {said}" if said else ""))
    return "; ".join(" ".join(part.split()) for part in parts)
