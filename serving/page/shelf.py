"""What lies in the bundles beside the model: catalogue, sample of users, titles."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from components.bundle.manifest import Manifest
from components.bundle.verify import VerifiedBundle
from core.errors import ConfigError, DataError
from serving.page.sample import Sample
from serving.recommend.catalogue import ItemCatalogue
from serving.recommend.lookup import (
    UnknownUserError,
    data_config,
    find_user,
    follows_limit,
    time_unit,
    titles,
)
from serving.recommend.question import Question
from serving.recommend.served import actions

#: Versions and users that are kept in memory.
_VOLUMES = 3
_USERS = 64

_log = logging.getLogger("tessera")


@dataclass(frozen=True)
class Volume:
    """One version's data.

    Attributes:
      folder: of the bundle.
      manifest: of the bundle.
      catalogue: its items, with titles where the tables are at hand.
      sample: real requests.
      actions: of the training data, the most frequent first.
    """

    folder: Path
    manifest: Manifest
    catalogue: ItemCatalogue
    sample: Sample
    actions: list[str]


class Shelf:
    """Reads each version once and keeps the latest few; safe for many threads."""

    def __init__(self, data_root: Path | None = None) -> None:
        """Takes another place of the tables than the one a manifest names."""
        self._data_root = data_root
        self._reading, self._scanning = threading.Lock(), threading.Lock()
        self._volumes: OrderedDict[Path, Volume] = OrderedDict()
        self._users: OrderedDict[tuple[Path, str], Question] = OrderedDict()
        self._titles: tuple[tuple[str, str, int], pa.Table | None] | None = None

    def volume(self, bundle: VerifiedBundle) -> Volume:
        """Returns the data of a version.

        Raises:
          BundleError: its files are gone or broken.
        """
        folder = bundle.path
        with self._reading:
            if folder not in self._volumes:
                self._volumes[folder] = self._read(bundle)
                if len(self._volumes) > _VOLUMES:
                    self._volumes.popitem(last=False)
            self._volumes.move_to_end(folder)
            return self._volumes[folder]

    def user(self, volume: Volume, user: str) -> Question:
        """Finds a user in the sample, else in the tables that the model was trained on.

        Raises:
          UnknownUserError: neither knows the user.
        """
        question = volume.sample.find(user)
        if question is not None:
            return question
        key = (volume.folder, user)
        with self._scanning:  # the tables are read from end to end: one search at a time
            if key not in self._users:
                self._users[key] = self._of_tables(volume.manifest, user)
                if len(self._users) > _USERS:
                    self._users.popitem(last=False)
            return self._users[key]

    def _read(self, bundle: VerifiedBundle) -> Volume:
        folder, manifest = bundle.path, bundle.manifest
        catalogue = ItemCatalogue.read(folder)
        known = self._titles_of(manifest)
        if known is not None:
            catalogue = catalogue.with_titles(known["item_id"], known["title"])
        return Volume(folder, manifest, catalogue, Sample.read(folder), actions(folder))

    def _titles_of(self, manifest: Manifest) -> pa.Table | None:
        """Returns the titles of the tables; versions trained on the same data share them."""
        # A refresh keeps its model's fingerprint, while the items table has changed since.
        refreshed = manifest.version if manifest.refreshed_from is not None else 0
        key = (manifest.data_root, manifest.data_fingerprint, refreshed)
        if self._titles is None or self._titles[0] != key:
            self._titles = (key, self._read_titles(manifest))
        return self._titles[1]

    def _read_titles(self, manifest: Manifest) -> pa.Table | None:
        """Returns None where the tables are gone: titles only decorate an answer."""
        try:
            return titles(data_config(manifest, self._data_root), time_unit(manifest))
        except (ConfigError, DataError) as error:
            _log.info("items are shown without titles: %s", error)
            return None

    def _of_tables(self, manifest: Manifest, user: str) -> Question:
        nowhere = f"user {user!r} is not in the bundle's sample of requests"
        try:
            config = data_config(manifest, self._data_root)
            return find_user(config, time_unit(manifest), user, follows_limit(manifest))
        except UnknownUserError:
            raise UnknownUserError(f"{nowhere}, nor in the tables of {config.root}") from None
        except (ConfigError, DataError) as error:
            raise UnknownUserError(f"{nowhere}, and the tables cannot be read: {error}") from error
