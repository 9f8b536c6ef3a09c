"""The real requests that a bundle carries, by user."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.serving_validator.layout import REQUESTS_FILE
from core.errors import BundleError
from serving.recommend.question import HistoryEvent, Question

SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "timestamp": pa.int64(),
        "history_item_id": pa.list_(pa.string()),
        "history_timestamp": pa.list_(pa.int64()),
        "history_action": pa.list_(pa.string()),
        "followed_topic": pa.list_(pa.string()),
    }
)


@dataclass(frozen=True)
class SampleUser:
    """A user of the sample: id, length of the history, number of followed topics."""

    user_id: str
    history: int
    follows: int


class Sample:
    """Requests of a bundle; of a user with several, the latest one counts."""

    def __init__(self, requests: pa.Table) -> None:
        """Takes the rows of `requests.parquet` (docs/bundle.md)."""
        self._requests = requests

    @classmethod
    def read(cls, bundle: Path) -> Sample:
        """Reads the sample of a bundle; an older bundle has none.

        Raises:
          BundleError: the file is there, but is not a sample.
        """
        path = bundle / REQUESTS_FILE
        if not path.exists():
            return cls(SCHEMA.empty_table())
        try:
            return cls(pq.read_table(path).select(SCHEMA.names).cast(SCHEMA))
        except (OSError, KeyError, pa.ArrowException) as error:
            raise BundleError(
                f"{path}: cannot be read as a sample of requests ({error}); "
                "publish the bundle again"
            ) from error

    @property
    def num_users(self) -> int:
        """Number of different users."""
        return len(self._rows)

    def users(self, text: str, limit: int) -> list[SampleUser]:
        """Returns users whose id holds `text`, upper case or not, in the order of the sample."""
        text = text.strip().lower()
        hits = [user for user in self._rows if text in user.lower()]
        hits.sort(key=lambda user: (user.lower() != text, not user.lower().startswith(text)))
        history = self._lengths("history_item_id")
        follows = self._lengths("followed_topic")
        return [
            SampleUser(user, history[self._rows[user]], follows[self._rows[user]])
            for user in hits[:limit]
        ]

    def find(self, user: str) -> Question | None:
        """Returns the request of a user, None for a user who is not in the sample."""
        row = self._rows.get(user)
        if row is None:
            return None
        found = self._requests.slice(row, 1).to_pylist()[0]
        events = zip(
            found["history_item_id"] or [],
            found["history_timestamp"] or [],
            found["history_action"] or [],
            strict=True,
        )
        return Question(
            history=tuple(
                HistoryEvent(item, time, action) for item, time, action in events if item
            ),
            follows=tuple(topic for topic in found["followed_topic"] or [] if topic),
            now=found["timestamp"],
            user=user,
        )

    @cached_property
    def _rows(self) -> dict[str, int]:
        """User -> row of the latest request; the first of equally late ones."""
        rows: dict[str, int] = {}
        times = self._requests["timestamp"].to_pylist()
        for row, user in enumerate(self._requests["user_id"].to_pylist()):
            if user and (user not in rows or times[row] > times[rows[user]]):
                rows[user] = row
        return rows

    def _lengths(self, column: str) -> list[int]:
        return [length or 0 for length in pc.list_value_length(self._requests[column]).to_pylist()]
