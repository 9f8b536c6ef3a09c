"""Protos that both APIs answer with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, status_pb2

from serving.server.version import LoadedVersion, VersionStatus


def status(states: Sequence[VersionStatus]) -> Any:
    """Returns a `GetModelStatusResponse`."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for state in states:
        response.model_version_status.add(
            version=state.version,
            state=int(state.state),
            status=status_pb2.StatusProto(error_code=int(state.code), error_message=state.message),
        )
    return response


def metadata(name: str, model: LoadedVersion) -> Any:
    """Returns a `GetModelMetadataResponse` with the signatures of a version."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = model.version
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, signature in model.session.signatures.items():
        signatures.signature_def[key].CopyFrom(signature)
    response.metadata["signature_def"].Pack(signatures)
    return response
