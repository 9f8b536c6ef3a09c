"""What the guides say can be typed: commands, options, make targets and links exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from cli.main import tessera
from scripts import docs_site, fault_table

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "schemas/README")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)")


def commands(program):
    texts = {page: page.read_text() for page in PAGES}
    texts[docs_site.NOTEBOOK] = docs_site.notebook_page()
    for page, text in texts.items():
        for block in BLOCK.findall(text):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words and words[0] == program:
                    yield pytest.param(words[1:], id=f"{page.name}: {line.strip()[:60]}")


def option_names(command):
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {
        "-h",
        "--help",
    }


@pytest.mark.parametrize("words", commands("tessera"))
def test_a_documented_command_and_its_options_exist(words):
    command, context = tessera, click.Context(tessera)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None and command.invoke_without_command:
            break
        assert found is not None, f"no command {words[0]!r}"
        command, words = found, words[1:]
    known = option_names(command)
    for word in words:
        if word.startswith("-") and not word.lstrip("-")[:1].isdigit():
            assert word.split("=")[0] in known, f"{word} is not an option of {command.name}"


@pytest.mark.parametrize("words", commands("make"))
def test_a_documented_make_target_exists(words):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_repository_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def test_the_table_of_faults_is_the_one_that_the_tests_markers_make():
    assert fault_table.PAGE.read_text(encoding="utf-8") == fault_table.table()
