"""What a newcomer types first: `--help`, `init` and `completion`."""

import subprocess

import pytest
from click.testing import CliRunner

from cli.main import _SECTIONS, tessera
from core.errors import ConfigError
from pipeline.config import load_config


def call(*arguments):
    result = CliRunner().invoke(tessera, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_help_shows_every_command_under_its_section():
    lines = call("--help").stdout.splitlines()
    shown = {}
    for line in lines:
        if line and not line.startswith(" ") and line.endswith(":"):
            section = shown.setdefault(line[:-1], [])
        elif line.startswith("  ") and shown:
            section.append(line.split()[0])
    assert {title: list(names) for title, names in _SECTIONS.items()} == {
        title: names for title, names in shown.items() if title != "Options"
    }


def test_init_writes_a_configuration_that_loads_and_says_what_is_next(tmp_path):
    folder = tmp_path / "my shop: 1 # first"
    out = call("init", folder).stdout
    config = load_config(folder / "tessera.yaml")
    assert config.data.root == str(folder / "data")
    assert config.serving_dir == str(folder / "runs/serving")
    assert "tessera data generate --out" in out and "--dry-run" in out.splitlines()[-1]
    assert [p.name for p in folder.iterdir()] == ["tessera.yaml"]


def test_init_names_tables_that_exist_and_keeps_a_file_that_is_there(tmp_path):
    out = call("init", tmp_path / "a", "--data", tmp_path).stdout
    assert "generate" not in out
    before = (tmp_path / "a/tessera.yaml").read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        call("init", tmp_path / "a")
    assert (tmp_path / "a/tessera.yaml").read_bytes() == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(shell):
    out = call("completion", shell).stdout
    assert "_TESSERA_COMPLETE" in out and f"{shell}_complete" in out


def test_bash_completes_a_command(tmp_path):
    script = tmp_path / "complete.bash"
    script.write_text(call("completion", "bash").stdout)
    subprocess.run(["bash", "-n", str(script)], check=True)
    result = CliRunner().invoke(
        tessera,
        prog_name="tessera",
        env={"_TESSERA_COMPLETE": "bash_complete", "COMP_WORDS": "tessera rol", "COMP_CWORD": "1"},
    )
    assert result.stdout.split() == ["plain,rollback"]
