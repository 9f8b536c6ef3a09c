"""The page and the JSON API behind it, as routes of the server's HTTP side."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Request, Response

from serving.page.answer import page_answer, similar_answer
from serving.page.query import filtered, parse_query, parse_similar
from serving.page.shelf import Shelf, Volume
from serving.recommend.lookup import UnknownUserError
from serving.recommend.question import Question
from serving.server.body import plain_body
from serving.server.engine import Engine
from serving.server.errors import Code, RequestError, invalid
from serving.server.version import State
from trainer.retrieval.signature import RETRIEVE, SIMILAR_ITEMS

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: The browser itself refuses whatever is not of this server, and scripts inside the page.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_USERS_PATH = "/api/users/"
_LIMIT, _LIMIT_MOST = 10, 100
_TEXT_MOST = 20_000
#: Bytes of the longest question; a thousand items of usual ids are far below.
_BODY_MOST = 1 << 20


class Page:
    """Answers the browser; every request asks the engine anew, so a swap shows at once."""

    def __init__(self, engine: Engine, data_root: Path | None = None) -> None:
        """Serves the models of an engine.

        Args:
          engine: answers the requests.
          data_root: tables, if they are not where the manifest says.
        """
        self._engine = engine
        self._shelf = Shelf(data_root)
        self._files = {path.name: path.read_bytes() for path in sorted(_STATIC.iterdir())}

    def routes(self) -> dict[str, Callable[[Request], Response]]:
        """Returns the routes for `serving.server.http.create_app`."""
        return {
            "/": _only("GET", lambda request: self._file("index.html")),
            "/static/*": _only("GET", self._static),
            "/api/bundle": _only("GET", self._bundle),
            "/api/users": _only("GET", self._users),
            f"{_USERS_PATH}*": _only("GET", self._user),
            "/api/items": _only("GET", self._items),
            "/api/topics": _only("GET", self._topics),
            "/api/recommend": _only("POST", self._recommend),
            "/api/similar": _only("POST", self._similar),
        }

    def _file(self, name: str) -> Response:
        if name not in self._files:
            raise RequestError(Code.NOT_FOUND, f"no such file: {name[:100]}")
        kind = _TYPES[Path(name).suffix]
        return Response(self._files[name], content_type=kind, headers=_HEADERS)

    def _static(self, request: Request) -> Response:
        return self._file(request.path.removeprefix("/static/"))

    def _bundle(self, request: Request) -> Response:
        volume = self._volume(request)
        manifest, catalogue = volume.manifest, volume.catalogue
        retrieval = manifest.config.get("retrieval", {})
        return _json(
            {
                "name": manifest.name,
                "version": manifest.version,
                "versions": sorted(
                    s.version for s in self._engine.status() if s.state is State.AVAILABLE
                ),
                "labels": self._engine.labels(),
                "time_unit": manifest.time_unit,
                "items": len(catalogue),
                "topics": catalogue.num_topics,
                "users": volume.sample.num_users,
                "titles": catalogue.has_titles,
                "actions": volume.actions,
                "filters": retrieval.get("filters") or [],
                "max_results": retrieval.get("max_results"),
                "created_at": manifest.created_at,
                "run_date": manifest.run_date or None,
            }
        )

    def _users(self, request: Request) -> Response:
        text, limit = _search_of(request)
        sample = self._volume(request).sample
        found = sample.users(text, limit)
        return _json({"total": sample.num_users, "users": [vars(user) for user in found]})

    def _user(self, request: Request) -> Response:
        user = request.path.removeprefix(_USERS_PATH)
        volume = self._volume(request)
        question = self._found(volume, user)
        facts = volume.catalogue.facts([event.item_id for event in question.history])
        return _json(
            {
                "user_id": user,
                "now": question.now,
                "follows": list(question.follows),
                "history": [
                    {
                        **vars(event),
                        "title": facts.titles.get(event.item_id),
                        "topics": list(facts.topics.get(event.item_id, [])),
                    }
                    for event in question.history
                ],
            }
        )

    def _items(self, request: Request) -> Response:
        text, limit = _search_of(request)
        catalogue = self._volume(request).catalogue
        found = catalogue.search(text, limit)
        return _json({"total": len(catalogue), "items": [vars(item) for item in found]})

    def _topics(self, request: Request) -> Response:
        text, limit = _search_of(request)
        catalogue = self._volume(request).catalogue
        found = catalogue.search_topics(text, limit)
        topics = [{"topic": topic, "items": count} for topic, count in found]
        return _json({"total": catalogue.num_topics, "topics": topics})

    def _recommend(self, request: Request) -> Response:
        began = time.perf_counter()
        query = parse_query(_body(request))
        with (
            self._engine.metrics.request("page") as record,
            self._engine.use(query.version, query.label) as model,
        ):
            record.version = str(model.version)
            volume = self._shelf.volume(model.bundle)
            try:
                question = query.question(volume, self._shelf)
            except UnknownUserError as error:
                raise RequestError(Code.NOT_FOUND, str(error)) from error
            inputs = question.arrays() | query.options()
            record.signature, inputs = filtered(RETRIEVE, inputs, query.filters)
            # All outputs, like the warm-up requests: another set of them would be prepared anew.
            prediction = model.run(inputs, record.signature)
        answer = page_answer(volume, query, question, prediction.outputs)
        answer["milliseconds"] = round(1000 * (time.perf_counter() - began), 1)
        return _json(answer)

    def _similar(self, request: Request) -> Response:
        query = parse_similar(_body(request))
        with (
            self._engine.metrics.request("page") as record,
            self._engine.use(query.version, query.label) as model,
        ):
            record.version = str(model.version)
            volume = self._shelf.volume(model.bundle)
            record.signature, inputs = filtered(SIMILAR_ITEMS, query.inputs(), query.filters)
            outputs = model.run(inputs, record.signature).outputs
        return _json(similar_answer(volume, query.item, outputs))

    def _found(self, volume: Volume, user: str) -> Question:
        try:
            return self._shelf.user(volume, user)
        except UnknownUserError as error:
            raise RequestError(Code.NOT_FOUND, str(error)) from error

    def _volume(self, request: Request) -> Volume:
        """Returns the data of the version that `?version=` or `?label=` names."""
        version = _number(request, "version", None)
        with self._engine.use(version, request.args.get("label")) as model:
            return self._shelf.volume(model.bundle)


def _only(method: str, answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Returns `answer` for requests with one method (HEAD goes with GET)."""
    allowed = {"GET", "HEAD"} if method == "GET" else {method}

    def checked(request: Request) -> Response:
        if request.method in allowed:
            return answer(request)
        response = _json({"error": f"{request.path} takes {method}, not {request.method}"}, 405)
        response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    return checked


def _json(value: Any, status: int = 200) -> Response:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Response(text, status, headers=_HEADERS, content_type="application/json")


def _body(request: Request) -> Any:
    """Returns the decoded JSON of a request.

    Raises:
      RequestError: too long, or not JSON.
    """
    if request.mimetype != "application/json":
        raise invalid("send the body as application/json")
    request.max_content_length = _BODY_MOST
    try:
        return json.loads(plain_body(request))
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {error}") from error


def _search_of(request: Request) -> tuple[str, int]:
    """Returns what is searched for and how many hits are wanted."""
    text = request.args.get("q", "")
    if len(text) > _TEXT_MOST:
        raise invalid(f"`q` has more than {_TEXT_MOST} characters")
    return text, min(_number(request, "limit", _LIMIT) or _LIMIT, _LIMIT_MOST)


def _number(request: Request, key: str, default: int | None) -> int | None:
    """Returns a positive number of the query string."""
    text = request.args.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 16 and int(text) > 0):
        raise invalid(f"`{key}` must be a whole number above 0, not {text[:100]!r}")
    return int(text)
