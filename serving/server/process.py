"""The whole server: an engine behind both ports, stopped gracefully."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Mapping

from serving.server.engine import Engine
from serving.server.http import HttpServer, Route, create_app
from serving.server.rpc import RpcServer

_log = logging.getLogger("tessera")
#: Who listens on one of these is asked under these names alone.
_LOOPBACK = ("localhost", "127.0.0.1")
_STOPS = {signal.SIGTERM, signal.SIGINT}


class ModelServer:
    """gRPC and HTTP over one engine."""

    def __init__(
        self,
        engine: Engine,
        host: str = "127.0.0.1",
        port: int = 0,
        rest_port: int = 0,
        workers: int = 8,
        routes: Mapping[str, Route] | None = None,
    ) -> None:
        """Binds both ports; nothing is answered yet.

        Args:
          engine: not started yet.
          host: address of both.
          port: of gRPC, 0 for any free one.
          rest_port: of HTTP, 0 for any free one.
          workers: gRPC requests that run at once.
          routes: further HTTP paths, see `serving.server.http`.

        Raises:
          ConfigError: a port cannot be bound.
        """
        self.engine, self.host = engine, host
        trusted = _LOOPBACK if host in _LOOPBACK else None
        self._http = HttpServer(host, rest_port, create_app(engine, routes, trusted))
        try:
            self._rpc = RpcServer(host, port, engine, workers)
        except BaseException:
            self._http.server_close()
            raise

    @property
    def port(self) -> int:
        """Of gRPC."""
        return self._rpc.port

    @property
    def rest_port(self) -> int:
        """Of HTTP."""
        return self._http.port

    def start(self) -> None:
        """Loads what there is to serve, then begins to answer.

        Raises:
          TesseraError: nothing could be loaded.
        """
        try:
            self.engine.start()
        except BaseException:
            self._http.server_close()
            self._rpc.stop(0.0)
            raise
        self._rpc.start()
        self._http.start()

    def stop(self, grace_s: float = 30.0) -> bool:
        """Accepts nothing more, lets running requests end, frees the versions.

        Returns:
          Whether every running request was answered within `grace_s` seconds.
        """
        done: list[bool] = []
        stops: list[Callable[[float], bool]] = [self._rpc.stop, self._http.stop]
        threads = [
            threading.Thread(target=lambda stop=stop: done.append(stop(grace_s))) for stop in stops
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return all(done) and self.engine.stop(grace_s)


def run_until_signal(server: ModelServer, started: Callable[[], None], grace_s: float) -> bool:
    """Serves until SIGTERM or SIGINT, then stops gracefully.

    Args:
      server: not started yet.
      started: called when requests are answered.
      grace_s: seconds that running requests get.

    Returns:
      Whether every running request was answered.
    """
    # Blocked here and in every thread that follows, the signals wait for `sigwait`; a
    # handler could interrupt this thread while it holds a lock.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        server.start()
        started()
        number = signal.sigwait(_STOPS)
        _log.info("%s: stopping after the running requests", signal.Signals(number).name)
        return server.stop(grace_s)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
