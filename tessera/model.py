"""The four questions, over whatever runs a signature: a session here or a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import numpy as np

from core.errors import BundleError
from serving.client import UserRequest, padded, user_inputs
from serving.filters import FILTERED, Condition, Filters, make_filters
from serving.server.errors import Code, RequestError
from tessera import answers
from tessera.rows import Rows
from tessera.user import Users, feature_texts

ModelT = TypeVar("ModelT", bound="Model")
_NO_SIGNATURE = ("signature key", "Serving signature", "no signature")


class Model(ABC):
    """A retriever that can be asked; close it, or use it in a `with` block."""

    def __enter__(self: ModelT) -> ModelT:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Frees what is held."""

    def recommend(
        self,
        users: Users,
        n: int = 20,
        implicit: bool = True,
        explicit: bool = True,
        *,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] = (),
        filters: Mapping[str, Condition] | Sequence[str] = (),
    ) -> Rows:
        """Returns the items of each user, best first.

        Args:
          users: one or many; see `tessera.User`. An id (a string) is looked up in the tables that
            the bundle was trained on, which a server cannot do.
          n: items for each user.
          implicit: whether interests found in the history are searched.
          explicit: whether followed topics are searched.
          allow: ids of the only items that may be brought; None for all.
          deny: ids of items that are not brought.
          filters: column -> a value, several of which any will do, or `(least, most)`; or
            texts such as `created_at>=1700000000`. Columns are those of `retrieval.filters`.

        Returns:
          A row per item: `row` (position of the user in `users`), `user_id`, `rank` from 1,
          `item_id`, `score`, `kind` (`implicit` or `explicit`), `topic` (that was followed, ''
          for implicit items), `slot`, `because` (items of the history in the slot's cluster,
          newest first).

        Raises:
          ConfigError: a user or a filter that cannot be read.
          BundleError: there are filters, and the version was published without any.
          RequestError: what the server said.
        """
        wanted = make_filters(allow, deny, filters)
        requests = self._requests(users)
        if not requests:
            return answers.recommended([], answers.NOTHING)
        options = {
            "user_id": _texts([request.user_id for request in requests]),
            "num_results": np.full(len(requests), n, np.int32),
            "use_implicit": np.full(len(requests), implicit, np.bool_),
            "use_explicit": np.full(len(requests), explicit, np.bool_),
        }
        return answers.recommended(
            requests,
            self._run_filtered("retrieve", {**user_inputs(requests), **options}, wanted),
        )

    def similar(
        self,
        items: str | Sequence[str] | Mapping[str, Sequence[str]],
        n: int = 20,
        *,
        features: Mapping[str, Mapping[str, object]] | None = None,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] = (),
        filters: Mapping[str, Condition] | Sequence[str] = (),
    ) -> Rows:
        """Returns the nearest items of each item, best first.

        Args:
          items: an id, ids, or id -> topics. Topics describe an item that the catalogue does not
            hold; those of a known item are not read.
          n: neighbours of each.
          features: id -> features (name -> value, or several values) of items that the catalogue
            does not hold, for a model that has features of items.
          allow: see `recommend`, as `deny` and `filters`.
          deny: ids.
          filters: conditions.

        Returns:
          A row per neighbour: `row` (position in `items`), `of_item_id`, `known` (whether the
          catalogue holds the item that was asked about), `rank`, `item_id`, `score`.

        Raises:
          ConfigError: a filter that cannot be read.
          BundleError: the version has no signature `similar_items`, or no filters.
          RequestError: what the server said.
        """
        wanted = make_filters(allow, deny, filters)
        asked = {items: ()} if isinstance(items, str) else items
        if not isinstance(asked, Mapping):
            asked = dict.fromkeys(asked, ())
        if not asked:
            return answers.similar([], answers.NOTHING)
        inputs = {
            "item_id": _texts(list(asked)),
            "item_topics": padded([list(topics) or [""] for topics in asked.values()]),
            "num_results": np.full(len(asked), n, np.int32),
        }
        if features:
            texts = [feature_texts(features.get(item, {})) for item in asked]
            inputs["item_features"] = padded([each or [""] for each in texts])
        return answers.similar(list(asked), self._run_filtered("similar_items", inputs, wanted))

    def score(self, users: Users, items: Sequence[str] | Sequence[Sequence[str]]) -> Rows:
        """Returns the scores of given pairs of users and items.

        Args:
          users: one or many.
          items: ids that every user is scored with, or one list of ids per user.

        Returns:
          A row per pair: `row`, `user_id`, `item_id`, `known` (the catalogue holds the item),
          `score` (of the best slot), `slot` (-1: none), `kind`, `topic`, `implicit_score` and
          `explicit_score` (best of each kind; NaN where no such slot is searched or the item is
          not known).

        Raises:
          BundleError: the version has no signature `score_items`.
          RequestError: what the server said.
        """
        requests = self._requests(users)
        lists = _lists(items, len(requests))
        if len(lists) != len(requests):
            raise RequestError(
                Code.INVALID_ARGUMENT, f"{len(lists)} lists of items for {len(requests)} users"
            )
        if not requests or not max(map(len, lists)):
            return answers.scored([], [], answers.NOTHING)
        inputs = {**user_inputs(requests), "item_id": padded(lists)}
        return answers.scored(requests, lists, self._run("score_items", inputs))

    def encode(self, users: Users) -> Rows:
        """Returns the embeddings of each user, one row per slot that is searched.

        Returns:
          `row`, `user_id`, `slot`, `kind`, `topic`, `mass` (share of the history), `embedding`
          (`[dim]` float32).
        """
        requests = self._requests(users)
        if not requests:
            return answers.encoded([], answers.NOTHING)
        return answers.encoded(requests, self._run("embed_user", user_inputs(requests)))

    @abstractmethod
    def _requests(self, users: Users) -> list[UserRequest]:
        """Returns the users as requests."""

    @abstractmethod
    def _predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature."""

    def _run_filtered(
        self, signature: str, inputs: Mapping[str, np.ndarray], filters: Filters
    ) -> dict[str, np.ndarray]:
        """Runs a signature, or the filtered one beside it."""
        if not filters:
            return self._run(signature, inputs)
        rows = len(inputs["num_results"])
        try:
            return self._predict(FILTERED[signature], {**inputs, **filters.inputs(rows)})
        except RequestError as error:
            if any(words in str(error) for words in _NO_SIGNATURE):
                raise BundleError(
                    "this version was published without filters: name the columns in "
                    "retrieval.filters (item_id for lists of ids alone) and publish one more with "
                    "`tessera run`, or with `tessera refresh` without training"
                ) from error
            raise

    def _run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return self._predict(signature, inputs)
        except RequestError as error:
            if any(words in str(error) for words in _NO_SIGNATURE):
                raise BundleError(
                    f"this version has no signature `{signature}`: it was published by an earlier "
                    "Tessera; publish one more with `tessera run`, or with `tessera refresh` "
                    "without training"
                ) from error
            raise


def _lists(items: Sequence[str] | Sequence[Sequence[str]], users: int) -> list[list[str]]:
    """Returns one list of items per user; a flat list is everybody's."""
    flat = [item for item in items if isinstance(item, str)]
    if len(flat) == len(items):
        return [flat] * users
    return [list(each) for each in items if not isinstance(each, str)]


def _texts(texts: Sequence[str]) -> np.ndarray:
    array = np.empty(len(texts), object)
    array[:] = [text.encode() for text in texts]
    return array
