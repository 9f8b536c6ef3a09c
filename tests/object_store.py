"""S3 servers on loopback for tests, spoken to over real HTTP.

moto's, whose buckets live in this process's memory, and SeaweedFS, which is a real store
(`tests.seaweedfs`). `Faults` between client and server counts requests, and answers some
of them wrongly, late or not at all.
"""

import contextlib
import functools
import http.client
import logging
import os
import socket
import threading
import time
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests import seaweedfs

VARIABLES = {
    "AWS_ACCESS_KEY_ID": seaweedfs.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": seaweedfs.SECRET_KEY,
    "AWS_DEFAULT_REGION": "us-east-1",
}
REMOVED = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE")


@dataclass
class Faults:
    """What the server does before it answers.

    Attributes:
      seen: (method, path) of every request since `reset`.
      rule: from (method, path) to what happens: None, a real answer; an HTTP status, that
        one instead; `Late`, a real answer after a while; `DROPPED`, no answer to a request that
        was never carried out; `LOST`, no answer to one that was; `CUT`, half of a real answer.
    """

    seen: list = field(default_factory=list)
    rule: object = None

    def reset(self, rule=None):
        self.seen.clear()
        self.rule = rule

    def writes(self):
        return [(m, p) for m, p in self.seen if m in ("PUT", "POST", "DELETE")]


@dataclass(frozen=True)
class Late:
    """A real answer, that many seconds later."""

    seconds: float


DROPPED, LOST, CUT = "dropped", "lost", "cut"


@dataclass
class S3:
    """A running server.

    Attributes:
      endpoint: its URL, also in AWS_ENDPOINT_URL.
      bucket: one that exists; `fresh` gives a folder of one's own.
      faults: see `Faults`.
      folder: of the bucket, with a slash at its end: what `url` gives is below it.
    """

    endpoint: str
    bucket: str
    faults: Faults
    folder: str = ""

    def client(self):
        import boto3

        return boto3.client("s3", endpoint_url=self.endpoint)

    def url(self, folder=""):
        return f"s3://{self.bucket}/{self.folder}{folder}".rstrip("/")

    def fresh(self):
        """A URL below which nothing is."""
        return self.url(f"place-{uuid.uuid4().hex[:8]}")

    def keys(self, url):
        """Key below the URL -> content, as another client sees it."""
        prefix = url.removeprefix(f"s3://{self.bucket}/").rstrip("/") + "/"
        client, found = self.client(), {}
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for entry in (entry for page in pages for entry in page.get("Contents", [])):
            body = client.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
            found[entry["Key"].removeprefix(prefix)] = body
        return found

    def put(self, url, content=b""):
        key = url.removeprefix(f"s3://{self.bucket}/")
        self.client().put_object(Bucket=self.bucket, Key=key, Body=content)

    def put_many(self, url, names, threads=16):
        """Makes objects without content, several at a time."""
        client, folder = self.client(), url.removeprefix(f"s3://{self.bucket}/")
        with ThreadPoolExecutor(threads) as pool:
            for done in [
                pool.submit(client.put_object, Bucket=self.bucket, Key=f"{folder}/{name}")
                for name in names
            ]:
                done.result()

    def put_tree(self, folder, url):
        """Uploads a local folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return url


ERRORS = {
    403: b"AccessDenied",
    404: b"NoSuchKey",
    500: b"InternalError",
    503: b"SlowDown",
}


def _with_faults(application, faults):
    lock = threading.Lock()

    def answer(environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with lock:
            faults.seen.append((method, path))
            what = faults.rule(method, path) if faults.rule else None
        if isinstance(what, int):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _fault(method, what, start_response)
        if isinstance(what, Late):
            time.sleep(what.seconds)
        if what == DROPPED:
            _hang_up(environ)
        body = application(environ, start_response)
        if what == LOST:
            _hang_up(environ)
        return _half(body, environ) if what == CUT else body

    return answer


def _fault(method, status, start_response):
    code = ERRORS[status]
    body = b"<Error><Code>%s</Code><Message>a fault of the test</Message></Error>" % code
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(f"{status} Fault", headers)
    return [b"" if method == "HEAD" else body]


def _half(body, environ):
    whole = b"".join(body)
    yield whole[: len(whole) // 2]
    _hang_up(environ)


def _hang_up(environ):
    # The error alone would leave a connection open on which nothing is ever said.
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def _forwarding(endpoint):
    """A WSGI application that hands requests on as they are, signatures included."""
    address = urllib.parse.urlsplit(endpoint).netloc

    def answer(environ, start_response):
        headers = {
            name[5:].replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name not in ("HTTP_CONNECTION", "HTTP_EXPECT")
        }
        if environ.get("CONTENT_TYPE"):
            headers["Content-Type"] = environ["CONTENT_TYPE"]
        # Sent in chunks it ends by itself; otherwise a read without a length never would.
        chunked = headers.pop("Transfer-Encoding", "") == "chunked"
        length = None if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        headers["Content-Length"] = str(len(body))
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            connection.request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], body, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        given = [(k, v) for k, v in response.getheaders() if k.lower() not in _HOP]
        if environ["REQUEST_METHOD"] != "HEAD":
            given = [(k, v) for k, v in given if k.lower() != "content-length"]
            given.append(("Content-Length", str(len(content))))
        start_response(f"{response.status} {response.reason}", given)
        return [content]

    return answer


#: Headers that speak of one connection, not of the answer.
_HOP = ("connection", "keep-alive", "transfer-encoding", "date", "server")


@functools.cache
def _application(kind):
    from moto.server import DomainDispatcherApplication, create_backend_app

    if kind == "seaweedfs":
        return _forwarding(seaweedfs.running_weed())
    return DomainDispatcherApplication(create_backend_app)


@contextlib.contextmanager
def running_s3(kind="moto"):
    """Runs a server on a free port; sets AWS_* for this process and its children.

    Args:
      kind: `moto` or `seaweedfs`.
    """
    from werkzeug.serving import make_server

    # A line per request would bury what a failed test prints.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    faults = Faults()
    application = _with_faults(_application(kind), faults)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    before = dict(os.environ)
    os.environ.update(VARIABLES | {"AWS_ENDPOINT_URL": endpoint})
    for name in REMOVED:
        os.environ.pop(name, None)
    try:
        if kind == "seaweedfs":
            # One bucket for all: each takes volumes of its own.
            yield S3(endpoint, seaweedfs.BUCKET, faults, f"server-{uuid.uuid4().hex[:8]}/")
        else:
            store = S3(endpoint, f"bucket-{uuid.uuid4().hex[:8]}", faults)
            store.client().create_bucket(Bucket=store.bucket)
            yield store
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.shutdown()
        thread.join(10)


#: A real store where it is built: for tests that take too long to run on both.
BEST_KIND = "moto" if seaweedfs.binary() is None else "seaweedfs"
KINDS = [
    "moto",
    pytest.param(
        "seaweedfs",
        marks=pytest.mark.skipif(
            seaweedfs.binary() is None, reason="SeaweedFS is not built here: make seaweedfs"
        ),
    ),
]


@pytest.fixture(scope="module", params=KINDS)
def s3_server(request):
    """Each kind in turn."""
    with running_s3(request.param) as store:
        yield store


@pytest.fixture
def s3(s3_server):
    """The module's server, without faults and with its request log emptied."""
    s3_server.faults.reset()
    yield s3_server
    s3_server.faults.reset()
