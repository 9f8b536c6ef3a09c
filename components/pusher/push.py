"""Publishing, free of TFX: paths and configuration in, a version folder out."""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from components.bundle.lock import push_lock
from components.bundle.manifest import Manifest, tessera_version
from components.bundle.span import parse_span, span_date
from components.bundle.verify import verify
from components.bundle.versions import (
    BundleVersion,
    latest_version,
    list_versions,
    next_version,
    write_last_version,
)
from components.config import PusherConfig
from components.pusher.content import EVALUATION, Content, collect_content
from components.pusher.retention import expired_versions, remove_version
from components.pusher.staging import copy_content, publish, remove_leftovers, staging_folder
from core.config import BaseConfig
from core.errors import BundleError, PushError
from core.files import read_json

_log = logging.getLogger("tessera")


class ManifestFields(BaseConfig):
    """What the pipeline knows of a run and the manifest records."""

    run_id: str = ""
    training_digest: str = ""
    config_digest: str = ""
    code_digest: str = ""
    span: int | None = Field(None, description="days since 1970-01-01")
    run_date: str = Field("", description="YYYY-MM-DD; another way to give the span")
    data_fingerprint: str = ""
    data_root: str = ""
    time_unit: str = "seconds"
    primary_metric: str = "recall@100"
    baseline_version: int | None = None
    config: dict[str, Any] = Field({}, description="run configuration, for information")

    @model_validator(mode="before")
    @classmethod
    def _span_and_date_agree(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        span = parse_span(data.get("span"))
        span = parse_span(data.get("run_date")) if span is None else span
        return {**data, "span": span, "run_date": span_date(span)}

    def with_span(self, span: int) -> ManifestFields:
        """Returns a copy with this span and its date."""
        return self.model_copy(update={"span": span, "run_date": span_date(span)})


@dataclass(frozen=True)
class PushRequest:
    """What to publish and where."""

    index_dir: Path
    model_dir: Path | None
    evaluation_dir: Path | None
    serving_dir: Path
    name: str
    fields: ManifestFields = field(default_factory=ManifestFields)
    config: PusherConfig = field(default_factory=PusherConfig)
    lock_wait_s: float = 120.0


@dataclass(frozen=True)
class PushResult:
    """What became of a push."""

    pushed: bool
    version: int | None
    destination: Path | None
    reason: str
    removed: tuple[int, ...] = ()


def push(
    request: PushRequest, blessed: bool, now: Callable[[], dt.datetime] | None = None
) -> PushResult:
    """Publishes a blessed retriever as `<serving_dir>/<name>/<version>/`.

    Nothing of the serving folder is touched when the retriever is not blessed.
    When the newest version has the same content, that one is reported.

    Args:
      request: sources, destination and what the manifest records.
      blessed: what the evaluator decided.
      now: the clock, UTC.

    Raises:
      PushError: publishing failed; no new version is visible.
    """
    if not blessed:
        return PushResult(False, None, None, "not blessed: nothing was published")
    model_dir = request.serving_dir / request.name
    try:
        content = collect_content(request.index_dir, request.model_dir, request.evaluation_dir)
        model_dir.mkdir(parents=True, exist_ok=True)
        with push_lock(model_dir, request.lock_wait_s):
            remove_leftovers(model_dir)
            return _push_locked(request, content, model_dir, now or _utc_now)
    except (OSError, BundleError) as error:
        raise PushError(
            f"publishing to {model_dir} failed: {error}; no new version is visible, "
            "the versions published before are untouched"
        ) from error


def _push_locked(
    request: PushRequest, content: Content, model_dir: Path, now: Callable[[], dt.datetime]
) -> PushResult:
    parent = latest_version(model_dir)
    same = _same_content(model_dir, content.digest, request.fields.span)
    if same is not None:
        reason = f"version {same.version} already has this content: nothing to publish"
        return PushResult(True, same.version, same.path, reason)
    refusal = _older_than_served(request, parent)
    if refusal:
        return PushResult(False, None, None, refusal)
    version = next_version(model_dir)
    manifest = Manifest(
        **request.fields.model_dump(),
        name=request.name,
        version=version,
        created_at=now().isoformat(timespec="seconds"),
        tessera_version=tessera_version(),
        content_digest=content.digest,
        metrics=_metrics(request.evaluation_dir),
        parent_version=None if parent is None else parent.version,
        files=content.files,
    )
    with staging_folder(model_dir) as staging:
        copy_content(content, staging)
        write_last_version(model_dir, version)
        publish(staging, manifest, model_dir / str(version))
    removed = _retain(model_dir, request.config.keep_versions)
    reason = f"published version {version}: {len(content.files)} files, {_size(manifest)}"
    return PushResult(True, version, model_dir / str(version), reason, removed)


def _same_content(model_dir: Path, digest: str, span: int | None) -> BundleVersion | None:
    """Returns the undamaged version with this content, None when there is none.

    Without spans only the newest version counts: publishing what an older one
    holds is how somebody goes back to it. With spans any version of the span
    counts, because a day that is run again must not replace a later one.
    """
    versions = list_versions(model_dir)
    if span is None:
        versions = versions[-1:]
    for bundle in reversed(versions):
        manifest = bundle.manifest
        if manifest.content_digest != digest or (span is not None and manifest.span != span):
            continue
        try:
            verify(bundle.path)
        except BundleError as error:
            _log.warning("version %d is published anew: %s", bundle.version, error)
            continue
        return bundle
    return None


def _older_than_served(request: PushRequest, newest: BundleVersion | None) -> str:
    """Returns why a model of an older day is not published, '' when it may be."""
    span = request.fields.span
    if newest is None or span is None or request.config.allow_older_span:
        return ""
    if newest.manifest.span is None or newest.manifest.span <= span:
        return ""
    return (
        f"version {newest.version} is of a later day ({newest.manifest.run_date}) and would no "
        "longer be served; set pusher.allow_older_span to publish this one all the same"
    )


def _retain(model_dir: Path, keep_versions: int) -> tuple[int, ...]:
    """Removes expired versions; the push has succeeded, so trouble here only warns."""
    removed = []
    try:
        for path in expired_versions(model_dir, keep_versions):
            remove_version(path)
            removed.append(int(path.name))
    except (OSError, BundleError) as error:
        _log.warning("old versions in %s were not all removed: %s", model_dir, error)
    return tuple(removed)


def _metrics(evaluation_dir: Path | None) -> dict[str, float | None]:
    if evaluation_dir is None or not (evaluation_dir / EVALUATION).exists():
        return {}
    values = read_json(evaluation_dir / EVALUATION).get("model", {})
    numbers = {k: v for k, v in values.items() if v is None or isinstance(v, (int, float))}
    return {k: v if v is not None and math.isfinite(v) else None for k, v in numbers.items()}


def _size(manifest: Manifest) -> str:
    return f"{manifest.total_bytes / 1e6:.1f} MB"


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)
