"""The gRPC side: TensorFlow Serving's PredictionService and ModelService."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from core.errors import ConfigError
from serving.server import messages
from serving.server.body import MAX_BODY_BYTES
from serving.server.engine import Engine
from serving.server.errors import Code, RequestError, invalid
from serving.server.tensors import from_proto, to_proto

_log = logging.getLogger("tessera")
_STATUS = {code.value[0]: code for code in grpc.StatusCode}


@contextmanager
def _answering(context: Any) -> Iterator[None]:
    """Turns errors of the block into the status of the call."""
    try:
        yield
    except RequestError as error:
        context.abort(_STATUS[error.code], str(error))
    except Exception:
        _log.exception("a gRPC request failed")
        context.abort(grpc.StatusCode.INTERNAL, "internal error; see the server's log")


def _unserved(method: str, mend: str) -> Callable[[Any, Any, Any], Any]:
    def refuse(self: Any, request: Any, context: Any) -> Any:
        del self, request
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served here: {mend}")

    return refuse


class PredictionServicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata."""

    def __init__(self, engine: Engine) -> None:
        """Answers from an engine."""
        self._engine = engine

    def Predict(self, request: Any, context: Any) -> Any:
        """Runs a signature of one version."""
        with _answering(context), self._engine.metrics.request("grpc") as record:
            spec = request.model_spec
            with self._engine.use(**_target(self._engine, spec)) as model:
                record.version = str(model.version)
                model.session.inputs(spec.signature_name)
                record.signature = spec.signature_name or "serving_default"
                inputs = {name: from_proto(name, value) for name, value in request.inputs.items()}
                answer = model.run(inputs, spec.signature_name, tuple(request.output_filter))
            self._engine.log(inputs, answer)
            response = predict_pb2.PredictResponse()
            response.model_spec.name = self._engine.name
            response.model_spec.version.value = answer.version
            response.model_spec.signature_name = answer.signature
            for name, value in answer.outputs.items():
                response.outputs[name].CopyFrom(to_proto(value))
            return response

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """Returns the signatures of one version."""
        with _answering(context):
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            for name in request.metadata_field:
                if name != "signature_def":
                    raise invalid(f"Metadata field {name[:100]} is not supported")
            with self._engine.use(**_target(self._engine, request.model_spec)) as model:
                return messages.metadata(self._engine.name, model)

    Classify = _unserved("Classify", "retrieval has the signatures of Predict only")
    Regress = _unserved("Regress", "retrieval has the signatures of Predict only")
    MultiInference = _unserved("MultiInference", "retrieval has the signatures of Predict only")


class Models(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus."""

    def __init__(self, engine: Engine) -> None:
        """Answers from an engine."""
        self._engine = engine

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        """Returns the states of one version or of all."""
        with _answering(context):
            spec = request.model_spec
            if spec.name != self._engine.name:
                raise RequestError(
                    Code.NOT_FOUND, f"Could not find any versions of model {spec.name[:100]}"
                )
            return messages.status(self._engine.status(**_version(spec)))

    HandleReloadConfigRequest = _unserved(
        "HandleReloadConfigRequest", "versions and labels come from the serving folder; use promote"
    )


def _target(engine: Engine, spec: Any) -> dict[str, Any]:
    if not spec.name:
        raise invalid("Missing ModelSpec: it must name the model")
    target = _version(spec)
    if spec.name != engine.name:
        number = target.get("version")
        name = spec.name[:100]
        which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise RequestError(Code.NOT_FOUND, f"Servable not found for request: {which}")
    return target


def _version(spec: Any) -> dict[str, Any]:
    choice = spec.WhichOneof("version_choice")
    if choice == "version":
        return {"version": spec.version.value}
    return {"label": spec.version_label} if choice == "version_label" else {}


class RpcServer:
    """Both services on one port."""

    def __init__(self, host: str, port: int, engine: Engine, workers: int = 8) -> None:
        """Binds the port (0: any free one); `port` then holds it.

        Args:
          host: address.
          port: of gRPC.
          engine: answers the requests.
          workers: requests that run at once; more wait.

        Raises:
          ConfigError: the port cannot be bound.
        """
        self._server = grpc.server(
            ThreadPoolExecutor(workers, thread_name_prefix="grpc"),
            options=[
                ("grpc.max_receive_message_length", MAX_BODY_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionServicer(engine), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(engine), self._server)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigError(
                f"{address} cannot be served on: {error}; choose another --host or --port"
            ) from error

    def start(self) -> None:
        """Begins to answer, in threads."""
        self._server.start()

    def stop(self, grace_s: float) -> bool:
        """Accepts nothing more and waits for running requests.

        Returns:
          Whether all of them ended within `grace_s` seconds; the others are cancelled.
        """
        ended = self._server.stop(grace_s)
        # At the end of the grace the rest is cancelled, and then it has ended as well.
        in_time = ended.wait(max(0.0, grace_s - 0.05))
        ended.wait(5.0)
        return bool(in_time)
