"""Asks a model server whether it has loaded a version (gRPC `ModelService`)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from core.errors import PushError

AVAILABLE = "AVAILABLE"
#: The server knows nothing of the version, or did not answer.
UNKNOWN = "UNKNOWN"
_FAILED = "END"
_CALL_S = 5.0
_OPTIONS = (
    # Otherwise a server that is started later is found up to two minutes later.
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True)
class ServerVersion:
    """What a server says of one version.

    Attributes:
      state: a `ModelVersionStatus.State` by name; `UNKNOWN` where nothing was said.
      failed: the server gave up loading it.
      message: the server's words, '' when there are none.
    """

    state: str
    failed: bool = False
    message: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.message}" if self.message else self.state


def version_status(server: str, name: str, version: int) -> ServerVersion:
    """Asks once.

    Args:
      server: `host:port` of the server's gRPC.
      name: the model.
      version: its version.
    """
    with _StatusClient(server) as client:
        return client.ask(name, version, _CALL_S)


def wait_until_available(
    server: str, name: str, version: int, timeout_s: float, poll_s: float = 0.5
) -> None:
    """Returns as soon as the server answers requests with the version.

    Args:
      server: `host:port` of the server's gRPC.
      name: the model.
      version: the version to wait for.
      timeout_s: seconds to wait.
      poll_s: seconds between questions.

    Raises:
      PushError: the server gave the version up, or did not load it in time; with the
        last that it said.
    """
    deadline = time.monotonic() + timeout_s
    with _StatusClient(server) as client:
        while True:
            left = deadline - time.monotonic()
            status = client.ask(name, version, max(0.1, min(_CALL_S, left)))
            if status.state == AVAILABLE:
                return
            if status.failed:
                raise PushError(f"{server} cannot serve version {version} of {name}: {status}")
            if time.monotonic() + poll_s > deadline:
                raise PushError(
                    f"{server} did not serve version {version} of {name} within {timeout_s:g} s "
                    f"(pusher.server_timeout_s); its last word was {status}"
                )
            time.sleep(poll_s)


class _StatusClient:
    """One channel to a server; the protocol's modules load TensorFlow and are imported late."""

    def __init__(self, server: str) -> None:
        import grpc
        from tensorflow_serving.apis import model_service_pb2_grpc

        self._channel = grpc.insecure_channel(server, options=_OPTIONS)
        self._stub = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> _StatusClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def ask(self, name: str, version: int, timeout_s: float) -> ServerVersion:
        import grpc
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        request.model_spec.version.value = version
        try:
            answer = self._stub.GetModelStatus(request, timeout=timeout_s)
        except grpc.RpcError as error:
            return ServerVersion(UNKNOWN, message=f"{error.code().name}: {error.details()}")
        for status in answer.model_version_status:
            if status.version == version:
                state = get_model_status_pb2.ModelVersionStatus.State.Name(status.state)
                failed = state == _FAILED and status.status.error_code != 0
                return ServerVersion(state, failed, status.status.error_message)
        return ServerVersion(UNKNOWN, message="the answer does not name the version")
