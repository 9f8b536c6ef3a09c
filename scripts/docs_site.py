"""Hooks of mkdocs.yml: files of the repository that guides link to, and the notebook as a page.

Guides are read on code hosts as well, so they link to `../conf/local.yaml`. Below `repository/`
the site has a copy of each such file, and links lead there.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs/tutorial.ipynb"
# Beside what guides link to: pages of their own.
_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "schemas/README.md")
_FOLDER = "repository"
_TUTORIAL = "tutorial.md"
_SHELL = "%%bash\n"
_LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and files that lie outside of docs/, and those that are made."""
    wanted = set(_PAGES)
    for page in [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in _PAGES)]:
        for link in _LINK.finditer(page.read_text(encoding="utf-8")):
            target = _repository_path(page.relative_to(ROOT).as_posix(), link[2])
            if not target.startswith(("docs/", "../")) and (ROOT / target).is_file():
                wanted.add(target)
    for target in sorted(wanted):
        place = InclusionLevel.INCLUDED if target in _PAGES else InclusionLevel.NOT_IN_NAV
        files.append(
            File.generated(
                config,
                f"{_FOLDER}/{target}",
                abs_src_path=str(ROOT / target),
                inclusion=place,
            )
        )
    icon = str(ROOT / "serving/page/static/icon.svg")
    files.append(File.generated(config, "images/icon.svg", abs_src_path=icon))
    files.append(File.generated(config, _TUTORIAL, content=notebook_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between docs/ and the rest of the repository into links of the site."""
    here = page.file.src_uri
    source = here[len(_FOLDER) + 1 :] if here.startswith(f"{_FOLDER}/") else f"docs/{here}"

    def moved(link: re.Match[str]) -> str:
        target = _repository_path(source, link[2])
        if not (ROOT / target).exists():  # stays as it is, for mkdocs to complain about
            return link[0]
        place = target[len("docs/") :] if target.startswith("docs/") else f"{_FOLDER}/{target}"
        if target == f"docs/{NOTEBOOK.name}" and here != _TUTORIAL:
            place = _TUTORIAL
        place = posixpath.relpath(place, posixpath.dirname(here))
        return f"{link[1]}{place}{link[3] or ''}{link[4]}"

    return _LINK.sub(moved, markdown)


def notebook_page() -> str:
    """Returns docs/tutorial.ipynb as Markdown; it holds no outputs."""
    parts = []
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"]).strip()
        if cell["cell_type"] == "code":
            shell = text.startswith(_SHELL)
            text = f"```{'sh' if shell else 'python'}\n{text.removeprefix(_SHELL)}\n```"
        parts.append(text)
    head, *rest = parts
    return "\n\n".join([head, f"This page is a [notebook]({NOTEBOOK.name}).", *rest]) + "\n"


def _repository_path(source: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
