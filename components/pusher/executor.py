"""TFX executor of the Pusher."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from components.base import Artifacts, Properties, mark, only, uri
from components.bundle.span import span_of
from components.config import PusherConfig
from components.pusher.push import ManifestFields, PushRequest, PushResult, push
from components.serving_validator.layout import VALIDATION_FILE
from core.errors import PushError
from core.files import read_json, write_json
from core.storage import local_or_url

_log = logging.getLogger("tessera")


class Executor(base_executor.BaseExecutor):
    """Publishes the index when its blessing and its validation say so."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """See base class."""
        request = PushRequest(
            index_dir=Path(uri(input_dict, "index")),
            model_dir=_optional_uri(input_dict, "model"),
            evaluation_dir=_optional_uri(input_dict, "evaluation"),
            validation_dir=_optional_uri(input_dict, "validation"),
            serving_dir=local_or_url(exec_properties["serving_dir"]),
            name=exec_properties["name"],
            fields=manifest_fields(exec_properties["manifest_json"], input_dict),
            config=PusherConfig.from_json(exec_properties["config_json"]),
        )
        blessed = is_blessed(input_dict["blessing"])
        result = push(request, blessed, validated=is_validated(input_dict["validation"]))
        _record(result, only(output_dict, "pushed"))
        removed = f", removed {', '.join(map(str, result.removed))}" if result.removed else ""
        _log.info("%s%s", result.reason, removed)


def is_blessed(blessings: list[types.Artifact]) -> bool:
    """Returns whether every blessing says yes, in its property and in its file.

    Raises:
      PushError: there is none, or property and file disagree.
    """
    if not blessings:
        raise PushError("no blessing was given: run the evaluator before the pusher")
    for blessing in blessings:
        by_property = blessing.get_int_custom_property("blessed") == 1
        by_file = (Path(blessing.uri) / "BLESSED").exists()
        if by_property != by_file:
            raise PushError(
                f"{blessing.uri}: property `blessed` is {int(by_property)} but the file BLESSED "
                f"{'exists' if by_file else 'does not exist'}; run the evaluator again"
            )
        if not by_property:
            return False
    return True


def is_validated(validations: list[types.Artifact]) -> bool:
    """Returns whether every validation says yes, in its property and in its file.

    Raises:
      PushError: there is none, it has no file, or property and file disagree.
    """
    if not validations:
        raise PushError("no validation was given: run the serving validator before the pusher")
    for validation in validations:
        path = Path(validation.uri) / VALIDATION_FILE
        try:
            by_file = read_json(path)["validated"] is True
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PushError(f"{path}: cannot be read ({error}); run the validator again") from error
        by_property = validation.get_int_custom_property("validated") == 1
        if by_property != by_file:
            raise PushError(
                f"{path}: the file says validated = {str(by_file).lower()}, the artifact's "
                f"property {int(by_property)}; run the validator again"
            )
        if not by_file:
            return False
    return True


def manifest_fields(manifest_json: str, input_dict: Artifacts) -> ManifestFields:
    """Completes the given fields from the artifacts that the model was made from."""
    fields = ManifestFields.from_json(manifest_json)
    found: dict[str, Any] = {}
    for key in ("examples", "report"):
        for artifact in input_dict.get(key, []):
            found |= _properties(artifact)
    for artifact in input_dict.get("baseline", []):
        if artifact.get_int_custom_property("found"):
            found["baseline_version"] = artifact.get_int_custom_property("version")
    update = {key: value for key, value in found.items() if getattr(fields, key) in (None, "")}
    span = update.pop("span", fields.span)
    fields = fields.model_copy(update=update)
    return fields if span is None else fields.with_span(span)


def _properties(artifact: types.Artifact) -> dict[str, Any]:
    span = span_of(artifact)
    found: dict[str, Any] = {} if span is None else {"span": span}
    for key in ("input_fingerprint", "fingerprint"):
        if artifact.has_custom_property(key):
            found["data_fingerprint"] = artifact.get_string_custom_property(key)
    if artifact.has_custom_property("data_root"):
        found["data_root"] = artifact.get_string_custom_property("data_root")
    report = Path(artifact.uri) / "data_report.json"
    if "data_fingerprint" not in found and report.exists():
        found["data_fingerprint"] = str(read_json(report).get("fingerprint", ""))
    return found


def _optional_uri(input_dict: Artifacts, key: str) -> Path | None:
    artifacts = input_dict.get(key) or []
    return Path(artifacts[0].uri) if artifacts else None


def _record(result: PushResult, pushed: types.Artifact) -> None:
    destination = "" if result.destination is None else str(result.destination)
    mark(
        pushed,
        pushed=result.pushed,
        pushed_version=result.version or 0,
        pushed_destination=destination,
        reason=result.reason,
    )
    write_json(
        Path(pushed.uri) / "pushed.json",
        {
            "pushed": result.pushed,
            "version": result.version,
            "destination": destination,
            "reason": result.reason,
            "removed_versions": list(result.removed),
        },
    )
