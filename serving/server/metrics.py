"""Figures for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector

from core.errors import TesseraError
from serving.server.errors import Code, RequestError

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_REQUEST = ("model", "version", "signature", "api")


@dataclass
class RequestRecord:
    """What is known of a request so far.

    Attributes:
      version, signature: set once they are known to exist; strangers' words would
        make a series each.
    """

    version: str = ""
    signature: str = ""
    code: Code = Code.OK


class Metrics:
    """The figures of one server."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, model: str) -> None:
        """Makes a registry of its own, so that several servers fit in one process."""
        self._model = model
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tessera_requests", "Requests answered.", (*_REQUEST, "code"), registry=self.registry
        )
        self._seconds = Histogram(
            "tessera_request_seconds",
            "Seconds from the parsed request to the answer.",
            _REQUEST,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._running = Gauge(
            "tessera_running_requests",
            "Requests being answered.",
            ("model", "api"),
            registry=self.registry,
        )
        self._versions = Gauge(
            "tessera_loaded_version",
            "1 for each version that answers.",
            ("model", "version"),
            registry=self.registry,
        )
        self._loads = Counter(
            "tessera_loads", "Versions loaded.", ("model", "version"), registry=self.registry
        )
        self._load_seconds = Gauge(
            "tessera_load_seconds",
            "Seconds that verifying, loading and warming up took.",
            ("model", "version"),
            registry=self.registry,
        )
        self._failures = Counter(
            "tessera_load_failures",
            "Attempts to load a version that failed.",
            ("model", "version"),
            registry=self.registry,
        )
        self._unloads = Counter(
            "tessera_unloads", "Versions unloaded.", ("model", "version"), registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Returns all figures in Prometheus' text format."""
        return generate_latest(self.registry)

    @contextmanager
    def request(self, api: str) -> Iterator[RequestRecord]:
        """Counts and times the request inside the `with` block.

        Args:
          api: `grpc`, `rest` or `page`.
        """
        record = RequestRecord()
        running = self._running.labels(self._model, api)
        running.inc()
        began = time.perf_counter()
        try:
            yield record
        except RequestError as error:
            record.code = error.code
            raise
        except TesseraError:
            record.code = Code.INVALID_ARGUMENT
            raise
        except BaseException:
            record.code = Code.INTERNAL
            raise
        finally:
            running.dec()
            labels = (self._model, record.version, record.signature, api)
            self._requests.labels(*labels, record.code.name).inc()
            self._seconds.labels(*labels).observe(time.perf_counter() - began)

    def loaded(self, version: int, seconds: float) -> None:
        """Records that a version was loaded."""
        self._versions.labels(self._model, str(version)).set(1)
        self._loads.labels(self._model, str(version)).inc()
        self._load_seconds.labels(self._model, str(version)).set(seconds)

    def load_failed(self, version: int) -> None:
        """Records that a version could not be loaded."""
        self._failures.labels(self._model, str(version)).inc()

    def left(self, version: int) -> None:
        """Records that a version does not answer any more."""
        self._versions.remove(self._model, str(version))
        self._unloads.labels(self._model, str(version)).inc()
