"""Driver of RetrievalExampleGen: puts the contents of the window into the cache key."""

from __future__ import annotations

from components.base import Artifacts, KeyedDriver, Properties
from components.config import ExampleGenConfig
from components.example_gen.window import FINGERPRINT_PROPERTY, SPAN_PROPERTY, resolve


class Driver(KeyedDriver):
    """Resolves the window before TFX looks into its cache.

    The same rows delivered again, under other names or times, are answered from the
    cache; a late file inside the window is not.
    """

    def key(self, properties: Properties, inputs: Artifacts) -> dict[str, int | str]:
        """See base class.

        Raises:
          DataError: a table or a span of the window is missing.
        """
        window = resolve(ExampleGenConfig.from_json(properties["config_json"]), properties)
        return {FINGERPRINT_PROPERTY: window.fingerprint, SPAN_PROPERTY: window.span}
