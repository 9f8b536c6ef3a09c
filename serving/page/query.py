"""What the page asks: checked JSON, made into the question of a retriever."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from core.config import BaseConfig
from core.errors import ConfigError
from serving.filters import FILTERED, make_filters
from serving.page.shelf import Shelf, Volume
from serving.recommend.question import Question, typed_history
from serving.server.errors import RequestError, invalid
from trainer import features
from trainer.retrieval import signature

#: Most items that a bundle returns if its manifest does not say.
_MAX_RESULTS = 1000
_NUM_RESULTS = 24
_SIMILAR = 12
#: A time in seconds or a position that JavaScript holds exactly.
_MOST = 2**53 - 1
QueryT = TypeVar("QueryT", bound=BaseConfig)


class Query(BaseConfig):
    """The body of `POST /api/recommend`."""

    model_config = ConfigDict(strict=True)

    user: str | None = Field(None, min_length=1, max_length=20_000)
    history: list[str] = Field([], max_length=1000, description="item ids, newest first")
    follows: list[str] = Field([], max_length=100, description="topics, beside the user's own")
    action: str | None = Field(None, max_length=1000, description="done with each typed item")
    now: int | None = Field(None, ge=-_MOST, le=_MOST, description="time of a typed request")
    filters: list[str] = Field([], max_length=100, description="conditions, e.g. region=de")
    num_results: int = Field(_NUM_RESULTS, ge=1, le=_MAX_RESULTS)
    use_implicit: bool = Field(True, description="ask the interests of the history")
    use_explicit: bool = Field(True, description="ask the followed topics")
    version: int | None = Field(None, ge=1)
    label: str | None = Field(None, min_length=1, max_length=1000)

    @field_validator("user", "action", "label")
    @classmethod
    def _can_be_sent(cls, text: str | None) -> str | None:
        return None if text is None else sendable(text)

    @field_validator("history", "follows", "filters")
    @classmethod
    def _are_names(cls, names: list[str]) -> list[str]:
        return _names(names)

    @model_validator(mode="after")
    def _is_one_question(self) -> Query:
        if self.user is not None and self.history:
            raise ValueError("give `user` or `history`, not both")
        if self.version is not None and self.label is not None:
            raise ValueError("give `version` or `label`, not both")
        if not (self.use_implicit or self.use_explicit):
            raise ValueError(
                "`use_implicit` and `use_explicit` are both false, so nothing would be searched; "
                "switch one on"
            )
        return self

    def question(self, volume: Volume, shelf: Shelf) -> Question:
        """Returns the raw features of the request.

        Raises:
          UnknownUserError: nobody knows the user.
        """
        if self.user is not None:
            found = shelf.user(volume, self.user)
            follows = tuple(dict.fromkeys([*self.follows, *found.follows]))
            return dataclasses.replace(found, follows=follows)
        usual = next(iter(volume.actions), "")
        return typed_history(
            self.history,
            self.follows,
            volume.manifest.time_unit,
            int(time.time()) if self.now is None else self.now,
            usual if self.action is None else self.action,
        )

    def options(self) -> dict[str, np.ndarray]:
        """Returns the options of the signature `retrieve`, `[1]` each."""
        return {
            signature.NUM_RESULTS: np.array([self.num_results], np.int32),
            signature.USE_IMPLICIT: np.array([self.use_implicit]),
            signature.USE_EXPLICIT: np.array([self.use_explicit]),
        }


class SimilarQuery(BaseConfig):
    """The body of `POST /api/similar`."""

    model_config = ConfigDict(strict=True)

    item: str = Field(min_length=1, max_length=20_000, description="id of an item")
    filters: list[str] = Field([], max_length=100, description="conditions, e.g. region=de")
    num_results: int = Field(_SIMILAR, ge=1, le=_MAX_RESULTS)
    version: int | None = Field(None, ge=1)
    label: str | None = Field(None, min_length=1, max_length=1000)

    @field_validator("item")
    @classmethod
    def _can_be_sent(cls, text: str) -> str:
        return sendable(text)

    @field_validator("filters")
    @classmethod
    def _are_names(cls, names: list[str]) -> list[str]:
        return _names(names)

    def inputs(self) -> dict[str, np.ndarray]:
        """Returns the inputs of the signature `similar_items`, batch size 1."""
        return {
            features.ITEM_ID: np.array([self.item.encode()], object),
            features.ITEM_TOPICS: np.array([[b""]], object),
            signature.NUM_RESULTS: np.array([self.num_results], np.int32),
        }


def parse_query(body: Any) -> Query:
    """Checks the decoded JSON of `POST /api/recommend`.

    Raises:
      RequestError: naming the first key that is wrong.
    """
    return _parsed(Query, body)


def parse_similar(body: Any) -> SimilarQuery:
    """Checks the decoded JSON of `POST /api/similar`; see `parse_query`."""
    return _parsed(SimilarQuery, body)


def _parsed(model: type[QueryT], body: Any) -> QueryT:
    if not isinstance(body, dict):
        raise invalid(f"the body must be a JSON object, not {type(body).__name__}")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise _first(error.errors(), model) from None


def filtered(
    name: str, inputs: dict[str, np.ndarray], conditions: list[str]
) -> tuple[str, dict[str, np.ndarray]]:
    """Returns the signature and the inputs of a request, filtered where there are conditions.

    Raises:
      RequestError: a condition that cannot be read.
    """
    if not conditions:
        return name, inputs
    try:
        filters = make_filters(filters=conditions)
    except ConfigError as error:
        raise invalid(str(error)) from None
    return FILTERED[name], {**inputs, **filters.inputs(1)}


def _names(names: list[str]) -> list[str]:
    if not all(map(sendable, names)):
        raise ValueError("holds an empty string")
    return list(dict.fromkeys(names))


def sendable(text: str) -> str:
    """Returns the text.

    Raises:
      ValueError: it cannot be written as UTF-8 (half of a surrogate pair).
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is not a character") from None
    return text


def _first(errors: Iterable[Any], model: type[BaseConfig]) -> RequestError:
    first = next(iter(errors))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(model.model_fields))
        message = f"no such key; known: {known}"
    key = ".".join(str(part)[:100] for part in first["loc"])
    return invalid(f"`{key}`: {message}" if key else message)
