"""What a bundle is asked: one user's history and follows at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer import features

_HOUR_S = 3600


@dataclass(frozen=True)
class HistoryEvent:
    """One engagement of the user."""

    item_id: str
    timestamp: int
    action: str


@dataclass(frozen=True)
class Question:
    """The raw features of one request.

    Attributes:
      history: NEWEST FIRST.
      follows: followed topics, newest first.
      now: time of the request, in the data's own unit.
      user: id of the user, None for a typed history.
      notes: what the person who asks should know.
      features: texts `name=value`.
    """

    history: tuple[HistoryEvent, ...]
    follows: tuple[str, ...]
    now: int
    user: str | None = None
    notes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the inputs of the signature `retrieve`, batch size 1.

        Lists are `[1, length]`; an empty one is a single pad.
        """
        items = [event.item_id.encode() for event in self.history] or [b""]
        actions = [event.action.encode() for event in self.history] or [b""]
        times = [event.timestamp for event in self.history] or [0]
        topics = [topic.encode() for topic in self.follows] or [b""]
        found = {
            features.TIMESTAMP: np.array([self.now], np.int64),
            features.HISTORY_ITEM_ID: np.array([items], object),
            features.HISTORY_TIMESTAMP: np.array([times], np.int64),
            features.HISTORY_ACTION: np.array([actions], object),
            features.FOLLOWED_TOPIC: np.array([topics], object),
        }
        if self.features:  # a model without has no such input
            given = [text.encode() for text in self.features]
            found[features.USER_VALUES] = np.array([given], object)
        return found


def typed_history(
    items: list[str], follows: list[str], time_unit: str, now: int, action: str
) -> Question:
    """Makes a request from item ids that somebody typed.

    Args:
      items: newest first; an hour (or one position) lies between any two.
      follows: topics.
      time_unit: `seconds` or `order`.
      now: seconds since 1970; not used with positions.
      action: what the user did with every item.
    """
    step = 1 if time_unit == "order" else _HOUR_S
    moment = len(items) if time_unit == "order" else now
    history = tuple(
        HistoryEvent(item, moment - (place + 1) * step, action) for place, item in enumerate(items)
    )
    return Question(history, tuple(follows), moment)
