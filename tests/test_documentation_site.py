"""The guides as a site: it builds without a warning, and shows what code hosts show."""

import re
import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from scripts import docs_site

ROOT = Path(__file__).resolve().parents[1]
GUIDES = sorted((ROOT / "docs").rglob("*.md"))
COUNTED = ("h1", "h2", "h3", "h4", "ul", "ol", "li", "table", "tr", "pre", "img", "strong", "em")


def built(site, docs=ROOT / "docs"):
    settings = {"docs_dir": str(docs), "site_dir": str(site), "strict": True}
    build(load_config(str(ROOT / "mkdocs.yml"), **settings))
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return built(tmp_path_factory.mktemp("site") / "site")


def article(site, guide):
    name = guide.relative_to(ROOT / "docs").with_suffix(".html")
    page = site / (name.with_name("index.html") if name.stem == "README" else name)
    found = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select_one("article")
    for link in found.select(".headerlink"):
        link.decompose()
    return found


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_page_has_the_parts_that_the_guide_has_on_a_code_host(site, guide):
    """Python-Markdown wants other blank lines and indents than CommonMark."""
    other = MarkdownIt("commonmark", {"html": True}).enable("table")
    expected = BeautifulSoup(other.render(guide.read_text(encoding="utf-8")), "html.parser")
    page = article(site, guide)
    assert {t: len(page.find_all(t)) for t in COUNTED} == {
        t: len(expected.find_all(t)) for t in COUNTED
    }


def test_pages_fetch_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        fetched = [tag["src"] for tag in soup.find_all(src=True)]
        fetched += [tag["href"] for tag in soup.find_all("link")]
        assert [url for url in fetched if re.match(r"(https?:)?//", url)] == [], page


def test_files_outside_of_the_guides_are_there(site):
    text = (site / "results.html").read_text(encoding="utf-8")
    assert 'href="repository/benchmarks/peers/index.html"' in text
    assert (site / "repository/benchmarks/peers/index.html").exists()
    assert (site / "repository/conf/experiments/paper-implicit.yaml").exists()


def test_every_broken_link_is_named_and_stops_the_build(tmp_path, caplog):
    links = ["missing.md", "data.md#no-such-heading", "../conf/none.yaml", "/data.md", "data"]
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    with (docs / "model.md").open("a", encoding="utf-8") as guide:
        guide.writelines(f"\nSee [there]({link}).\n" for link in links)
    with pytest.raises(Abort, match=f"{len(links)} warnings in strict mode"):
        built(tmp_path / "site", docs)
    for link in links:
        assert f"'{link}'" in caplog.text


def test_a_guide_that_no_menu_names_stops_the_build(tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    (docs / "forgotten.md").write_text("# Forgotten\n")
    with pytest.raises(Abort):
        built(tmp_path / "site", docs)


def test_the_notebook_is_a_page(site):
    fences = docs_site.notebook_page().count("```") // 2
    assert fences == len(article(site, ROOT / "docs/tutorial.md").select("pre")) > 10
