"""Driver of the ServingValidator: only a validation that passed is answered from the cache.

A refusal may come from the machine (a busy one answers late), so that the same run again
must look again.
"""

from __future__ import annotations

from components.artifacts import Validation
from components.base import Artifacts, KeyedDriver, Properties
from components.config import ServingValidatorConfig
from components.user_ids import required_key


class Driver(KeyedDriver):
    """Adds `refusals`, how many validations failed so far, and which key hashes ids."""

    def key(self, properties: Properties, inputs: Artifacts) -> dict[str, int | str]:
        """See base class."""
        with self.connection as handle:
            known = handle.store.get_artifacts_by_type(Validation.TYPE_NAME)
        refusals = sum(
            "validated" in artifact.custom_properties
            and artifact.custom_properties["validated"].int_value == 0
            for artifact in known
        )
        config = ServingValidatorConfig.from_json(str(properties["config_json"]))
        if config.sample != "hashed":
            return {"refusals": refusals}
        return {"refusals": refusals, "id_key": required_key().fingerprint}
