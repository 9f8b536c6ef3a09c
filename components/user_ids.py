"""Users' ids behind a keyed hash, for samples that leave the place where ids may be read."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from core.errors import ConfigError

#: Environment variable of the key; it is in no configuration, artifact, log or manifest.
KEY_VARIABLE = "TESSERA_ID_KEY"
_LEAST_KEY_BYTES = 16
_HASHED = re.compile(r"hmac\.([0-9a-f]{8})\.[0-9a-f]{64}")


@dataclass(frozen=True)
class IdKey:
    """The key of the hash; it does not show itself in messages."""

    secret: bytes

    def __repr__(self) -> str:
        """Returns the fingerprint instead of the key."""
        return f"IdKey({self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that tell one key from another and say nothing else of it."""
        return hmac.new(self.secret, b"tessera id key", hashlib.sha256).hexdigest()[:8]

    def hashed(self, user_id: str) -> str:
        """Returns `hmac.<fingerprint>.<HMAC-SHA-256>`; what is hashed already stays as it is."""
        if key_of(user_id) is not None:
            return user_id
        digest = hmac.new(self.secret, user_id.encode(), hashlib.sha256).hexdigest()
        return f"hmac.{self.fingerprint}.{digest}"

    def hashed_all(self, user_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Hashes a string column; nulls stay."""
        ids = user_ids.to_pylist()
        return pa.chunked_array(
            [pa.array([None if i is None else self.hashed(i) for i in ids], pa.string())]
        )


def key_of(user_id: str) -> str | None:
    """Returns the fingerprint of the key that an id was hashed with, None for a plain id."""
    found = _HASHED.fullmatch(user_id)
    return None if found is None else found[1]


def id_key(environment: Mapping[str, str] = os.environ) -> IdKey | None:
    """Returns the key of the environment, None where none is set.

    Raises:
      ConfigError: it is too short to keep anybody from trying all of them.
    """
    text = environment.get(KEY_VARIABLE, "")
    if not text:
        return None
    if len(text.encode()) < _LEAST_KEY_BYTES:
        raise ConfigError(
            f"{KEY_VARIABLE}: a key of at least {_LEAST_KEY_BYTES} bytes is needed; "
            "make one with `openssl rand -hex 32`"
        )
    return IdKey(text.encode())


def required_key(environment: Mapping[str, str] = os.environ) -> IdKey:
    """Returns the key of the environment.

    Raises:
      ConfigError: there is none, or it is too short.
    """
    found = id_key(environment)
    if found is None:
        raise ConfigError(
            f"serving.sample is 'hashed', but the environment variable {KEY_VARIABLE} is not set; "
            "make a key with `openssl rand -hex 32` and keep it: `tessera forget` needs it too"
        )
    return found
