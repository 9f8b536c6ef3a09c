"""A Kubeflow Pipelines server in memory that takes nothing but what its API describes.

`KfpStub` serves HTTP on the loopback interface. Every request and every answer is checked
against the published description; what does not fit is kept in `contract` (and answered
with 500), so a test ends with `assert stub.contract == []`.
"""

import datetime as dt
import json
import threading
from dataclasses import dataclass, field

import yaml
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tests.kubeflow_pipelines.client import api_rules

START = dt.datetime(2024, 7, 1, tzinfo=dt.timezone.utc)
FINAL = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


class Refused(Exception):
    """An answer that is an error, as the real server words it."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


@dataclass
class Seen:
    """A request that arrived."""

    operation: str
    path: str
    query: dict
    body: object
    headers: dict


def succeed(parameters, package):
    """The outcome of a run where nothing else is said."""
    return "SUCCEEDED"


@dataclass
class KfpStub:
    """The server.

    Attributes:
      outcome: `(parameters, bytes of the uploaded file) -> state` or `(state, message)`, called
        once per run, when it ends. Parameters are complete: defaults are filled in.
      polls: how often a run is seen RUNNING before it ends.
      version: that it tells; None tells none, as the description has it.
      fills_in: whether it fills in the time at which it creates a run, as the real one does from
        2.16 on; None: by its version. The scheduled time is filled in by none.
      tokens: that it takes; None takes everybody.
      fault: `(number of the request, operation) -> None`, a status, `drop` (the connection is
        closed before anything is done) or `lose` (it is closed afterwards); counted from 0.
    """

    outcome: object = succeed
    polls: int = 1
    version: str | None = "2.16.0"
    multi_user: bool = False
    fills_in: bool | None = None
    tokens: set | None = None
    fault: object = None
    requests: list = field(default_factory=list)
    contract: list = field(default_factory=list)
    experiments: dict = field(default_factory=dict)
    pipelines: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)
    packages: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    recurring: dict = field(default_factory=dict)
    #: Number of enabled recurring runs after every request.
    enabled_history: list = field(default_factory=list)

    def __post_init__(self):
        self._lock = threading.RLock()
        self._left = {}
        self._ids = self._seconds = 0
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def operations(self):
        return [seen.operation for seen in self.requests]

    def enabled(self):
        return [entry for entry in self.recurring.values() if entry["status"] == "ENABLED"]

    def add_run(self, pipeline_id, run_date, state, **more):
        """A run that somebody else has started."""
        (experiment_id,) = self.experiments
        entry = {
            "run_id": self._id("run"),
            "experiment_id": experiment_id,
            "display_name": "by-somebody",
            "created_at": self._now(),
            "state": state,
            "pipeline_version_reference": {
                "pipeline_id": pipeline_id,
                "pipeline_version_id": next(iter(self.versions)),
            },
            "runtime_config": {"parameters": {"run_date": run_date}},
            **more,
        }
        self.runs[entry["run_id"]] = entry
        self._left[entry["run_id"]] = self.polls
        return entry

    def __call__(self, environ, start_response):
        request = Request(environ)
        with self._lock:
            try:
                response = self._serve(request)
            except ConnectionError:
                raise
            except Exception as error:  # a fault of the stub must not look like one of a server
                self.contract.append(f"{request.method} {request.path}: {error!r}")
                raise
        return response(environ, start_response)

    def _serve(self, request):
        found = api_rules.operation_of(request.method, request.path)
        if found is None:
            self.contract.append(f"{request.method} {request.path}: not in the description")
            return _json(500, {"code": 13, "message": self.contract[-1]})
        operation, path = found
        name = operation["operationId"]
        body, files = _content(request)
        query = [(k, v) for k in request.args for v in request.args.getlist(k)]
        fault = self.fault(len(self.requests), name) if self.fault else None
        self.requests.append(Seen(name, request.path, dict(query), body, dict(request.headers)))
        if self.tokens is not None and request.headers.get("Authorization", "") not in {
            f"Bearer {token}" for token in self.tokens
        }:
            return _json(401, {"code": 16, "message": "the token is not valid"})
        problems = api_rules.request_problems(operation, query, body, files)
        if problems:
            self.contract += [f"{name}: {problem}" for problem in problems]
            return _json(500, {"code": 13, "message": "; ".join(problems)})
        if fault == "drop":
            raise ConnectionAbortedError
        if isinstance(fault, int):
            return _json(fault, {"code": 14, "message": f"fault {fault}"})
        status, answer = 200, {}
        try:
            handler = getattr(self, f"_{name}")
            answer = handler(path=path, query=dict(query), body=body, files=files)
        except Refused as error:
            status, answer = error.status, {"code": 5, "message": str(error), "details": []}
        self.enabled_history.append(len(self.enabled()))
        self.contract += [
            f"{name}: {p}" for p in api_rules.answer_problems(operation, status, answer)
        ]
        if fault == "lose":
            raise ConnectionAbortedError
        return _json(status, answer)

    def _GetHealthz(self, **_):
        told = {"tag_name": self.version, "commit_sha": "abc"} if self.version else {}
        return {"multi_user": self.multi_user, **told}

    def _ListExperiments(self, query, **_):
        return self._page("experiments", self.experiments.values(), query)

    def _CreateExperiment(self, body, **_):
        self._unused(self.experiments, body)
        return self._add(self.experiments, "experiment_id", "experiment", body)

    def _ListPipelines(self, query, **_):
        return self._page("pipelines", self.pipelines.values(), query)

    def _CreatePipeline(self, body, **_):
        self._unused(self.pipelines, body)
        return self._add(self.pipelines, "pipeline_id", "pipeline", body)

    def _ListPipelineVersions(self, path, query, **_):
        pipeline_id = self._get(self.pipelines, path["pipeline_id"])["pipeline_id"]
        mine = [v for v in self.versions.values() if v["pipeline_id"] == pipeline_id]
        return self._page("pipeline_versions", mine, query)

    def _UploadPipelineVersion(self, query, files, **_):
        pipeline_id = self._get(self.pipelines, query["pipelineid"])["pipeline_id"]
        (file_name, content), *_ = files.values()
        if not file_name.endswith((".yaml", ".yml", ".zip", ".tar.gz")):
            raise Refused(400, f"unexpected file name {file_name}")
        body = {"pipeline_id": pipeline_id, "display_name": query["name"]}
        self._unused(self.versions, body)
        made = self._add(self.versions, "pipeline_version_id", "version", body)
        self.packages[made["pipeline_version_id"]] = content
        return made

    def fire(self, at):
        """The scheduled-workflow controller's work: a run of every enabled recurring run.

        It hands the parameters on as they are; the API server keeps them so, too.
        """
        for entry in self.enabled():
            body = {
                key: entry[key]
                for key in ("experiment_id", "pipeline_version_reference", "runtime_config")
                if key in entry
            }
            body |= {"display_name": f"{entry['display_name']}-{at:%Y%m%d}"}
            made = self._add(self.runs, "run_id", "run", body, state="PENDING")
            made |= {
                "recurring_run_id": entry["recurring_run_id"],
                "created_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                "scheduled_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            }
            self._left[made["run_id"]] = self.polls

    def _filled_in(self, run, value):
        fills = self.fills_in
        if fills is None:
            fills = tuple(int(n) for n in (self.version or "0.0").split(".")[:2]) >= (2, 16)
        if not fills or not isinstance(value, str):
            return value
        # Of the formats of Go only the one that is used.
        return value.replace("[[CurrentTime.2006-01-02]]", run["created_at"][:10])

    def _CreateRun(self, body, **_):
        self._get(self.experiments, body["experiment_id"])
        self._check_parameters(body)
        made = self._add(self.runs, "run_id", "run", body, state="PENDING")
        self._left[made["run_id"]] = self.polls
        return made

    def _GetRun(self, path, **_):
        run = self._get(self.runs, path["run_id"])
        if run["state"] in FINAL:
            return run
        if self._left[run["run_id"]] > 0:
            self._left[run["run_id"]] -= 1
            run["state"] = "RUNNING"
            return run
        said = self.outcome(self._complete(run), self._package(run))
        state, message = said if isinstance(said, tuple) else (said, "")
        run.update(state=state, finished_at=self._now())
        if message:
            run["error"] = {"code": 9, "message": message}
        return run

    def _ListRuns(self, query, **_):
        wanted = query.get("experiment_id")
        mine = [r for r in self.runs.values() if wanted in (None, r["experiment_id"])]
        return self._page("runs", mine, query)

    def _ListRecurringRuns(self, query, **_):
        return self._page("recurringRuns", self.recurring.values(), query)

    def _CreateRecurringRun(self, body, **_):
        self._check_parameters(body)
        if not 1 <= int(body["max_concurrency"]) <= 10:
            raise Refused(400, "max_concurrency must be 1 to 10")
        if len(body["trigger"]["cron_schedule"]["cron"].split()) != 6:
            raise Refused(400, "the schedule is not what was meant")
        status = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}[body["mode"]]
        more = {"status": status, "service_account": body.get("service_account", "default-sa")}
        return self._add(self.recurring, "recurring_run_id", "recurring", {**body, **more})

    def _EnableRecurringRun(self, path, **_):
        return self._set_status(path, "ENABLED")

    def _DisableRecurringRun(self, path, **_):
        return self._set_status(path, "DISABLED")

    def _DeleteRecurringRun(self, path, **_):
        self._get(self.recurring, path["recurring_run_id"])
        del self.recurring[path["recurring_run_id"]]
        return {}

    def _set_status(self, path, status):
        self._get(self.recurring, path["recurring_run_id"])["status"] = status
        return {}

    def _check_parameters(self, body):
        reference = body["pipeline_version_reference"]
        self._get(self.pipelines, reference["pipeline_id"])
        self._get(self.versions, reference["pipeline_version_id"])
        given, inputs = body["runtime_config"].get("parameters", {}), self._inputs(body)
        if self.multi_user and body["runtime_config"].get("pipeline_root"):
            raise Refused(400, "a pipeline root is not allowed in multi-user mode")
        if set(given) - set(inputs):
            raise Refused(400, f"unknown parameters {sorted(set(given) - set(inputs))}")
        for name, entry in inputs.items():
            if name not in given and "defaultValue" not in entry:
                raise Refused(400, f"parameter {name} is required")
            if (
                name in given
                and entry["parameterType"] == "STRING"
                and not isinstance(given[name], str)
            ):
                raise Refused(400, f"parameter {name} must be a text")

    def _package(self, body):
        return self.packages[body["pipeline_version_reference"]["pipeline_version_id"]]

    def _inputs(self, body):
        spec = next(yaml.safe_load_all(self._package(body)))
        return spec["root"]["inputDefinitions"]["parameters"]

    def _complete(self, run):
        inputs = self._inputs(run)
        defaults = {k: e["defaultValue"] for k, e in inputs.items() if "defaultValue" in e}
        given = run["runtime_config"].get("parameters", {})
        return {**defaults, **{k: self._filled_in(run, v) for k, v in given.items()}}

    def _page(self, key, entries, query):
        if query.get("filter"):
            for predicate in api_rules.read_filter(query["filter"])["predicates"]:
                if predicate["operation"] != "EQUALS":
                    raise Refused(400, f"operation {predicate['operation']}")
                name, value = predicate["key"], predicate["string_value"]
                entries = [entry for entry in entries if entry.get(name) == value]
        if query.get("sort_by"):
            by, *order = query["sort_by"].split()
            entries = sorted(entries, key=lambda entry: entry[by], reverse=order == ["desc"])
        if query.get("namespace"):
            entries = [e for e in entries if e.get("namespace", query["namespace"])]
        entries, first = list(entries), int(query.get("page_token") or 0)
        last = first + int(query.get("page_size") or 20)
        more = {"next_page_token": str(last)} if last < len(entries) else {}
        total = {"total_size": len(entries)}
        page = entries[first:last]
        # Protobuf's JSON leaves empty lists out.
        return {**({key: page} if page else {}), **more, **total}

    def _add(self, store, id_name, kind, body, **more):
        made = {**body, **more, id_name: self._id(kind), "created_at": self._now()}
        store[made[id_name]] = made
        return made

    def _unused(self, store, body):
        keys = ("display_name", "pipeline_id", "namespace")
        if any(all(e.get(k) == body.get(k) for k in keys) for e in store.values()):
            raise Refused(409, f"{body['display_name']} already exists")

    def _get(self, store, name):
        if name not in store:
            raise Refused(404, f"{name} not found")
        return store[name]

    def _id(self, kind):
        self._ids += 1
        return f"{kind}-{self._ids:04d}"

    def _now(self):
        self._seconds += 1
        return (START + dt.timedelta(seconds=self._seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Handler(WSGIRequestHandler):
    """Closes the connection when the application says so, and is silent."""

    def run_wsgi(self):
        self.close_connection = True
        super().run_wsgi()

    def connection_dropped(self, error, environ=None):
        self.close_connection = True

    def log(self, *_):
        pass


def _content(request):
    """The JSON body (None without) and the uploaded files of a request."""
    if request.mimetype == "multipart/form-data":
        return None, {k: (f.filename, f.read()) for k, f in request.files.items()}
    data = request.get_data()
    return (json.loads(data) if data else None), {}


def _json(status, body):
    return Response(json.dumps(body), status=status, mimetype="application/json")
