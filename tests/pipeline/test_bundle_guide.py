"""Every command of docs/bundle.md runs."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import tessera
from tests.research.published import publish

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "bundle.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("guide")
    publish(path)
    return path


def test_the_guide_has_commands():
    assert len(COMMANDS) == 10


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_guide_runs(root, command):
    words = shlex.split(command.replace("runs/demo", str(root)))
    words = [{"u7": "007", "t3": "even"}.get(word, word) for word in words]
    assert words[0] == "tessera"
    if "unpin" in words:
        pin = [{"unpin": "pin"}.get(word, word) for word in words]
        assert CliRunner().invoke(tessera, pin[1:]).exit_code == 0
    result = CliRunner().invoke(tessera, words[1:])
    assert result.exit_code == 0, result.output
