"""SeaweedFS, the object store that Kubeflow Pipelines installs, as a process of the test run.

`make seaweedfs` builds the binary once, outside the repository. Where it is missing, tests
that need it are skipped by name.
"""

import atexit
import contextlib
import functools
import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

VERSION = "4.53"
#: The key is searched for in what runs leave behind, so it is a text of its own.
ACCESS_KEY, SECRET_KEY = "testing", "xK7/not-for-the-eyes-of-logs/9"
#: For all tests: each bucket takes volumes of its own.
BUCKET = "tests"
_START_S = 60


def tools():
    """The folder in which `make seaweedfs` and `make prism` leave what they build."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TESSERA_TOOLS") or Path(cache) / "tessera/tools")


def binary():
    """The server's program, None where it was not built."""
    path = tools() / f"weed-{VERSION}"
    return path if path.is_file() else None


def free_ports(count):
    """Ports that nobody listens on, of which no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@functools.cache
def running_weed():
    """Starts the server once for this process.

    Returns:
      The URL of its S3 endpoint, where `BUCKET` exists.
    """
    folder = tempfile.TemporaryDirectory(prefix="seaweedfs-")
    root = Path(folder.name)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (root / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (root / "data").mkdir()
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    grpc = tuple(f"{name}.grpc" for name in names)
    ports = dict(zip((*names, *grpc), free_ports(8), strict=True))
    command = [
        str(binary()), "server", "-dir", str(root / "data"), "-ip", "127.0.0.1",
        "-ip.bind", "127.0.0.1", "-filer", "-s3", "-s3.config", str(root / "s3.json"),
        "-volume.max", "20", "-master.volumeSizeLimitMB", "64", "-master.telemetry=false",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    log = root / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=root)

    def stop():
        process.kill()
        process.wait()
        folder.cleanup()

    atexit.register(stop)
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    _await(endpoint, process, log)
    return endpoint


def _await(endpoint, process, log):
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    deadline = time.monotonic() + _START_S
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=3),
    )
    exists = client.exceptions.BucketAlreadyExists
    mine = client.exceptions.BucketAlreadyOwnedByYou
    while True:
        try:
            # The gateway answers before a volume can be written to, and forgets such a request.
            with contextlib.suppress(exists, mine):
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"x")
            return
        except (BotoCoreError, ClientError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"SeaweedFS does not start ({error}):\n{text}") from error
        time.sleep(0.2)
