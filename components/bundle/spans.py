"""Which days of data have been published."""

from __future__ import annotations

import datetime as dt

from components.bundle.mirror import mirrored
from components.bundle.span import span_date
from components.bundle.versions import list_versions


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
