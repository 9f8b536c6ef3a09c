"""TensorFlow Serving's REST API: predict, status, metadata."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from google.protobuf import json_format
from werkzeug.wrappers import Request, Response

from serving.server import messages
from serving.server.body import plain_body
from serving.server.engine import Engine
from serving.server.errors import Code, RequestError, invalid
from serving.server.json_tensors import parse_predict, to_json
from serving.server.metrics import RequestRecord

_MODEL = r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(classify|regress|predict)")
_READ = re.compile(_MODEL + r"(/metadata)?")
_LARGEST = 2**63 - 1


class _Target(NamedTuple):
    """Which version a path names."""

    version: int | None
    label: str | None


class RestApi:
    """Answers paths below `/v1/`."""

    def __init__(self, engine: Engine) -> None:
        """Answers from an engine."""
        self._engine = engine

    def __call__(self, request: Request) -> Response:
        """Returns the answer.

        Raises:
          RequestError: as TensorFlow Serving words it.
        """
        predict, read = _PREDICT.fullmatch(request.path), _READ.fullmatch(request.path)
        if request.method == "POST" and predict:
            body = plain_body(request)
            with self._engine.metrics.request("rest") as record:
                return self._predict(body, predict, record)
        if request.method == "GET" and read:
            target = self._target(read)
            return self._metadata(target) if read[4] else self._status(target)
        raise invalid(f"Malformed request: {request.method} {request.path}")

    def _predict(self, body: bytes, path: re.Match[str], record: RequestRecord) -> Response:
        if path[4] != "predict":
            raise RequestError(Code.UNIMPLEMENTED, f"{path[4]} is not served here: use :predict")
        target = self._target(path)
        with self._engine.use(*target) as model:
            record.version = str(model.version)
            asked = parse_predict(body, model.session)
            record.signature = asked.signature
            prediction = model.run(asked.inputs, asked.signature)
            answer = to_json(prediction.outputs, asked)
        self._engine.log(asked.inputs, prediction)
        return _json(answer)

    def _status(self, target: _Target) -> Response:
        answer = messages.status(self._engine.status(*target))
        return _json(json_format.MessageToDict(answer, True, preserving_proto_field_name=True))

    def _metadata(self, target: _Target) -> Response:
        with self._engine.use(*target) as model:
            answer = messages.metadata(self._engine.name, model)
        return _json(json_format.MessageToDict(answer, True, preserving_proto_field_name=True))

    def _target(self, path: re.Match[str]) -> _Target:
        if path[1] != self._engine.name:
            raise RequestError(
                Code.NOT_FOUND,
                f"Could not find any versions of model {path[1][:100]} "
                f"(this server's model is {self._engine.name})",
            )
        version = int(path[2]) if path[2] else None
        if version is not None and version > _LARGEST:
            raise invalid(f"Failed to convert version: {path[2][:40]} to numeric.")
        return _Target(version, path[3])


def _json(body: Any) -> Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, content_type="application/json")
