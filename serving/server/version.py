"""One version of the model: its state, its session, and who is using it."""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.bundle.verify import VerifiedBundle, verify
from components.index_builder.layout import INDEX_FILE, SCANN_RETRIEVER
from core.errors import BundleError
from core.files import read_json
from serving.server.errors import Code
from serving.server.session import DEFAULT_SIGNATURE, Session


class State(enum.IntEnum):
    """States of a version, with TensorFlow Serving's numbers."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """What model status says of one version."""

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""


@dataclass(frozen=True)
class Prediction:
    """One answer, of exactly one version.

    Attributes:
      bundle: the bundle that answered, with its manifest.
      signature: that answered.
      outputs: by name.
    """

    bundle: VerifiedBundle
    signature: str
    outputs: dict[str, np.ndarray]

    @property
    def version(self) -> int:
        """The version that answered."""
        return self.bundle.manifest.version


class LoadedVersion:
    """A version that answers; it is closed only when nobody uses it."""

    def __init__(self, bundle: VerifiedBundle, session: Session) -> None:
        """Takes what `load` made."""
        self.bundle = bundle
        self.session = session
        self._users = 0
        self._idle = threading.Condition()

    @property
    def version(self) -> int:
        """Its number."""
        return self.bundle.manifest.version

    def run(
        self, inputs: Mapping[str, np.ndarray], signature: str = "", outputs: Sequence[str] = ()
    ) -> Prediction:
        """Runs a signature once; see `Session.run`."""
        values = self.session.run(inputs, signature, outputs)
        return Prediction(self.bundle, signature or DEFAULT_SIGNATURE, values)

    def acquire(self) -> None:
        """Counts one more user; called while it is known to be served."""
        with self._idle:
            self._users += 1

    def release(self) -> None:
        """Counts one user less."""
        with self._idle:
            self._users -= 1
            self._idle.notify_all()

    def close(self, wait_s: float | None = None) -> bool:
        """Waits until nobody uses the version, then frees it.

        Args:
          wait_s: seconds at most; None waits for ever.

        Returns:
          Whether it was freed.
        """
        with self._idle:
            if not self._idle.wait_for(lambda: self._users == 0, wait_s):
                return False
        self.session.close()
        return True


def opened(folder: Path) -> tuple[VerifiedBundle, dict[str, Any]]:
    """Verifies a bundle; returns it and what its `index.json` holds.

    Raises:
      BundleError: it is damaged.
    """
    bundle = VerifiedBundle(folder, verify(folder))
    try:
        index = read_json(folder / INDEX_FILE)
        index["serve"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / INDEX_FILE}: does not say what to serve: {error}") from error
    return bundle, index


def load(folder: Path) -> LoadedVersion:
    """Verifies a bundle, loads the SavedModel that its index says is served, and warms it up.

    Raises:
      BundleError: it is damaged, does not load or fails a warm-up request.
    """
    bundle, index = opened(folder)
    scann = index["serve"] == SCANN_RETRIEVER
    model = folder / SCANN_RETRIEVER if scann else folder
    session = Session(model, scann)
    try:
        session.warm_up(model)
    except BaseException:
        session.close()
        raise
    return LoadedVersion(bundle, session)
