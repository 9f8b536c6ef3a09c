"""Which days of data have been published."""

from __future__ import annotations

import datetime as dt

from components.bundle.mirror import mirrored
from components.bundle.span import span_date
from components.bundle.versions import list_versions


def version_of_day(serving_dir: str, name: str, day: dt.date, refresh: bool) -> int | None:
    """Returns the newest version that a run of a day published, None where there is none.

    Args:
      serving_dir: a folder, or a URL in an object store.
      name: name of the model.
      day: last day of the data that a model was trained on, or the day of a refresh's items.
      refresh: look among refreshes, and nowhere else; otherwise among trained versions alone.

    Raises:
      BundleError: the store cannot be read.
    """
    found = None
    with mirrored(serving_dir, name) as root:
        for bundle in list_versions(root / name):
            manifest = bundle.manifest
            if (manifest.refreshed_from is not None) != refresh:
                continue
            # A refresh keeps the span of the model; its own day is in its configuration.
            data = manifest.config.get("data") or {}
            if (data.get("run_date") if refresh else span_date(manifest.span)) == day.isoformat():
                found = bundle.version
    return found


def pushed_spans(serving_dir: str, name: str) -> dict[dt.date, int]:
    """Returns the newest published version of every day of data, the earliest day first.

    Refreshes count, versions without spans do not. Only manifests are read.

    Args:
      serving_dir: a folder, or a URL in an object store.
      name: name of the model.

    Raises:
      BundleError: the store cannot be read.
    """
    found: dict[dt.date, int] = {}
    with mirrored(serving_dir, name) as root:
        for bundle in list_versions(root / name):
            if bundle.manifest.span is not None:
                found[dt.date.fromisoformat(span_date(bundle.manifest.span))] = bundle.version
    return dict(sorted(found.items()))
