"""How a client reaches a model server: gRPC or REST, TensorFlow Serving's or `tessera serve`'s.

The REST transport needs NumPy only, the gRPC one `grpcio` and `protobuf` as well; neither needs
TensorFlow.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

import numpy as np

from core.errors import ConfigError
from serving.server.errors import Code, RequestError

_B64 = "b64"
_CODES = {code.http: code for code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.NOT_FOUND)}
_CODES |= {
    400: Code.INVALID_ARGUMENT,
    413: Code.INVALID_ARGUMENT,
    412: Code.FAILED_PRECONDITION,
    429: Code.UNAVAILABLE,
}
_CODES |= {502: Code.UNAVAILABLE, 501: Code.UNIMPLEMENTED, 500: Code.INTERNAL}


class ModelTarget(NamedTuple):
    """Which version of which model is asked."""

    model: str
    version: int | None = None
    label: str | None = None


class Status(NamedTuple):
    """State of one version: `AVAILABLE`, `LOADING`, `END`, ..."""

    version: int
    state: str
    message: str


class Transport(Protocol):
    """Sends one request."""

    def predict(
        self,
        target: ModelTarget,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        timeout_s: float,
    ) -> tuple[int | None, dict[str, np.ndarray]]:
        """Returns the version that answered (None where the server does not say) and the outputs.

        Strings are bytes in object arrays.

        Raises:
          RequestError: with the code of the failure.
        """

    def status(self, target: ModelTarget, timeout_s: float) -> list[Status]:
        """Returns the state of each version."""

    def close(self) -> None:
        """Ends the connection."""


class RestTransport:
    """The REST API; one connection per request."""

    def __init__(self, address: str) -> None:
        """Takes `http://host:port`, with a path where a gateway wants one, or `https://`.

        Raises:
          ConfigError: no such address.
        """
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"address {address!r}: expected http://host:port")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")

    def predict(
        self,
        target: ModelTarget,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        timeout_s: float,
    ) -> tuple[int | None, dict[str, np.ndarray]]:
        """See `Transport.predict`; the REST API does not say which version answered."""
        body = {
            "signature_name": signature,
            "inputs": {name: _to_json(value) for name, value in inputs.items()},
        }
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        outputs = self._call("POST", _path(target) + ":predict", text, timeout_s)["outputs"]
        if not isinstance(outputs, dict):
            outputs = {"": outputs}  # a signature with one output does not name it
        return target.version, {name: _from_json(value) for name, value in outputs.items()}

    def status(self, target: ModelTarget, timeout_s: float) -> list[Status]:
        """See `Transport.status`."""
        answer = self._call("GET", _path(target), None, timeout_s)
        return [
            Status(int(each["version"]), each["state"], each["status"].get("error_message", ""))
            for each in answer.get("model_version_status", [])
        ]

    def close(self) -> None:
        """Nothing is kept open."""

    def _call(self, method: str, path: str, body: str | None, timeout_s: float) -> Any:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout_s)
        try:
            data = None if body is None else body.encode()
            headers = {"Content-Type": "application/json"}
            connection.request(method, self._prefix + path, data, headers)
            response = connection.getresponse()
            status, text = response.status, response.read()
        except TimeoutError as error:
            raise RequestError(
                Code.DEADLINE_EXCEEDED, f"{self._host}: no answer within {timeout_s:g} s"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise RequestError(Code.UNAVAILABLE, f"{self._host}:{self._port}: {error}") from error
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"error": text[:500].decode("utf-8", "replace")}
        if status != 200:
            words = answer.get("error") if isinstance(answer, dict) else None
            raise RequestError(_CODES.get(status, Code.UNKNOWN), str(words or f"HTTP {status}"))
        return answer


class GrpcTransport:
    """PredictionService and ModelService over one channel, which connects again by itself."""

    def __init__(self, address: str) -> None:
        """Takes `host:port`."""
        import grpc

        from serving import wire

        self._wire = wire
        self._channel = grpc.insecure_channel(
            address,
            [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        self._predict = self._method("PredictionService/Predict", wire.PredictResponse)
        self._status = self._method("ModelService/GetModelStatus", wire.StatusResponse)

    def predict(
        self,
        target: ModelTarget,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        timeout_s: float,
    ) -> tuple[int | None, dict[str, np.ndarray]]:
        """See `Transport.predict`."""
        request = self._wire.PredictRequest()
        _fill(request.model_spec, target)
        request.model_spec.signature_name = signature
        self._wire.put(request.inputs, inputs)
        answer = _rpc(self._predict, request, timeout_s)
        return answer.model_spec.version.value, self._wire.taken(answer.outputs)

    def status(self, target: ModelTarget, timeout_s: float) -> list[Status]:
        """See `Transport.status`."""
        request = self._wire.StatusRequest()
        _fill(request.model_spec, target)
        return [
            Status(
                each.version,
                self._wire.STATES.get(each.state, str(each.state)),
                each.status.error_message,
            )
            for each in _rpc(self._status, request, timeout_s).model_version_status
        ]

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _method(self, name: str, answer: Any) -> Any:
        return self._channel.unary_unary(
            f"/tensorflow.serving.{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )


def connect(address: str) -> Transport:
    """Returns the transport of an address: `host:port` is gRPC, `http://host:port` REST."""
    return RestTransport(address) if "://" in address else GrpcTransport(address)


def _rpc(method: Any, request: Any, timeout_s: float) -> Any:
    import grpc

    try:
        return method(request, timeout=timeout_s)
    except grpc.RpcError as error:
        raise RequestError(Code.of(error.code().value[0]), error.details() or "") from error


def _fill(spec: Any, target: ModelTarget) -> None:
    spec.name = target.model
    if target.version is not None:
        spec.version.value = target.version
    elif target.label:
        spec.version_label = target.label


def _path(target: ModelTarget) -> str:
    path = f"/v1/models/{quote(target.model, safe='')}"
    if target.version is not None:
        return f"{path}/versions/{target.version}"
    return f"{path}/labels/{quote(target.label, safe='')}" if target.label else path


def _to_json(value: np.ndarray) -> Any:
    if value.dtype.kind != "O":
        return value.tolist()
    written = np.empty(value.shape, object)
    written.ravel()[:] = [_text(each) for each in value.ravel()]
    return written.tolist()


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {_B64: base64.b64encode(value).decode()}


def _from_json(tree: Any) -> np.ndarray:
    """Returns nested lists as an array: float32, int64, bool, or bytes."""
    leaf = tree
    while isinstance(leaf, list) and leaf:
        leaf = leaf[0]
    if isinstance(leaf, (str, dict)):
        return _strings(tree)
    array = np.array(tree)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _strings(tree: Any) -> np.ndarray:
    shape: list[int] = []
    level = tree
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    flat = [tree]
    for _ in shape:
        flat = [part for row in flat for part in row]
    array = np.empty(len(flat), object)
    array[:] = [
        base64.b64decode(each[_B64]) if isinstance(each, dict) else each.encode() for each in flat
    ]
    return array.reshape(shape)
