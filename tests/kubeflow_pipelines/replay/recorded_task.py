"""Answers as a recorded task did: `recorded_task.py ANSWERS TASK INVOCATION`."""

import json
import os
import sys
from pathlib import Path


def main():
    answers, task, text = sys.argv[1:]
    call = json.loads(text)
    folder = Path(answers)
    root = os.environ["TESSERA_LAUNCHER_ROOT"]
    state = {"call": call, "root": root, "environment": dict(os.environ), "logs": None}
    described = {}
    metadata = json.loads((folder / f"{task}.metadata.json").read_text())
    for key, entries in call["outputs"]["artifacts"].items():
        uri = entries["artifacts"][0]["uri"]
        place = Path(root) / uri.replace("://", "/")
        if key == "executor-logs":
            state["logs"] = {"is_file": place.is_file(), "folder": place.parent.is_dir()}
            continue
        state.setdefault("made_before", []).extend([key] if place.exists() else [])
        place.mkdir()
        (place / "file").write_text(key)
        described[key] = {"artifacts": [{"uri": uri, "metadata": metadata.get(key, {})}]}
    (folder / f"{task}.call.json").write_text(json.dumps(state))
    sys.stdout.write("the task's words\n")
    Path(call["outputs"]["outputFile"]).write_text(json.dumps({"artifacts": described}))


main()
