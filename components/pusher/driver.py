"""Driver of the Pusher: publishing is never answered from the cache.

A cached execution would report a version that somebody may have removed since.
The executor itself recognises content that is already published.
"""

from __future__ import annotations

import uuid

from components.base import Artifacts, KeyedDriver, Properties


class Driver(KeyedDriver):
    """Adds a fresh `attempt` to the execution properties, which are part of the cache key."""

    def key(self, properties: Properties, inputs: Artifacts) -> dict[str, int | str]:
        """See base class."""
        return {"attempt": uuid.uuid4().hex}
