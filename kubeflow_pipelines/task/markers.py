"""Empty objects that stand for folders, left by writers that work on object storage themselves."""

from __future__ import annotations

from typing import Any

import fsspec

from core.errors import ConfigError


def remove_directory_markers(uri: str) -> int:
    """Removes empty objects whose name ends in `/` below a URI.

    TensorFlow's writers for object storage leave them; the launcher then fails on every
    download, because it takes them for files (kubeflow/pipelines#13476). Artifacts that are
    written through the launcher's local folders never have any.

    Args:
      uri: `s3://` or `gs://`.

    Returns:
      How many there were.

    Raises:
      ConfigError: another kind of storage.
    """
    filesystem, prefix = fsspec.core.url_to_fs(uri, skip_instance_cache=True)
    protocol = uri.partition("://")[0]
    if protocol not in ("s3", "gs"):
        raise ConfigError(f"{uri}: artifacts can stay in s3:// or gs:// alone")
    bucket = prefix.partition("/")[0]
    markers = sorted(
        key for key, size in _objects(filesystem, prefix).items() if key.endswith("/") and not size
    )
    for key in markers:
        # fsspec's own way to remove a file takes the last `/` off its name.
        if protocol == "s3":
            filesystem.call_s3("delete_object", Bucket=bucket, Key=key)
        else:
            filesystem.call("DELETE", "b/{}/o/{}", bucket, key)
    return len(markers)


def _objects(filesystem: Any, prefix: str) -> dict[str, int]:
    """Returns key in the bucket -> bytes of what lies below a place."""
    found = filesystem.find(prefix, withdirs=True, detail=True)
    return {
        str(entry.get("Key", entry["name"])).partition("/")[2]: int(entry.get("size") or 0)
        for entry in found.values()
    }
