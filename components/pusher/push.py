"""Publishing, free of TFX: paths and configuration in, a version folder out."""

from __future__ import annotations

import datetime as dt
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from components.bundle.labels import derive
from components.bundle.lock import push_lock
from components.bundle.manifest import DeltaFields, Manifest, tessera_version
from components.bundle.mirror import mirrored, pull, shown, told
from components.bundle.model_status import wait_until_available
from components.bundle.pins import read_pins
from components.bundle.served import served
from components.bundle.span import parse_span, span_date
from components.bundle.verify import verify
from components.bundle.versions import (
    BundleVersion,
    latest_version,
    list_versions,
    next_version,
)
from components.config import PusherConfig
from components.pusher.carded import with_card
from components.pusher.content import EVALUATION, Content, collect_content
from components.pusher.remote import StoreTarget
from components.pusher.retention import expired_versions
from components.pusher.target import FolderTarget, PushTarget
from components.serving_validator.layout import VALIDATION_FILE
from core.config import BaseConfig
from core.errors import BundleError, PushError
from core.files import read_json
from core.storage import is_remote

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
    refreshed_from: int | None = Field(None, description="version whose model is published anew")
    model_version: int | None = Field(
        None, description="version in which the model was first published; None: in this one"
    )
    delta: DeltaFields | None = None
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
    """What to publish and where: into a folder, or under a URL of an object store."""

    index_dir: Path
    model_dir: Path | None
    evaluation_dir: Path | None
    serving_dir: Path | str
    name: str
    fields: ManifestFields = field(default_factory=ManifestFields)
    config: PusherConfig = field(default_factory=PusherConfig)
    validation_dir: Path | None = None
    lock_wait_s: float = 120.0
    #: What to publish where it was collected already; `index_dir` is not looked at then.
    content: Content | None = None


@dataclass(frozen=True)
class PushResult:
    """What became of a push."""

    pushed: bool
    version: int | None
    destination: Path | str | None
    reason: str
    removed: tuple[int, ...] = ()


def push(
    request: PushRequest,
    blessed: bool,
    now: Callable[[], dt.datetime] | None = None,
    validated: bool = True,
) -> PushResult:
    """Publishes a blessed and validated retriever as `<serving_dir>/<name>/<version>/`.

    Nothing of the serving folder is touched when the retriever is not blessed or not
    validated. When the newest version has the same content, that one is reported.

    Args:
      request: sources, destination and what the manifest records.
      blessed: what the evaluator decided.
      now: the clock, UTC.
      validated: what the serving validator decided.

    Raises:
      PushError: publishing failed, or the server did not load what was published; no
        new version is visible.
    """
    if not blessed:
        return PushResult(False, None, None, "not blessed: nothing was published")
    if not validated:
        return PushResult(False, None, None, _not_validated(request.validation_dir))
    clock = now or _utc_now
    model_url = f"{request.serving_dir}/{request.name}"
    model_url = model_url if is_remote(model_url) else os.path.abspath(model_url)
    try:
        content = request.content or collect_content(
            request.index_dir, request.model_dir, request.evaluation_dir, request.validation_dir
        )
        with mirrored(request.serving_dir) as serving_dir:
            model_dir = Path(os.path.abspath(serving_dir / request.name))
            model_dir.mkdir(parents=True, exist_ok=True)
            target = _target(request, model_url, clock)
            with push_lock(model_dir, request.lock_wait_s):
                target.clean(model_dir)
                result = _push_locked(request, content, model_dir, target, clock)
                _derive(model_dir)
                return result
    except (OSError, BundleError) as error:
        raise PushError(
            f"publishing to {model_url} failed: {error}; no new version is visible, "
            "the versions published before are untouched"
        ) from error


def _target(request: PushRequest, model_url: str, clock: Callable[[], dt.datetime]) -> PushTarget:
    if is_remote(model_url):
        return StoreTarget(model_url, clock)
    return FolderTarget(request.config.publish == "ordered")


def _push_locked(
    request: PushRequest,
    content: Content,
    model_dir: Path,
    target: PushTarget,
    clock: Callable[[], dt.datetime],
) -> PushResult:
    parent = latest_version(model_dir)
    same = _same_content(model_dir, content.digest, request.fields)
    if same is not None:
        reason = f"version {same.version} already has this content: nothing to publish"
        return PushResult(True, same.version, _destination(same.path), reason)
    refusal = _older_than_served(request, parent, model_dir) or _overtaken(request, parent)
    if refusal:
        return PushResult(False, None, None, refusal)
    version = target.claim(next_version(model_dir))
    fields = request.fields.model_dump()
    manifest = Manifest(
        **fields | {"model_version": fields["model_version"] or version},
        name=request.name,
        version=version,
        created_at=clock().isoformat(timespec="seconds"),
        tessera_version=tessera_version(),
        content_digest=content.digest,
        metrics=_metrics(request.evaluation_dir),
        parent_version=None if parent is None else parent.version,
        files=content.files,
    )
    with with_card(content, manifest) as (content, manifest):
        target.write(content, manifest, model_dir, lambda: _too_late(request, version, model_dir))
    loaded = _await_server(request, model_dir, version, target)
    removed = _retain(model_dir, request.config.keep_versions, target)
    reason = f"published version {version}: {len(content.files)} files, {_size(manifest)}{loaded}"
    return PushResult(True, version, _destination(model_dir / str(version)), reason, removed)


