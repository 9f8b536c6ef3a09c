"""Driver of the BaselineResolver: the cache key follows what would be resolved."""

from __future__ import annotations

from components.base import Artifacts, KeyedDriver, Properties
from components.baseline_resolver.executor import data_fingerprint, effective_span
from components.baseline_resolver.resolve import candidates
from components.bundle.mirror import mirrored


class Driver(KeyedDriver):
    """Adds `candidates`, the manifests that may become the baseline, to the cache key."""

    def key(self, properties: Properties, inputs: Artifacts) -> dict[str, int | str]:
        """See base class."""
        with mirrored(properties["serving_dir"], properties["name"]) as serving_dir:
            found = candidates(
                serving_dir / properties["name"],
                properties["training_digest"],
                effective_span(properties["span"], inputs),
                data_fingerprint(inputs),
            )
        return {"candidates": found[0].manifest.manifest_digest if found else "none"}
