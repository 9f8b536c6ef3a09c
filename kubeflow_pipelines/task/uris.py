"""Object storage as a task sees it: the launcher copies it to and from local folders.

Kubeflow's launcher downloads every input artifact to a folder derived from its URI before
the command runs, and uploads what the command left in the folders of its outputs
(`launcher_v2.go`, `LocalPathForURI`). So no code of a component needs to know any storage.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

#: Scheme of a URI -> top folder below the launcher's root.
FOLDERS = {"minio": "minio", "s3": "s3", "gs": "gcs", "oci": "oci"}
#: Where those folders lie: `/` in a container.
ROOT_VARIABLE = "TESSERA_LAUNCHER_ROOT"


def launcher_root() -> str:
    """Returns the folder that holds the launcher's folders."""
    return os.environ.get(ROOT_VARIABLE) or "/"


def local_path(uri: str, root: str) -> str | None:
    """Returns where the launcher keeps an artifact, None when it leaves it where it is.

    Args:
      uri: of an artifact.
      root: see `launcher_root`.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in FOLDERS:
        return None
    # A root such as s3://bucket/path?region=... keeps its query in every URI.
    return os.path.join(root, FOLDERS[scheme], rest.split("?", 1)[0]).rstrip("/")


def replace_prefix(text: str, prefixes: Mapping[str, str]) -> str:
    """Returns `text` with its longest known leading path replaced by that path's value."""
    for prefix in sorted(prefixes, key=len, reverse=True):
        if text == prefix or text.startswith(prefix.rstrip("/") + "/"):
            return prefixes[prefix] + text[len(prefix) :]
    return text
