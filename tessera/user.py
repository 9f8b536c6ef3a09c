"""What is known of a user, as a caller writes it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from core.errors import ConfigError
from serving.client import UserRequest

_HOUR_S = 3600


@dataclass(frozen=True)
class User:
    """One user at one moment; lists NEWEST FIRST.

    Attributes:
      history: ids of the items that the user engaged with.
      follows: followed topics.
      times: when, one per item; without them an hour lies between any two.
      actions: how, one per item; without them the usual action.
      now: time of the request in the unit of the data; without it the present.
      user_id: given back in the answer.
      features: name -> value, or several values; for a model that has features of users.
    """

    history: Sequence[str] = ()
    follows: Sequence[str] = ()
    times: Sequence[int] = ()
    actions: Sequence[str] = ()
    now: int | None = None
    user_id: str = ""
    features: Mapping[str, object] = field(default_factory=dict, hash=False)

    def request(self, time_unit: str = "seconds", action: str = "") -> UserRequest:
        """Returns the request that a signature takes.

        Args:
          time_unit: `seconds`, or `order` (positions without a clock).
          action: done with every item where `actions` does not say.

        Raises:
          ConfigError: times or actions that are not as many as the items.
        """
        for name in ("times", "actions"):
            given = len(getattr(self, name))
            if given not in (0, len(self.history)):
                raise ConfigError(
                    f"user {self.user_id!r}: {given} {name} for {len(self.history)} items of "
                    "`history`; give one for each item, or none"
                )
        step = 1 if time_unit == "order" else _HOUR_S
        size = len(self.history)
        present = size if time_unit == "order" else int(time.time())
        now = present if self.now is None else self.now
        return UserRequest(
            timestamp=now,
            history_item_id=list(self.history),
            history_timestamp=list(self.times) or [now - (n + 1) * step for n in range(size)],
            history_action=list(self.actions) or [action] * size,
            followed_topic=list(self.follows),
            user_id=self.user_id,
            user_features=feature_texts(self.features),
        )


def feature_texts(features: Mapping[str, object]) -> list[str]:
    """Returns features as requests hold them, `name=value`; a list gives several.

    The floats of an embedding are one text with blanks between them.
    """
    texts = []
    for name, value in features.items():
        several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        values = list(value) if several else [value]  # type: ignore[call-overload]
        if values and all(isinstance(each, float) for each in values) and several:
            values = [" ".join(map(str, values))]
        texts += [f"{name}={each}" for each in values if each is not None]
    return texts


#: A user as a caller may write one: a `User`, or its fields as a mapping.
UserLike: TypeAlias = "User | Mapping[str, object]"
#: One user or many. A string is the id of a user, whom a bundle finds in its tables.
Users: TypeAlias = "UserLike | str | Sequence[UserLike | str]"

_FIELDS = frozenset(field.name for field in fields(User))


def as_users(users: Users) -> list[User | str]:
    """Returns one user or many as a list of `User`s and of ids.

    Raises:
      ConfigError: something else was given.
    """
    many = [users] if isinstance(users, (User, Mapping, str)) else list(users)
    return [each if isinstance(each, (User, str)) else _user(each) for each in many]


def _user(given: object) -> User:
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"a user is a tessera.User, a mapping or an id, not {type(given).__name__}; "
            'for instance {"history": ["i7"], "follows": ["art"]}'
        )
    unknown = sorted(map(str, given.keys() - _FIELDS))
    if unknown:
        known = ", ".join(sorted(_FIELDS))
        raise ConfigError(f"a user has no field {unknown[0]!r}; known: {known}")
    for name in ("history", "follows", "times", "actions"):
        if isinstance(given.get(name), (str, bytes)):
            raise ConfigError(f"`{name}` of a user is a list, not the text {given[name]!r}")
    return User(**given)  # type: ignore[arg-type]  # the names are checked above
