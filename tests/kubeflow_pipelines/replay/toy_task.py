"""What the tasks of a toy pipeline run: joins its inputs with a word, or misbehaves."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

SCHEMES = {"minio": "minio", "s3": "s3", "gs": "gcs"}


def local(uri):
    scheme, _, rest = uri.partition("://")
    return Path(os.environ["TESSERA_LAUNCHER_ROOT"]) / SCHEMES[scheme] / rest


def main():
    task, text = sys.argv[1:]
    call = json.loads(text)
    parameters = call["inputs"]["parameterValues"]
    told = Path(os.environ["TOY_STATE"])
    with open(told / f"{task}.calls", "a") as stream:
        stream.write(json.dumps(call) + "\n")
    attempt = len((told / f"{task}.calls").read_text().splitlines())
    words = [
        (local(entries["artifacts"][0]["uri"]) / "part" / "words.txt").read_text()
        for _, entries in sorted(call["inputs"].get("artifacts", {}).items())
    ]
    described = {}
    for key, entries in call["outputs"]["artifacts"].items():
        if key == "executor-logs":
            continue
        uri = entries["artifacts"][0]["uri"]
        folder = local(uri) / "part"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"attempt-{attempt}.txt").write_text("half")
        trouble = told / f"{task}.{attempt}"
        if trouble.exists() and trouble.read_text() == "leave a child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (told / "child").write_text(str(child.pid))
        elif trouble.exists():
            if trouble.read_text() == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if trouble.read_text() == "kill parent":
                os.kill(os.getppid(), signal.SIGKILL)
            sys.exit(f"no luck with token ghp_{'a' * 36}")
        (folder / "words.txt").write_text(" ".join([*words, parameters.get("word", task)]))
        metadata = {"attempt": attempt, "word": parameters.get("word", task)}
        described[key] = {"artifacts": [{"uri": uri, "metadata": metadata}]}
    Path(call["outputs"]["outputFile"]).write_text(json.dumps({"artifacts": described}))


main()
