import json

import pytest
from click.testing import CliRunner

from cli.paper import paper
from research.paper.results import DataError
from tests.research.paper import cases


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    for name, content in cases.several_embeddings(cases.UP).items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def call(results, out, *options):
    return CliRunner().invoke(paper, ["--results", str(results), "--out", str(out), *options])


def test_the_page_is_written_and_agrees_with_its_results(results, tmp_path):
    out = tmp_path / "docs" / "paper.md"
    assert call(results, out).exit_code == 0
    assert "# The paper, reproduced and judged" in out.read_text()
    checked = call(results, out, "--check")
    assert checked.exit_code == 0
    assert "agrees with" in checked.output


def test_a_figure_changed_by_hand_is_found_and_left_as_it_is(results, tmp_path):
    out = tmp_path / "paper.md"
    call(results, out)
    changed = out.read_text().replace("+0.0200 [", "+0.0900 [")
    out.write_text(changed)
    checked = call(results, out, "--check")
    assert checked.exit_code == 1
    assert "+0.0900" in checked.output
    assert "tessera paper --results" in checked.output
    assert out.read_text() == changed


def test_a_page_that_is_not_there_fails_the_check_and_is_not_written(results, tmp_path):
    out = tmp_path / "paper.md"
    assert call(results, out, "--check").exit_code == 1
    assert not out.exists()


def test_a_folder_without_results_is_refused_and_writes_nothing(tmp_path):
    out = tmp_path / "paper.md"
    answer = call(tmp_path / "nowhere", out)
    assert isinstance(answer.exception, DataError)
    assert not out.exists()
