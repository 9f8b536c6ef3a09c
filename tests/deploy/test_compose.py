"""The compose file and Prometheus's files."""

import copy
import json
import re
import shutil
import subprocess

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from tests.deploy.deployment_files import DOCKER, SCHEMAS, documents

VARIABLE = re.compile(r"\$\{(\w+)(?::[?-][^}]*)?\}")


def compose():
    return documents(DOCKER / "compose.yaml")[0]


def validator():
    return Draft202012Validator(json.loads((SCHEMAS / "compose.json").read_text()))


def test_the_compose_file_follows_the_specification():
    validator().validate(compose())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "tf-serving", "imagee"), "a"),
        (("services", "tf-serving", "ports"), [8500.5]),
        (("services", "tf-serving", "stop_grace_period"), 35),
        (("services", "prometheus", "depends_on", "tf-serving", "condition"), "healthy"),
        (("service",), {}),
    ],
)
def test_a_broken_compose_file_is_found(path, value):
    document = copy.deepcopy(compose())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        validator().validate(document)


def test_every_variable_is_in_the_example_and_only_what_must_be_said_has_no_default():
    text = "\n".join(
        line for line in (DOCKER / "compose.yaml").read_text().splitlines() if "#" not in line
    )
    example = dict(
        line.split("=", 1)
        for line in (DOCKER / "env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert set(VARIABLE.findall(text)) == set(example)
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == {name for name, value in example.items() if not value}


def test_the_serving_folder_is_mounted_whole_and_read_only():
    for name in ("tf-serving", "tf-serving-scann"):
        service = compose()["services"][name]
        (volume,) = service["volumes"]
        assert volume["target"] == "/models" and volume["read_only"] is True
        # A file that is mounted alone stays the old one when it is replaced by a rename.
        assert "models.config" not in volume["source"]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["user"] != "0" and not service["user"].startswith("0:")
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_every_file_that_compose_names_exists():
    for service in compose()["services"].values():
        if "build" in service:
            context = (DOCKER / service["build"]["context"]).resolve()
            assert (context / service["build"]["dockerfile"]).exists()
        for volume in service["volumes"]:
            if volume["type"] == "bind" and "${" not in volume["source"]:
                assert (DOCKER / volume["source"]).exists()
            if volume["type"] == "volume":
                assert volume["source"] in compose()["volumes"]


def test_prometheus_asks_the_servers_that_are_started():
    (config,) = documents(DOCKER / "prometheus.yml")
    (job,) = config["scrape_configs"]
    (names,) = job["dns_sd_configs"]
    assert set(names["names"]) == set(compose()["services"]) - {"prometheus"}
    assert job["metrics_path"] == "/monitoring/prometheus/metrics" and names["port"] == 8501
    mounted = {v["target"] for v in compose()["services"]["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{name}" for name in config["rule_files"]} <= mounted
    rules = [r for g in documents(DOCKER / "alerts.yml")[0]["groups"] for r in g["rules"]]
    assert {rule["alert"] for rule in rules} == {"ServerDown", "RequestsFail", "AnswersAreSlow"}
    assert f'job="{job["job_name"]}"' in rules[0]["expr"]


def test_promtool_accepts_config_and_alerts(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    command = [promtool, "check", "config", DOCKER / "prometheus.yml"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    worse = yaml.safe_load((DOCKER / "alerts.yml").read_text())
    worse["groups"][0]["rules"][0]["expr"] = "up == "
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(worse))
    command = [promtool, "check", "rules", tmp_path / "alerts.yml"]
    assert subprocess.run(command, capture_output=True, timeout=300).returncode != 0
