"""`tessera plan`."""

import json
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from cli.main import tessera
from pipeline.config import load_config
from tests.pipeline.plan.constants import write_constants

SIZE = ("--rows", "2000000", "--items", "300000", "--users", "80000")


@pytest.fixture
def run(tmp_path):
    """Runs `tessera plan` with constants."""
    measured = write_constants(tmp_path / "constants.json")
    return lambda *words: CliRunner().invoke(
        tessera, ["plan", "--constants", str(measured), *words]
    )


@pytest.fixture
def plan(run):
    """The standard output of `tessera plan`."""

    def call(*words):
        done = run(*words)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    return call


def test_what_it_prints_can_be_pasted_into_a_configuration(tmp_path, plan):
    printed = plan(*SIZE)
    block = printed[printed.index("kubeflow:") :]
    conf = tmp_path / "conf.yaml"
    conf.write_text("data: {root: tables}\n" + block)
    made = json.loads(plan(*SIZE, "--json"))
    kept = load_config(conf).kubeflow.resources
    assert {name: found.memory_request_gb for name, found in kept.items()} == {
        name: wanted["memory_request_gb"] for name, wanted in made["resources"].items()
    }
    assert {"Trainer", "Transform", "default"} <= kept.keys()


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [("--history", "history", 90), ("--interests", "interests", 9), ("--results", "results", 500)],
)
def test_words_win_over_the_configuration(tmp_path, plan, word, key, value):
    conf = tmp_path / "conf.yaml"
    conf.write_text(yaml.safe_dump({"data": {"root": "t"}, "trainer": {"epochs": 2}}))
    size = json.loads(plan(*SIZE, "--conf", str(conf), word, str(value), "--json"))["size"]
    assert (size[key], size["epochs"]) == (value, 2)


def test_it_says_what_its_constants_rest_on_and_where_it_goes_beyond(run, plan):
    basis = json.loads(plan(*SIZE, "--json"))["basis"]
    large = run("--rows", "10", "--users", "2", "--items", "900000000")
    assert f"{basis['runs']} measured runs" in large.stderr
    assert "900,000,000 items are" in large.stderr
    assert " rows are" not in large.stderr


def test_a_configuration_that_cannot_be_is_refused(run):
    done = run(*SIZE, "--interests", "55")
    assert done.exit_code != 0
    assert "transform.history_max_items" in str(done.exception)


def test_it_needs_no_tensorflow(tmp_path):
    measured = write_constants(tmp_path / "constants.json")
    code = (
        "import sys; from cli.main import tessera\n"
        f"words = ['plan', '--constants', {str(measured)!r}, *{SIZE!r}]\n"
        "tessera.main(words, standalone_mode=False)\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
