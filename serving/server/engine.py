"""Keeps the right versions loaded and hands them to requests.

The rules are TensorFlow Serving's: a new version is loaded before an old one is
unloaded; what answers stays until something else does; a version that does not
load is tried again a few times and never takes another one's place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import TesseraError
from serving.request_log.writer import RequestLog
from serving.server.errors import Code, RequestError
from serving.server.metrics import Metrics
from serving.server.source import Aspired, VersionSource
from serving.server.version import LoadedVersion, Prediction, State, VersionStatus, load

_log = logging.getLogger("tessera")


@dataclass
class _Failure:
    """What went wrong with a version, and when it is tried again."""

    tries: int
    next_try: float
    message: str


class Engine:
    """The versions of one model.

    `use` and `predict` may be called from any number of threads.
    """

    def __init__(
        self,
        source: VersionSource,
        poll_s: float = 1.0,
        load_tries: int = 4,
        retry_s: float = 1.0,
        request_log: RequestLog | None = None,
        loader: Callable[[Path], LoadedVersion] = load,
    ) -> None:
        """Loads nothing yet; see `start`.

        Args:
          source: what ought to be served.
          poll_s: seconds between two looks at the source.
          load_tries: times that a version is tried before it is given up.
          retry_s: seconds before the second try; doubled after each.
          request_log: takes the requests of both APIs; closed by `stop`.
          loader: makes what answers from the folder of a version.
        """
        self.name = source.name
        self.metrics = Metrics(source.name)
        self._source = source
        self._poll_s, self._load_tries, self._retry_s = poll_s, load_tries, retry_s
        self._request_log, self._loader = request_log, loader
        self._lock = threading.Lock()
        self._loaded: dict[int, LoadedVersion] = {}
        self._labels: dict[str, int] = {}
        self._states: dict[int, VersionStatus] = {}
        self._failures: dict[int, _Failure] = {}
        self._unloading: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="versions", daemon=True)
        self._problem = ""

    def start(self) -> None:
        """Loads what there is, then watches the source.

        Raises:
          TesseraError: nothing could be loaded: why.
        """
        self.refresh()
        if not self._loaded:
            reasons = [failure.message for failure in self._failures.values()]
            raise TesseraError(
                f"model {self.name}: nothing to serve: "
                + ("; ".join([*reasons, self._problem]).strip("; ") or "no published version yet")
            )
        self._watcher.start()

    def stop(self, grace_s: float = 30.0) -> bool:
        """Frees every version after its running requests.

        Returns:
          Whether all of them ended within `grace_s` seconds.
        """
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join(grace_s)
        with self._lock:
            leaving, self._loaded, self._labels = list(self._loaded.values()), {}, {}
        for version in leaving:
            self._unload(version)
        deadline = time.monotonic() + grace_s
        for thread in self._unloading:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._request_log is not None:
            self._request_log.close()
        return not any(thread.is_alive() for thread in self._unloading)

    @contextmanager
    def use(self, version: int | None = None, label: str | None = None) -> Iterator[LoadedVersion]:
        """Yields a loaded version that stays loaded inside the `with` block.

        Args:
          version: its number; None takes the label's, or the largest one loaded.
          label: `stable`, `canary`, ...

        Raises:
          RequestError: no such version or label is loaded.
        """
        found = self._acquire(version, label)
        try:
            yield found
        finally:
            found.release()

    def predict(
        self,
        inputs: Mapping[str, np.ndarray],
        signature: str = "",
        version: int | None = None,
        label: str | None = None,
        outputs: Sequence[str] = (),
    ) -> Prediction:
        """Runs a signature of one version; see `use` and `Session.run`."""
        with self.use(version, label) as model:
            return model.run(inputs, signature, outputs)

    def log(self, inputs: Mapping[str, np.ndarray], answer: Prediction) -> None:
        """Hands an answered request to the request log, where there is one."""
        if self._request_log is not None:
            self._request_log.record(answer.version, answer.signature, inputs, answer.outputs)

    def labels(self) -> dict[str, int]:
        """Returns the labels in force; each names a loaded version."""
        with self._lock:
            return dict(self._labels)

    def status(self, version: int | None = None, label: str | None = None) -> list[VersionStatus]:
        """Returns the states of one version, or of all known ones, largest first.

        Raises:
          RequestError: nothing is known of that version or label.
        """
        with self._lock:
            if label:
                version = self._of_label(label)
            states = sorted(self._states.values(), key=lambda state: -state.version)
        if version is None:
            if not states:
                raise RequestError(
                    Code.NOT_FOUND, f"Could not find any versions of model {self.name}"
                )
            return states
        found = [state for state in states if state.version == version]
        if not found:
            raise RequestError(
                Code.NOT_FOUND, f"Could not find version {version} of model {self.name}"
            )
        return found

    def refresh(self) -> None:
        """Looks at the source once and does what it asks for; called by one thread at a time."""
        try:
            aspired = self._source.aspired()
        except (TesseraError, OSError) as error:
            if str(error) != self._problem:
                _log.warning("what is served stays: %s", error)
            self._problem = str(error)
            return
        self._problem = ""
        for gone in self._failures.keys() - aspired.folders.keys():
            del self._failures[gone]
        for version in sorted(aspired.folders):
            if version not in self._loaded and not self._stopping.is_set():
                self._try_to_load(version, aspired)
        self._settle(aspired)
        self._unloading = [thread for thread in self._unloading if thread.is_alive()]

    def _try_to_load(self, version: int, aspired: Aspired) -> None:
        failure = self._failures.get(version)
        if failure is not None and (
            failure.tries >= self._load_tries or time.monotonic() < failure.next_try
        ):
            return
        self._set_state(version, State.LOADING)
        began = time.monotonic()
        try:
            loaded = self._loader(aspired.folders[version])
        except Exception as error:
            self._failed(version, failure, error)
            return
        self._failures.pop(version, None)
        with self._lock:
            self._loaded[version] = loaded
        self._set_state(version, State.AVAILABLE)
        seconds = time.monotonic() - began
        self.metrics.loaded(version, seconds)
        _log.info("version %d is served (loaded in %.1f s)", version, seconds)

    def _failed(self, version: int, before: _Failure | None, error: Exception) -> None:
        if not isinstance(error, TesseraError):
            _log.exception("version %d", version)
        tries = 1 if before is None else before.tries + 1
        wait_s = self._retry_s * 2 ** (tries - 1)
        self._failures[version] = _Failure(tries, time.monotonic() + wait_s, str(error))
        self._set_state(version, State.END, Code.UNKNOWN, str(error))
        self.metrics.load_failed(version)
        again = f"tried again in {wait_s:g} s" if tries < self._load_tries else "given up"
        _log.warning("version %d does not load (%s): %s", version, again, error)

    def _settle(self, aspired: Aspired) -> None:
        """Puts labels in force and unloads what is not wanted any more.

        A label follows its version once that is loaded; until then it keeps its
        old one, which then stays loaded.
        """
        with self._lock:
            labels = {}
            for label, version in aspired.labels.items():
                held = version if version in self._loaded else self._labels.get(label)
                if held in self._loaded:
                    labels[label] = held
            self._labels = labels
            # Nothing leaves before all that is wanted answers, and the last version
            # stays, whatever became of its folder.
            complete = bool(aspired.folders) and aspired.folders.keys() <= self._loaded.keys()
            kept = aspired.folders.keys() | set(labels.values())
            unwanted = self._loaded.keys() - kept if complete else set()
            leaving = [self._loaded.pop(number) for number in sorted(unwanted)]
        for gone in leaving:
            self._unload(gone)

    def _unload(self, version: LoadedVersion) -> None:
        """Frees a version nobody can get any more, in a thread, after its running requests."""
        self._set_state(version.version, State.UNLOADING)
        self.metrics.left(version.version)

        def finish() -> None:
            version.close()
            with self._lock:
                again = version.version in self._loaded  # wanted back in the meantime
            if not again:
                self._set_state(version.version, State.END)
            _log.info("version %d is unloaded", version.version)

        thread = threading.Thread(target=finish, name=f"unload-{version.version}", daemon=True)
        self._unloading.append(thread)
        thread.start()

    def _acquire(self, version: int | None, label: str | None) -> LoadedVersion:
        with self._lock:
            if label:
                version = self._of_label(label)
            wanted = max(self._loaded, default=None) if version is None else version
            if wanted is None or wanted not in self._loaded:
                which = (
                    f"Latest({self.name})"
                    if version is None
                    else f"Specific({self.name}, {version})"
                )
                raise RequestError(Code.NOT_FOUND, f"Servable not found for request: {which}")
            found = self._loaded[wanted]
            found.acquire()
            return found

    def _of_label(self, label: str) -> int:
        if label not in self._labels:
            raise RequestError(
                Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label[:100]}"
            )
        return self._labels[label]

    def _set_state(
        self, version: int, state: State, code: Code = Code.OK, message: str = ""
    ) -> None:
        with self._lock:
            self._states[version] = VersionStatus(version, state, code, message)

    def _watch(self) -> None:
        while not self._stopping.wait(self._poll_s):
            try:
                self.refresh()
            except Exception:
                _log.exception("looking for versions failed; what is served stays")
