"""Artifacts in object storage, brought to the launcher's local folders and back."""

from __future__ import annotations

from pathlib import Path

from core.errors import ConfigError, TesseraError
from core.storage import ObjectStore


class ArtifactError(TesseraError):
    """An artifact could not be brought to or from object storage."""


class ArtifactStore:
    """Where artifacts are kept: buckets of an object store, or folders that stand for them."""

    def __init__(self, folder: Path | None) -> None:
        """Names the place.

        Args:
          folder: every bucket is a folder in it; None: the object store that the
            environment's credentials and `AWS_ENDPOINT_URL` lead to.
        """
        self._folder = folder

    def download(self, uri: str, target: Path) -> int:
        """Copies an artifact, one file or everything below a URI, to a local path.

        Returns:
          The number of files.

        Raises:
          ArtifactError: it cannot be read, or there is none: an artifact has a file at least.
        """
        store, key = self._place(uri)
        files = store.list(key)
        if not files:
            if store.size(key) is None:
                raise ArtifactError(f"{uri}: no object there; start the run anew with --no-cache")
            target.parent.mkdir(parents=True, exist_ok=True)
            store.download(key, target)
            return 1
        below = ObjectStore(store.url_of(key), ArtifactError)
        below.download_all(
            {name.removeprefix(f"{key}/"): size for name, size in files.items()}, target
        )
        return len(files)

    def upload(self, source: Path, uri: str) -> int:
        """Copies a local file or folder to a URI, after what an earlier attempt left is gone.

        Returns:
          The number of files; a folder that is not there has none.

        Raises:
          ArtifactError: it cannot be written.
        """
        store, key = self._place(uri)
        store.delete(store.list(key))
        if source.is_file():
            store.upload(source, key)
            return 1
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        for path in paths:
            store.upload(path, f"{key}/{path.relative_to(source).as_posix()}")
        return len(paths)

    def _place(self, uri: str) -> tuple[ObjectStore, str]:
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.split("?", 1)[0].partition("/")
        if not bucket or not key:
            raise ConfigError(f"{uri}: expected SCHEME://BUCKET/KEY")
        if self._folder is not None:
            return ObjectStore(f"file://{self._folder.resolve() / bucket}", ArtifactError), key
        # MinIO is asked as S3, at the address in AWS_ENDPOINT_URL.
        protocol = "s3" if scheme == "minio" else scheme
        return ObjectStore(f"{protocol}://{bucket}", ArtifactError), key
