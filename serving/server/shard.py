"""Serves one shard of each version: a model of its own, `<name>-shard-<number>`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.index_builder.layout import SCANN_RETRIEVER, SHARDS
from core.errors import BundleError
from serving.server.session import Session
from serving.server.source import Aspired, VersionSource
from serving.server.version import LoadedVersion, opened
from trainer import features
from trainer.retrieval import routing


def shard_model(name: str, shard: int) -> str:
    """Returns the name that a shard of a model is served under."""
    return f"{name}-shard-{shard}"


class ShardSource:
    """The versions of a source, and those right before, which routers may still ask for."""

    def __init__(self, source: VersionSource, shard: int) -> None:
        """Follows a source.

        Args:
          source: of the whole model.
          shard: its number.
        """
        self.name = shard_model(source.name, shard)
        self._source = source
        self._now = self._before = Aspired({})

    def aspired(self) -> Aspired:
        """See `VersionSource.aspired`; without labels, a router names versions."""
        found = self._source.aspired()
        if found.folders.keys() != self._now.folders.keys():
            self._before = self._now
        self._now = found
        before = {v: folder for v, folder in self._before.folders.items() if folder.is_dir()}
        return Aspired({**before, **found.folders})


def load_shard(folder: Path, shard: int) -> LoadedVersion:
    """Verifies a bundle, loads the model of one shard and searches it once.

    Raises:
      BundleError: the bundle is damaged or has no such shard.
    """
    bundle, index = opened(folder)
    check_shards(folder, index, shard + 1)
    session = Session(folder / SHARDS / str(shard), index["serve"] == SCANN_RETRIEVER)
    try:
        search_once(session, index["dim"])
    except BaseException:
        session.close()
        raise
    return LoadedVersion(bundle, session)


def check_shards(folder: Path, index: dict, least: int) -> int:
    """Returns the number of shards of a bundle.

    Args:
      folder: of the bundle.
      index: content of its `index.json`.
      least: shards that there must be.

    Raises:
      BundleError: there are fewer.
    """
    count = len(index.get("shards", ()))
    if count < least:
        raise BundleError(
            f"{folder}: has {count or 'no'} shards, but {least} are asked for: build it with "
            f"index.shards: {least}"
        )
    return count


def search_once(session: Session, dim: int) -> None:
    """Searches a shard, so that no request waits for what the first search prepares.

    That takes longer than routers wait for an answer, with some million items.
    """
    none = np.full([1, 1], b"", object)
    request = {
        routing.VECTORS: np.zeros([1, 1, dim], np.float32),
        routing.SLOT_TOPIC: none,
        routing.SLOT_KIND: np.zeros([1, 1], np.int32),
        routing.VALID: np.ones([1, 1], bool),
        routing.LIMIT: np.ones([1], np.int32),
        features.HISTORY_ITEM_ID: none,
    }
    session.run(request, routing.SEARCH_SLOTS)
