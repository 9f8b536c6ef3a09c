"""How the new version of a refresh is published, and what its manifest records."""

from __future__ import annotations

from components.config import PusherConfig
from components.pusher.push import ManifestFields
from core.digest import json_digest
from core.secrets import without_secrets
from pipeline.refresh.resolve import Refresh


def pusher_config(refresh: Refresh) -> PusherConfig:
    """Returns how the new version is published.

    Where labels say what is served, a new version takes nothing away from a later day's:
    it is published, and served when somebody promotes it. Nor does it matter to somebody
    who names the version to refresh.
    """
    config = refresh.config.pusher
    if refresh.served_labels or refresh.config.refresh.version is not None:
        return config.model_copy(update={"allow_older_span": True})
    return config


def manifest_fields(refresh: Refresh, published_code: str) -> ManifestFields:
    """Returns what the new manifest records: the model's origin, as the parent's did.

    A later training therefore finds the version as its baseline where it would have found
    the parent.
    """
    parent = refresh.parent.manifest
    dumped = without_secrets(refresh.config.model_dump(mode="json"))
    return ManifestFields(
        training_digest=parent.training_digest,
        config_digest=json_digest(dumped),
        code_digest=published_code,
        span=parent.span,
        data_fingerprint=parent.data_fingerprint,
        data_root=parent.data_root,
        time_unit=parent.time_unit,
        primary_metric=parent.primary_metric,
        baseline_version=parent.baseline_version,
        refreshed_from=parent.version,
        model_version=parent.model_version or parent.version,
        config=dumped,
    )
