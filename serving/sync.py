"""Brings published versions from an object store into the folder that a model server reads.

TensorFlow Serving reads local folders, and takes every folder with a number for a version,
whole or not. So a version is downloaded beside, compared with its manifest, and renamed to
its number; then `models.config` names it. Whatever fails, what is served stays.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2

from components.bundle.links import SCANN_TREE, drop_link, has_links, sync_links
from components.bundle.lock import exclusive_lock
from components.bundle.mirror import mirrored, pull, pull_all, told
from components.bundle.model_config import (
    MODELS_CONFIG,
    MODELS_SCANN_CONFIG,
    add_model,
    read_config,
    require_readable,
    write_configs,
)
from components.bundle.model_status import AVAILABLE, ServerVersion, version_status
from components.bundle.served import Served, served
from components.bundle.verify import verify
from components.bundle.versions import list_versions, numbered_folders
from core.errors import BundleError, ConfigError, TesseraError
from core.storage import ObjectStore, is_remote

#: Here versions grow and go; beside the models, so that a rename suffices.
INCOMING = ".incoming"
_LOCK = ".sync.lock"
_WAIT_S = 5.0
_log = logging.getLogger("tessera")


class Sync:
    """Keeps a local serving folder what a remote one says is served."""

    def __init__(
        self,
        source: Path,
        url: str,
        folder: Path,
        base_path: str,
        name: str | None = None,
        server: str = "",
        keep: int = 1,
        status: Callable[[str, str, int], ServerVersion] = version_status,
    ) -> None:
        """Removes what a killed predecessor left half-way; see `opened`.

        Args:
          source: mirror of the remote serving folder.
          url: the remote serving folder.
          folder: the local one.
          base_path: the local one, as the server sees it.
          name: the only model to keep; None: all of them.
          server: `host:port` of the server's gRPC; '' where none runs yet.
          keep: versions that stay on the disk beside those that are served.
          status: asks a server for a version's state.
        """
        self._source, self._url, self._folder = source, url, folder
        self._base, self._name, self._server, self._keep = base_path, name, server, keep
        self._status = status
        #: (model, version) that the server does not load; another start tries them again.
        self._refused: set[tuple[str, int]] = set()
        shutil.rmtree(folder / INCOMING, ignore_errors=True)
        for path in folder.iterdir():
            if path.is_dir():
                self._check(path)

    def once(self) -> dict[str, Served]:
        """Looks at the store once and does what can be done now.

        Returns:
          What the server is told to serve, by name of the model.

        Raises:
          TesseraError: the store or a model of it cannot be read; the other models are done.
        """
        if self._name is None:
            pull_all(self._source)
        else:
            pull(self._source / self._name)
        now, problems = self.configured(), []
        for model in sorted(path for path in self._source.iterdir() if path.is_dir()):
            before = now.get(model.name, Served((), {}))
            try:
                after = self._advance(model, before)
            except TesseraError as error:
                problems.append(told(str(error), self._source))
                continue
            if after.versions:
                now[model.name] = after
        self._write(now)
        for name, configured in now.items():
            self._prune(self._folder / name, configured)
        if problems:
            raise BundleError("; ".join(problems))
        return now

    def _advance(self, model: Path, before: Served) -> Served:
        """Returns the next configuration of one model: what it should be, or a step there."""
        wanted = served(model)
        sound = {v for v in wanted.versions if self._fetch(model, v)}
        if not wanted.labels and not sound and not before.versions:
            # A fresh volume: rather an older version than none.
            older = reversed([bundle.version for bundle in list_versions(model)])
            sound = {v for v in older if v not in wanted.versions and self._fetch(model, v)}
        target = self._among(sound, wanted, before)
        if not self._server or not before.versions:
            return target
        return self._loaded_first(model.name, wanted, before, target)

    def _among(self, sound: set[int], wanted: Served, before: Served) -> Served:
        """Returns what is wanted of the sound versions; labels of others stay where they were."""
        if not wanted.labels:
            return Served((max(sound),), {}) if sound else before
        labels = {
            label: version if version in sound else before.labels.get(label, 0)
            for label, version in wanted.labels.items()
        }
        labels = {label: version for label, version in labels.items() if version}
        return Served(tuple(sorted({*labels.values()})), labels) if labels else before

    def _loaded_first(self, name: str, wanted: Served, before: Served, target: Served) -> Served:
        """Returns `target` once the server has its versions, and until then those beside the old.

        A server moves a label in use only to a version that it has loaded, and one that is
        started anew while a version does not load must still have the one before.
        """
        waiting = []
        for version in set(target.versions):
            state = self._status(self._server, name, version)
            if state.failed:
                self._refused.add((name, version))
                _log.error("version %d of %s does not load, it is left: %s", version, name, state)
            elif state.state != AVAILABLE:
                waiting.append(version)
        refused = {version for model, version in self._refused if model == name}
        if refused & {*target.versions}:
            versions = tuple(v for v in before.versions if v not in refused)
            labels = {k: v for k, v in before.labels.items() if v not in refused}
            return self._among({*target.versions} - refused, wanted, Served(versions, labels))
        if waiting:
            return Served(tuple(sorted({*before.versions, *target.versions})), before.labels)
        return target

    def _fetch(self, model: Path, version: int) -> bool:
        """Makes sure that a version is here and whole; says whether it is."""
        final = self._folder / model.name / str(version)
        if (model.name, version) in self._refused:
            return False
        if final.is_dir():
            return True
        store = ObjectStore(f"{self._url}/{model.name}/{version}", BundleError)
        with self._incoming() as staging:
            try:
                store.download_all(store.list(), staging)
                manifest = verify(staging)
                if (manifest.name, manifest.version) != (model.name, version):
                    raise BundleError(
                        f"{staging}: its manifest is that of {manifest.name}/{manifest.version}"
                    )
            except BundleError as error:
                text = str(error).replace(str(staging), store.url)
                _log.error("version %d of %s is left: %s", version, model.name, text)
                return False
            final.parent.mkdir(exist_ok=True)
            os.rename(staging, final)
        _log.info("version %d of %s is here", version, model.name)
        return True

    @contextmanager
    def _incoming(self) -> Iterator[Path]:
        staging = self._folder / INCOMING / uuid.uuid4().hex
        staging.mkdir(parents=True)
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _check(self, model_dir: Path) -> None:
        """Takes away what is damaged, before a server is told of it again."""
        for number, path in numbered_folders(model_dir).items():
            try:
                verify(path)
            except BundleError as error:
                _log.error("version %d is fetched anew: %s", number, error)
                self._remove(path)

    def _prune(self, model_dir: Path, configured: Served) -> None:
        idle = sorted(numbered_folders(model_dir).keys() - {*configured.versions})
        for number in idle[: max(0, len(idle) - self._keep)]:
            drop_link(model_dir, number)
            self._remove(model_dir / str(number))

    def _remove(self, path: Path) -> None:
        """Takes a version away whole: what is deleted file by file has no number."""
        with self._incoming() as staging:
            os.rename(path, staging / path.name)

    def configured(self) -> dict[str, Served]:
        """Returns what the server was told last."""
        try:
            told = read_config(self._folder)
        except BundleError as error:
            _log.error("it is written anew: %s", error)
            return {}
        return {name: model for name, model in told.items() if model and model.versions}

    def _write(self, now: dict[str, Served]) -> None:
        plain = model_server_config_pb2.ModelServerConfig()
        scann = model_server_config_pb2.ModelServerConfig()
        for name, configured in now.items():
            model_dir = self._folder / name
            sync_links(model_dir, list_versions(model_dir))
            add_model(plain, name, f"{self._base}/{name}", configured, named=True)
            if has_links(model_dir):
                add_model(scann, name, f"{self._base}/{name}/{SCANN_TREE}", configured, named=True)
        if now:
            # The plain one last: whoever waits for it finds the other.
            write_configs(self._folder, {MODELS_SCANN_CONFIG: scann, MODELS_CONFIG: plain})


@contextmanager
def opened(
    url: str,
    folder: Path,
    *,
    name: str | None = None,
    base_path: str = "",
    server: str = "",
    keep: int = 1,
) -> Iterator[Sync]:
    """Yields what keeps `folder` up to date; one process per folder.

    Args:
      url: serving folder in an object store.
      folder: local serving folder; made where it does not exist.
      name: see `Sync`.
      base_path: see `Sync`; '': the folder itself.
      server: see `Sync`.
      keep: see `Sync`.

    Raises:
      ConfigError: not a URL, or a base path that no server reads.
      BundleError: the store cannot be read.
      PushError: another process keeps the folder.
    """
    if not is_remote(url):
        raise ConfigError(f"{url}: not a URL; a server reads a local serving folder as it is")
    folder = Path(os.path.abspath(folder))
    base_path = base_path.rstrip("/") or str(folder)
    require_readable(base_path)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder / _LOCK, _WAIT_S), mirrored(url, name) as source:
        yield Sync(source, url.rstrip("/"), folder, base_path, name, server, keep)
