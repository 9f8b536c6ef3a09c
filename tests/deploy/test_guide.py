"""The examples of docs/serving.md, sent to a real server; its health check and probes too."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request

import pytest

from components.bundle.pins import Pins, write_pins
from tests.deploy.deployment_files import DOCKER, OVERLAYS, ROOT, documents, server_container
from tests.serving import bundles

GUIDE = (ROOT / "docs/serving.md").read_text()


@pytest.fixture
def labelled(store, model_dir, start):
    """A server whose version 1 is `stable`."""
    bundles.place(store[1], model_dir)
    write_pins(model_dir, Pins(labels={"stable": 1}))
    return start(model_dir)


def block(language):
    (text,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return text


def get(server, path, body=None):
    """`(status, JSON)`; paths are of the guide's model."""
    path = path.replace("/tessera", f"/{bundles.NAME}")
    request = urllib.request.Request(f"http://localhost:{server.rest_port}{path}", data=body)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_rest_request_is_answered(labelled):
    (url,) = re.findall(r"curl -s http://localhost:8501(\S+) -d @request.json", GUIDE)
    status, answer = get(labelled, url, block("json").encode())
    assert status == 200
    outputs = answer["outputs"]
    assert outputs["user_id"] == ["u42"]
    assert outputs["count"][0] == len([i for i in outputs["item_id"][0] if i]) > 0


def test_the_python_example_runs(labelled, capsys):
    code = block("python").replace("localhost:8500", f"localhost:{labelled.port}")
    assert '"localhost' in code and 'model="tessera"' in code
    exec(compile(code.replace("tessera", bundles.NAME), "docs/serving.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.split()[1] in ("implicit", "explicit") for line in lines)


def test_probes_and_health_check_tell_a_loaded_model_from_none(labelled):
    paths = [server_container()[f"{p}Probe"]["httpGet"]["path"] for p in ("readiness", "liveness")]
    (patch,) = documents(OVERLAYS / "labels/deployment.yaml")
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    paths.append(container["readinessProbe"]["httpGet"]["path"])
    assert [get(labelled, path)[0] for path in paths] == [200, 200, 200]
    assert get(labelled, paths[2].replace("stable", "canary"))[0] >= 400
    for model, expected in ((bundles.NAME, 0), ("other", 1)):
        environment = {
            "PATH": os.environ["PATH"],
            "MODEL_NAME": model,
            "REST_PORT": str(labelled.rest_port),
        }
        script = [str(DOCKER / "healthcheck.sh")]
        assert subprocess.run(script, env=environment, timeout=300).returncode == expected
