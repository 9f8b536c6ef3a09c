"""A published bundle in this process: its served SavedModel, its items and its tables."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from components.bundle.manifest import Manifest
from components.bundle.mirror import shown
from components.bundle.opened import opened_bundle
from core.errors import BundleError, ConfigError, DataError
from input_tables.remote import local_tables
from input_tables.survey import moment_problem
from serving.client import UserRequest
from serving.filters import NO_FILTERS, Filters
from serving.recommend import lookup
from serving.recommend.catalogue import ItemCatalogue
from serving.recommend.explain import explain, shown_items
from serving.recommend.question import Question, typed_history
from serving.recommend.served import actions, answer_of, quiet, served_folder
from serving.server.errors import Code, RequestError
from tessera.client import Client
from tessera.model import Model
from tessera.user import Users, as_users


def load(path: str | os.PathLike[str], data: str | os.PathLike[str] | None = None) -> Model:
    """Opens a bundle, or the server of one.

    Args:
      path: a version's folder, a model's folder (its newest version) or a serving folder with one
        model; the same as an `s3://` or `gs://` URL, which is downloaded until it is closed; or
        `http://host:port/v1/models/NAME`, which gives a `Client`.
      data: folder or URL of the tables, where users given by id are looked up; without it the one
        that the bundle was trained on.

    Raises:
      BundleError: nothing is published there, or it is damaged.
      ConfigError: a server's URL that names no model.
    """
    text = os.fspath(path)
    if text.startswith(("http://", "https://")):
        return _server(text)
    return Bundle(text, data)


class Bundle(Model):
    """A verified bundle; its SavedModel is loaded when it is first asked."""

    def __init__(
        self, path: str | os.PathLike[str], data: str | os.PathLike[str] | None = None
    ) -> None:
        """See `load`."""
        self._stack = ExitStack()
        self._data = None if data is None else os.fspath(data)
        self._bundle = self._stack.enter_context(opened_bundle(os.fspath(path)))

    @property
    def path(self) -> Path:
        """The version's folder."""
        return self._bundle.path

    @property
    def manifest(self) -> Manifest:
        """What the bundle holds and where it came from."""
        return self._bundle.manifest

    @cached_property
    def catalogue(self) -> ItemCatalogue:
        """The items."""
        return ItemCatalogue.read(self.path)

    def close(self) -> None:
        """Frees the model, and what was downloaded."""
        if "_session" in self.__dict__:
            self.__dict__.pop("_session").close()
        self._stack.close()

    def question(
        self, user: str, now: int | None = None, follows: tuple[str, ...] = ()
    ) -> Question:
        """Returns a user's history and follows in the tables.

        Args:
          user: id.
          now: moment of the request; without it right after the newest event of the tables.
          follows: topics that count as followed just now.

        Raises:
          UnknownUserError: the tables do not hold the user.
          ConfigError: the tables are not known, or `now` is no moment in their unit.
        """
        manifest = self.manifest
        _check_moment(now, manifest.time_unit)
        place, further = lookup.data_config(manifest, self._data), manifest.features
        with local_tables(place, wanted=further.columns()) as config:
            unit, limit = lookup.time_unit(manifest), lookup.follows_limit(manifest)
            return lookup.find_user(config, unit, user, limit, now, follows, further)

    def typed(
        self,
        history: list[str],
        follows: list[str],
        action: str | None = None,
        now: int | None = None,
    ) -> Question:
        """Returns a request made from item ids, newest first, an hour between any two."""
        _check_moment(now, self.manifest.time_unit)
        moment = int(time.time()) if now is None else now
        done = self._usual_action if action is None else action
        return typed_history(history, follows, self.manifest.time_unit, moment, done)

    def explain(
        self, question: Question, n: int = 20, filters: Filters = NO_FILTERS
    ) -> dict[str, Any]:
        """Returns items with interests and reasons; docs/bundle.md lists the keys.

        Args:
          question: of one user.
          n: most items.
          filters: which items may be brought.

        Raises:
          BundleError: the SavedModel does not load or does not answer.
          ConfigError: a filter of a column that the version does not know.
        """
        inputs = question.arrays() | {"num_results": np.array([n], np.int32)}
        try:
            answer = answer_of(self._run_filtered("retrieve", inputs, filters))
        except (RequestError, KeyError) as error:
            if filters and isinstance(error, RequestError) and error.code is Code.INVALID_ARGUMENT:
                raise ConfigError(str(error)) from error
            raise BundleError(f"{self.path}: `retrieve` does not answer: {error}") from error
        items = shown_items(question, answer)
        facts = self.catalogue.facts(items, question.follows)
        facts = dataclasses.replace(facts, titles=self._titles(items))
        manifest = self.manifest
        head = {"name": manifest.name, "version": manifest.version, "path": shown(self.path)}
        asked = {"user": question.user, "now": question.now, "time_unit": manifest.time_unit}
        return {"bundle": head, **asked, **explain(question, answer, facts, n)}

    @cached_property
    def _session(self) -> Any:
        quiet()
        from serving.server.session import Session

        folder = served_folder(self._bundle)
        return Session(folder, scann=folder != self.path)

    @cached_property
    def _usual_action(self) -> str:
        return next(iter(actions(self.path)), "")

    def _requests(self, users: Users) -> list[UserRequest]:
        unit = self.manifest.time_unit
        return [
            _request(self.question(user))
            if isinstance(user, str)
            else user.request(unit, self._usual_action)
            for user in as_users(users)
        ]

    def _predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._session.run(inputs, signature)

    def _titles(self, items: set[str]) -> dict[str, str]:
        """Returns titles where the tables are at hand; they only decorate the answer."""
        manifest = self.manifest
        try:
            with local_tables(lookup.data_config(manifest, self._data), items_only=True) as config:
                found = lookup.titles(config, lookup.time_unit(manifest), items)
        except (ConfigError, DataError):
            return {}
        return dict(zip(found["item_id"].to_pylist(), found["title"].to_pylist(), strict=True))


def _request(question: Question) -> UserRequest:
    return UserRequest(
        timestamp=question.now,
        history_item_id=[event.item_id for event in question.history],
        history_timestamp=[event.timestamp for event in question.history],
        history_action=[event.action for event in question.history],
        followed_topic=question.follows,
        user_id=question.user or "",
        user_features=question.features,
    )


def _server(url: str) -> Client:
    parts = urlsplit(url)
    prefix, mark, name = parts.path.rstrip("/").rpartition("/v1/models/")
    if not mark or "/" in name:
        raise ConfigError(
            f"{url}: say which model: {parts.scheme}://{parts.netloc}/v1/models/NAME, "
            "or tessera.Client(address, model=NAME)"
        )
    return Client(f"{parts.scheme}://{parts.netloc}{prefix}", model=unquote(name))


def _check_moment(now: int | None, time_unit: str) -> None:
    problem = None if now is None else moment_problem(now, time_unit)
    if problem:
        raise ConfigError(f"now (--now): {problem}")
