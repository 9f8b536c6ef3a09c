"""The HTTP side: TensorFlow Serving's REST API, metrics, and routes of other packages.

Extension point: whoever wants pages beside the REST API hands `routes` to
`create_app` (`cli.serve` does). A route is a path and a function
from `werkzeug.Request` to `werkzeug.Response`:

    def hello(request: Request) -> Response:
        with engine.use(label="stable") as model:      # or use(version=7), or use()
            prediction = model.run({"timestamp": np.array([now]), ...}, "retrieve")
        return Response(f"version {prediction.version}")

    create_app(engine, {"/": index, "/api/recommend": hello, "/static/*": asset})

A path that ends with `/*` stands for everything below it; the longest match
wins; paths below `/v1/` and `/monitoring/` are the server's own. Methods are the
function's affair. `core.errors.TesseraError` raised by a route becomes
`{"error": text}` with the HTTP status of its code (400 without one), any other
exception a 500 that names no internals.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.sansio.utils import host_is_trusted
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from core.errors import ConfigError, TesseraError
from serving.server.body import MAX_BODY_BYTES
from serving.server.engine import Engine
from serving.server.errors import Code, RequestError
from serving.server.rest import RestApi

Route = Callable[[Request], Response]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

METRICS_PATH = "/monitoring/prometheus/metrics"
#: Seconds after which a connection that sends nothing is given up.
_IDLE_S = 10.0

_log = logging.getLogger("tessera")


def create_app(
    engine: Engine,
    routes: Mapping[str, Route] | None = None,
    trusted_hosts: Sequence[str] | None = None,
) -> WsgiApp:
    """Returns the WSGI application.

    Args:
      engine: answers the requests.
      routes: further paths, see the module's text.
      trusted_hosts: names that a request's `Host` may have; None: any.

    Raises:
      ConfigError: a route that the server itself owns.
    """
    routes = dict(routes or {})
    for path in routes:
        if not path.startswith("/") or path.startswith(("/v1/", "/monitoring/")):
            raise ConfigError(f"route {path!r}: must begin with / and not with /v1/, /monitoring/")
    rest = RestApi(engine)

    def answer(request: Request) -> Response:
        if trusted_hosts is not None:
            _require_host(request, trusted_hosts)
        if request.path == METRICS_PATH:
            return Response(engine.metrics.text(), content_type=engine.metrics.content_type)
        if request.path.startswith("/v1/"):
            return rest(request)
        route = _find(routes, request.path)
        if route is None:
            return error_response(404, f"no such page: {request.path}")
        return route(request)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = MAX_BODY_BYTES
        return _guarded(answer, request)(environ, start_response)

    return app


def error_response(status: int, message: str) -> Response:
    """Returns an error as TensorFlow Serving words it."""
    body = json.dumps({"error": message}, ensure_ascii=False)
    return Response(body, status, content_type="application/json")


def _require_host(request: Request, trusted: Sequence[str]) -> None:
    """Refuses requests for host names that were made to point here (DNS rebinding)."""
    if not host_is_trusted(request.host.lower(), trusted):
        raise RequestError(
            Code.PERMISSION_DENIED,
            f"host {request.host!r} is not served here: say {' or '.join(trusted)}, or start the "
            "server with the --host that others shall use",
        )


def _find(routes: Mapping[str, Route], path: str) -> Route | None:
    if path in routes:
        return routes[path]
    below = [p for p in routes if p.endswith("/*") and path.startswith(p[:-1])]
    return routes[max(below, key=len)] if below else None


def _guarded(answer: Route, request: Request) -> Response:
    """Answers, whatever happens."""
    try:
        return answer(request)
    except RequestError as error:
        return error_response(error.code.http, str(error))
    except TesseraError as error:
        return error_response(400, str(error))
    except RequestEntityTooLarge:
        return error_response(413, f"the request has more than {MAX_BODY_BYTES} bytes")
    except HTTPException as error:
        return error_response(error.code or 400, error.description or error.name)
    except Exception:
        _log.exception("%s %s failed", request.method, request.path)
        return error_response(Code.INTERNAL.http, "internal error; see the server's log")


class _Handler(WSGIRequestHandler):
    """Writes a response in one piece, since Nagle's algorithm would delay a second one."""

    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = _IDLE_S

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        _log.debug("%s %s", self.requestline, code)

    def log(self, type: str, message: str, *args: Any) -> None:
        _log.debug(message, *args)


class HttpServer(ThreadedWSGIServer):
    """Serves an application with one thread per request; stops after the running ones."""

    def __init__(self, host: str, port: int, app: WsgiApp) -> None:
        """Binds the port (0: any free one); `port` then holds it.

        Raises:
          ConfigError: the port cannot be bound.
        """
        self._running = 0
        self._idle = threading.Condition()
        check_port(host, port)
        super().__init__(host, port, app, _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="http", daemon=True
        )

    def start(self) -> None:
        """Begins to answer, in a thread."""
        self._thread.start()

    def stop(self, grace_s: float) -> bool:
        """Accepts nothing more and waits for running requests.

        Returns:
          Whether all of them ended within `grace_s` seconds.
        """
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        with self._idle:
            return self._idle.wait_for(lambda: self._running == 0, grace_s)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Counts a request from the moment its connection was accepted."""
        with self._idle:
            self._running += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()


def check_port(host: str, port: int) -> None:
    """Raises ConfigError when a port is in use, naming it."""
    import socket

    if port == 0:
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be served on: {error.strerror}; choose another "
                "--host, --port or --rest-port"
            ) from error
