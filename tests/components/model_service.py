"""A real gRPC server with TensorFlow Serving's official ModelService and scripted states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

#: (state, error code, error message), or None where the server does not know the version.
Status = tuple[str, int, str] | None
AVAILABLE: Status = ("AVAILABLE", 0, "")
LOADING: Status = ("LOADING", 0, "")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Answers GetModelStatus as `answer` says and keeps the questions."""

    def __init__(self, answer: Callable[[int, int], Status]) -> None:
        self._answer = answer
        self.asked: list[tuple[str, int]] = []

    def GetModelStatus(self, request, context):
        version = request.model_spec.version.value
        self.asked.append((request.model_spec.name, version))
        status = self._answer(version, len(self.asked))
        if status is None:
            # The words of TensorFlow Serving.
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Could not find version {version} of model {request.model_spec.name}",
            )
        response = get_model_status_pb2.GetModelStatusResponse()
        one = response.model_version_status.add(version=version)
        one.state = get_model_status_pb2.ModelVersionStatus.State.Value(status[0])
        one.status.error_code = status[1]
        one.status.error_message = status[2]
        return response


@contextmanager
def model_service(answer: Callable[[int, int], Status]) -> Iterator[tuple[str, ModelService]]:
    """Runs a server; `answer` gets the version and the number of the question.

    Yields:
      `host:port` and the service.
    """
    service = ModelService(answer)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", service
    finally:
        server.stop(None).wait()
