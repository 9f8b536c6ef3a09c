"""How versions of Kubeflow Pipelines differ in what they call a task with.

Measured by running a compiled file on the driver and launcher of 2.14.4 and 2.17.0; the tests
hold `executor_input` and `launcher` against what was recorded there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.errors import ConfigError

#: Output that the driver adds to every task where the installation publishes logs, the default.
LOGS_KEY = "executor-logs"
_LOGS_TYPE = {"schemaTitle": "system.Artifact"}


@dataclass(frozen=True)
class Backend:
    """One version.

    Attributes:
      version: of the release.
      output_beside_artifacts: the output file is beside the task's artifacts, else at one path.
      names_outputs: output artifacts carry their key as a name.
      numbers_logs: the log's URI ends in the number of the try.
      endpoint: of the object store that the installation brings.
    """

    version: str
    output_beside_artifacts: bool
    names_outputs: bool
    numbers_logs: bool
    endpoint: str

    def output_file(self, root: str, local_root: str) -> str:
        """Returns where the task describes its outputs.

        Args:
          root: local folder of the pod, `/` in a container.
          local_root: local folder of the task's artifacts.
        """
        if self.output_beside_artifacts:
            return f"{local_root}/output_metadata.json"
        return f"{root.rstrip('/')}/tmp/kfp_outputs/output_metadata.json"

    def output(self, key: str, uri: str, kind: object) -> dict[str, object]:
        """Returns an output artifact as it is planned."""
        named = {"name": key} if self.names_outputs else {}
        return {**named, "uri": uri, "type": kind}

    def logs(self, output_root: str, attempt: int) -> dict[str, object]:
        """Returns the output that gets the log of one try, counted from 1."""
        number = f"-{attempt - 1}" if self.numbers_logs else ""
        return self.output(LOGS_KEY, f"{output_root}/{LOGS_KEY}{number}", _LOGS_TYPE)

    def metadata(self, key: str, uri: str) -> dict[str, str]:
        """Returns what the backend adds to the metadata of every artifact."""
        return {"display_name": key, "store_session_info": self._session(urlsplit(uri).scheme)}

    def _session(self, scheme: str) -> str:
        session: dict[str, object] = {"Provider": scheme, "Params": {"fromEnv": "true"}}
        if scheme == "minio":
            session["Params"] = {
                "accessKeyKey": "accesskey",
                "disableSSL": "true",
                "endpoint": self.endpoint,
                "fromEnv": "false",
                **({"maxRetries": "5"} if self.output_beside_artifacts else {}),
                "region": "minio",
                "secretKeyKey": "secretkey",
                "secretName": "mlpipeline-minio-artifact",
            }
        return json.dumps(session, separators=(",", ":"))


#: The oldest that runs the compiled file, and the newest that it was run on.
BACKENDS = {
    "2.14": Backend("2.14.4", False, False, False, "minio-service.kubeflow:9000"),
    "2.17": Backend("2.17.0", True, True, True, "seaweedfs.kubeflow:9000"),
}
NEWEST = "2.17"


def backend_of(name: str) -> Backend:
    """Returns the backend of a name.

    Raises:
      ConfigError: nobody has looked at that version.
    """
    if name not in BACKENDS:
        raise ConfigError(f"--backend {name!r}: known are {', '.join(BACKENDS)}")
    return BACKENDS[name]
