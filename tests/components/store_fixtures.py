"""Serving folders in an object store, looked at without the code under test."""

import dataclasses
import hashlib
import json
import uuid

import fsspec

from components.pusher.push import push
from core.storage import ObjectStore
from tests.components.bundle_fixtures import make_request, marked


def memory_url():
    return f"memory://serving-{uuid.uuid4().hex[:8]}"


def memory_keys(url):
    """Key below the URL -> content, read from fsspec's dictionary itself."""
    prefix = "/" + url.removeprefix("memory://") + "/"
    store = fsspec.filesystem("memory").store
    return {k.removeprefix(prefix): v.getvalue() for k, v in store.items() if k.startswith(prefix)}


def visible(keys, name="demo"):
    """Versions that a model server takes for such, each proved whole against its manifest."""
    found = []
    for key in keys:
        parts = key.split("/")
        if parts[0] != name or parts[2:] != ["saved_model.pb"] or not parts[1].isdigit():
            continue
        folder = f"{name}/{parts[1]}/"
        inside = {k.removeprefix(folder): v for k, v in keys.items() if k.startswith(folder)}
        manifest = json.loads(inside.pop("manifest.json"))
        digests = {k: hashlib.sha256(v).hexdigest() for k, v in inside.items()}
        assert digests == {k: entry["sha256"] for k, entry in manifest["files"].items()}
        assert manifest["version"] == int(parts[1])
        found.append(int(parts[1]))
    return sorted(found)


def remote_request(root, url, content="one", **fields):
    """A request whose every file differs with `content`, to be published at a URL."""
    request = make_request(root / content, content, **fields)
    return dataclasses.replace(marked(request, f"-{content}"), serving_dir=url)


def publish(root, url, content="one", now=None, **fields):
    return push(remote_request(root, url, content, **fields), blessed=True, now=now)


class Stopped(BaseException):
    """What a killed process does not survive: nothing catches it and goes on."""


def stop_before(monkeypatch, write):
    """Stops everything before the write of this number (0 is the first), and after it.

    Returns:
      A list that grows with each write, to see how many there were.
    """
    done = []
    for name in ("write", "create", "copy", "upload", "delete"):
        real = getattr(ObjectStore, name)

        def stopping(self, *args, real=real, name=name):
            if name == "delete":
                for one in list(args[0]):
                    count(one)
                    real(self, [one])
                return None
            count(args)
            return real(self, *args)

        monkeypatch.setattr(ObjectStore, name, stopping)

    def count(what):
        if len(done) >= write:
            raise Stopped
        done.append(what)

    return done
