"""As much of the JSON API of Google Cloud Storage, over HTTP, as gcsfs uses for objects.

Written from Google's reference of the API; it shows what gcsfs sends and does with the
answers, and proves nothing about Google's own server.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)")
REWRITE = re.compile(OBJECT.pattern + r"/rewriteTo/b/([^/]+)/o/([^/]+)")
LIST = re.compile(r"/storage/v1/b/([^/]+)/o")
UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)

    def handle_one(self):
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, unquote(parts.path), query))
        routes = {REWRITE: self.rewrite, OBJECT: self.object, UPLOAD: self.upload, LIST: self.list}
        for pattern, answer in routes.items():
            if found := pattern.fullmatch(parts.path):
                with self.server.lock:
                    return answer([unquote(part) for part in found.groups()], query, body)
        return self.missing()

    do_GET = do_POST = do_DELETE = do_PUT = handle_one

    def missing(self):
        self.answer(404, {"error": {"code": 404, "message": "Not Found"}})

    def facts(self, name, content):
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        return {
            "kind": "storage#object",
            "bucket": self.server.bucket,
            "name": name,
            "generation": "1",
            "size": str(len(content)),
            "md5Hash": digest,
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
        }

    def object(self, parts, query, _):
        objects, name = self.server.objects, parts[1]
        if parts[0] != self.server.bucket or name not in objects:
            return self.missing()
        if self.command == "DELETE":
            del objects[name]
            return self.answer(204)
        if query.get("alt") != "media":
            return self.answer(200, self.facts(name, objects[name]))
        content, wanted = objects[name], self.headers.get("Range")
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            return self.answer(206, content[int(first) : int(last) + 1])
        return self.answer(200, content)

    def rewrite(self, parts, *_):
        objects = self.server.objects
        if parts[1] not in objects:
            return self.missing()
        objects[parts[3]] = objects[parts[1]]
        return self.answer(200, {"done": True, "resource": self.facts(parts[3], objects[parts[3]])})

    def upload(self, _, query, body):
        objects = self.server.objects
        if "upload_id" in query:
            objects[query["upload_id"]] = objects.get(query["upload_id"], b"") + body
            _, _, total = self.headers["Content-Range"].rpartition("/")
            if len(objects[query["upload_id"]]) < int(total):
                return self.answer(308, Range=f"0-{len(objects[query['upload_id']]) - 1}")
            return self.answer(200, self.facts(query["upload_id"], objects[query["upload_id"]]))
        if query["uploadType"] == "resumable":
            name = json.loads(body)["name"]
            objects.pop(name, None)
            place = f"http://{self.headers['Host']}{self.path.partition('?')[0]}?upload_id={name}"
            return self.answer(200, {}, Location=place)
        _, head, rest = body.split(b"--==0==", 2)
        name = json.loads(head.split(b"\n\n", 1)[1])["name"]
        content = rest.split(b"\n\n", 1)[1].removesuffix(b"\n--==0==--")
        if query.get("ifGenerationMatch") == "0" and name in objects:
            return self.answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        objects[name] = content
        return self.answer(200, self.facts(name, content))

    def list(self, parts, query, _):
        if parts[0] != self.server.bucket:
            return self.missing()
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, folders = [], set()
        for name, content in sorted(self.server.objects.items()):
            inner = name.removeprefix(prefix)
            if not name.startswith(prefix):
                continue
            if delimiter and delimiter in inner:
                folders.add(prefix + inner.split(delimiter)[0] + delimiter)
            else:
                items.append(self.facts(name, content))
        return self.answer(200, {"items": items, "prefixes": sorted(folders)})


@contextlib.contextmanager
def running_gcs(bucket="lake"):
    """Runs a server with one bucket; its `objects` are name -> content, `seen` its requests."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.bucket, server.objects, server.seen = bucket, {}, []
    server.lock, server.daemon_threads = threading.Lock(), True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    before = dict(os.environ)
    endpoint = f"http://127.0.0.1:{server.server_port}"
    os.environ.update({"STORAGE_EMULATOR_HOST": endpoint, "FSSPEC_GS_TOKEN": "anon"})
    import fsspec

    fsspec.config.set_conf_env(fsspec.config.conf)  # it was read when fsspec was imported
    try:
        yield server
    finally:
        os.environ.clear()
        os.environ.update(before)
        fsspec.config.conf.pop("gs", None)
        server.shutdown()
        thread.join(10)
