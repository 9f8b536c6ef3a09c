"""A server of bundles, over REST or gRPC. Imports neither TensorFlow nor TFX."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.errors import ConfigError
from serving.client import ServingClient, UserRequest
from serving.transport import Status
from tessera.model import Model
from tessera.user import Users, as_users


class Client(Model):
    """Asks a model of TensorFlow Serving or of `tessera serve`; may be used by several threads."""

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        label: str | None = None,
        timeout_s: float = 10.0,
        time_unit: str = "seconds",
        action: str = "",
    ) -> None:
        """Connects lazily: nothing is sent yet.

        Args:
          address: `http://host:port` for REST, `host:port` for gRPC.
          model: its name.
          version: asked; None takes the label's, or the newest served.
          label: `stable`, `canary`, ...
          timeout_s: for each call, with all its retries.
          time_unit: of the model's data, `seconds` or `order`.
          action: done with every item of a history that does not say.
        """
        self._server = ServingClient(address, model, timeout_s)
        self._version, self._label = version, label
        self._time_unit, self._action = time_unit, action

    def close(self) -> None:
        """Ends the connection."""
        self._server.close()

    def status(self) -> list[Status]:
        """Returns the state of each served version."""
        return self._server.status(self._version, self._label)

    def _requests(self, users: Users) -> list[UserRequest]:
        requests = []
        for user in as_users(users):
            if isinstance(user, str):
                raise ConfigError(
                    f"a server knows no users, so {user!r} cannot be looked up: give the history, "
                    f'as in {{"history": [...], "user_id": {user!r}}}, or ask the bundle itself '
                    "(tessera.load)"
                )
            requests.append(user.request(self._time_unit, self._action))
        return requests

    def _predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._server.predict(signature, inputs, self._version, self._label)[1]
