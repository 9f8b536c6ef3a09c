"""Driver of the ServingValidator: only a validation that passed is answered from the cache.

A refusal may come from the machine (a busy one answers late), so that the same run again
must look again.
"""

from __future__ import annotations

from components.artifacts import Validation
from components.base import Artifacts, KeyedDriver, Properties


class Driver(KeyedDriver):
    """Adds `refusals`, how many validations failed so far, to the cache key."""

    def key(self, properties: Properties, inputs: Artifacts) -> dict[str, int | str]:
        """See base class."""
        with self.connection as handle:
            known = handle.store.get_artifacts_by_type(Validation.TYPE_NAME)
        refusals = sum(
            "validated" in artifact.custom_properties
            and artifact.custom_properties["validated"].int_value == 0
            for artifact in known
        )
        return {"refusals": refusals}
