"""Driver of CatalogueGen: puts the contents of the items table into the cache key."""

from __future__ import annotations

from components.base import Artifacts, KeyedDriver, Properties
from components.example_gen.window import FINGERPRINT_PROPERTY
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.catalogue_gen.window import resolve


class Driver(KeyedDriver):
    """Adds the fingerprint of the items to the execution's properties, before TFX's cache."""

    def key(self, properties: Properties, inputs: Artifacts) -> dict[str, int | str]:
        """See base class.

        Raises:
          DataError: the items table is missing.
        """
        config = CatalogueGenConfig.from_json(properties["config_json"])
        return {FINGERPRINT_PROPERTY: resolve(config, properties).fingerprint}