def _destination(path: Path) -> Path | str:
    """Returns a version's folder, or its URL where the folder is but a mirror."""
    text = shown(path)
    return text if is_remote(text) else path


def _too_late(request: PushRequest, version: int, model_dir: Path) -> str:
    """Returns why a version may not appear after what others published meanwhile, else ''."""
    newest, span = latest_version(model_dir), request.fields.span
    refusal = _older_than_served(request, newest, model_dir) or _overtaken(request, newest)
    if refusal or newest is None or newest.version < version:
        return refusal
    if span is not None and newest.manifest.span is not None and newest.manifest.span < span:
        return (
            f"version {newest.version}, of an earlier day, was published meanwhile and would stay "
            "the newest: run the same command again"
        )
    return ""


def _await_server(request: PushRequest, model_dir: Path, version: int, target: PushTarget) -> str:
    """Waits until the configured server has loaded what was published.

    Returns:
      What to add to the reason of the push.

    Raises:
      PushError: it did not; the version is taken away again.
    """
    server = request.config.server
    if not server:
        return ""
    # Links and configuration first: they may be what the server waits for.
    _derive(model_dir)
    now_served = served(model_dir)
    if version not in now_served.versions:
        labels = ", ".join(sorted(now_served.labels))
        return f"; {server} was not asked: {labels} decide what it serves, promote {version}"
    try:
        wait_until_available(server, request.name, version, request.config.server_timeout_s)
    except BaseException as error:
        after = _take_away(model_dir / str(version), target)
        if not isinstance(error, PushError):
            raise
        raise PushError(f"{error}; {after}, the versions published before are untouched") from error
    return f", loaded by {server}"


def _take_away(path: Path, target: PushTarget) -> str:
    """Removes a version that its server does not load; returns what became of it."""
    try:
        target.remove(path)
    except (OSError, BundleError) as error:
        detail = getattr(error, "strerror", None) or error
        return f"{path} could not be taken away ({detail}): remove it by hand"
    _derive(path.parent)
    return f"version {path.name} was taken away again"


def _derive(model_dir: Path) -> None:
    """Brings links and configurations up to date; what was published stays in any case."""
    try:
        derive(model_dir)
    except (OSError, BundleError, PushError) as error:
        _log.warning("the configurations of model servers were not written: %s", error)


def _not_validated(validation_dir: Path | None) -> str:
    """Returns the refusal with the validator's own reasons, as far as they can be read."""
    reasons: list[str] = []
    if validation_dir is not None and (validation_dir / VALIDATION_FILE).exists():
        checks = read_json(validation_dir / VALIDATION_FILE).get("checks", [])
        reasons = [str(check.get("reason", "")) for check in checks if not check.get("passed")]
    shown = "; ".join(reason for reason in reasons[:3] if reason)
    return f"not validated: {shown or 'the serving validator refused'}: nothing was published"


def _same_content(model_dir: Path, digest: str, fields: ManifestFields) -> BundleVersion | None:
    """Returns the undamaged version with this content, None when there is none.

    Without spans only the newest version counts, and the one that a refresh started from:
    publishing what an older one holds is how somebody goes back to it. With spans any
    version of the span counts, because a day that is run again must not replace a later one.
    """
    versions, span = list_versions(model_dir), fields.span
    if span is None:
        versions = [v for v in versions if v is versions[-1] or v.version == fields.refreshed_from]
    for bundle in reversed(versions):
        manifest = bundle.manifest
        if manifest.content_digest != digest or (span is not None and manifest.span != span):
            continue
        try:
            verify(bundle.path)
        except BundleError as error:
            problem = told(str(error), model_dir)
            _log.warning("version %d is published anew: %s", bundle.version, problem)
            continue
        return bundle
    return None


def _older_than_served(request: PushRequest, newest: BundleVersion | None, model_dir: Path) -> str:
    """Returns why a model of an older day is not published, '' when it may be.

    Where labels say what is served, a new version takes nothing away from a later day's.
    """
    span = request.fields.span
    if newest is None or span is None or request.config.allow_older_span:
        return ""
    if newest.manifest.span is None or newest.manifest.span <= span:
        return ""
    if read_pins(model_dir).labels:
        return ""
    return (
        f"version {newest.version} is of a later day ({newest.manifest.run_date}) and would no "
        "longer be served; say what is served by a label (tessera promote), or set "
        "pusher.allow_older_span, to publish this one all the same"
    )


def _overtaken(request: PushRequest, newest: BundleVersion | None) -> str:
    """Returns why a refresh of an older model is not published, '' when it may be."""
    fields = request.fields
    if newest is None or fields.refreshed_from is None or fields.model_version is None:
        return ""
    later = newest.manifest.model_version or newest.version
    if later <= fields.model_version or request.config.allow_older_span:
        return ""
    return (
        f"version {newest.version} holds a later model (of version {later}) than this refresh of "
        f"version {fields.refreshed_from}; run the refresh again, it will start from there"
    )


def _retain(model_dir: Path, keep_versions: int, target: PushTarget) -> tuple[int, ...]:
    """Removes expired versions; the push has succeeded, so trouble here only warns."""
    removed = []
    try:
        pull(model_dir)  # in an object store somebody may have labelled one since
        for path in expired_versions(model_dir, keep_versions):
            target.remove(path)
            removed.append(int(path.name))
    except (OSError, BundleError) as error:
        _log.warning("old versions in %s were not all removed: %s", shown(model_dir), error)
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
