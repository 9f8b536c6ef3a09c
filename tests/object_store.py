"""An S3 server on loopback for tests: moto's, spoken to over real HTTP.

Every bucket lives in the server's process memory. `Requests` between client and server
counts requests and answers some of them with faults.
"""

import contextlib
import logging
import os
import threading
import uuid
from dataclasses import dataclass, field

import pytest

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
REMOVED = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE")


@dataclass
class Faults:
    """What the server does before it answers.

    Attributes:
      seen: (method, path) of every request since `reset`.
      rule: from (method, path) to an HTTP status to answer with, or None to really answer.
    """

    seen: list = field(default_factory=list)
    rule: object = None

    def reset(self, rule=None):
        self.seen.clear()
        self.rule = rule

    def writes(self):
        return [(m, p) for m, p in self.seen if m in ("PUT", "POST", "DELETE")]


@dataclass
class S3:
    """A running server.

    Attributes:
      endpoint: its URL, also in AWS_ENDPOINT_URL.
      bucket: a bucket of this test module.
      faults: see `Faults`.
    """

    endpoint: str
    bucket: str
    faults: Faults

    def client(self):
        import boto3

        return boto3.client("s3", endpoint_url=self.endpoint)

    def url(self, folder=""):
        return f"s3://{self.bucket}/{folder}".rstrip("/")

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
            status = faults.rule(method, path) if faults.rule else None
        if status is None:
            return application(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        code = ERRORS[status]
        body = b"<Error><Code>%s</Code><Message>a fault of the test</Message></Error>" % code
        start_response(
            f"{status} Fault",
            [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))],
        )
        return [b"" if method == "HEAD" else body]

    return answer


@contextlib.contextmanager
def running_s3():
    """Runs a server on a free port; sets AWS_* for this process and its children."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    # A line per request would bury what a failed test prints.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    faults = Faults()
    application = _with_faults(DomainDispatcherApplication(create_backend_app), faults)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    before = dict(os.environ)
    os.environ.update(VARIABLES | {"AWS_ENDPOINT_URL": endpoint})
    for name in REMOVED:
        os.environ.pop(name, None)
    try:
        store = S3(endpoint, f"bucket-{uuid.uuid4().hex[:8]}", faults)
        store.client().create_bucket(Bucket=store.bucket)
        yield store
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.shutdown()
        thread.join(10)


@pytest.fixture(scope="module")
def s3_server():
    with running_s3() as store:
        yield store


@pytest.fixture
def s3(s3_server):
    """The module's server, without faults and with its request log emptied."""
    s3_server.faults.reset()
    yield s3_server
    s3_server.faults.reset()
