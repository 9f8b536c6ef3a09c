"""The claims are judged by what experiments really write."""

import json

import pytest

from research.experiment.rows import build_results
from research.paper.page import CLAIMS, render
from research.paper.results import read_published
from research.paper.verdicts import decide
from tests.research.experiment.fake_runs import fake_config, fake_dataset

UNIONS = {
    "dcm+cr_80_20": {"parts": ["dcm", "cr"], "shares": [0.8, 0.2]},
    "dcm+two_tower_80_20": {"parts": ["dcm", "two_tower"]},
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("contract")
    folder = root / "published"
    folder.mkdir()
    for name, baseline in (
        ("paper-union", "dcm"),
        ("paper-segments", "two_tower"),
        ("paper-implicit", "two_tower"),
    ):
        models = {model: {} for model in ("two_tower", "dcm", "cr")}
        config = fake_config(
            root, name=name, baseline=baseline, models=models, unions=UNIONS, variants={},
            compare={"dcm+cr_80_20": "cr"},
        )  # fmt: skip
        results = build_results(config, [fake_dataset(root / name, config)], seconds=60.0)
        (folder / f"{name}.json").write_text(json.dumps(results))
    return read_published(folder)


@pytest.mark.parametrize("name", ["H1", "H2", "H16", "H17", "H18"])
def test_an_experiments_own_results_are_evidence(published, name):
    claim = next(claim for claim in CLAIMS if claim.id == name)
    found = decide(claim, published)
    assert found.evidence is not None, found.reason


def test_differences_to_the_baseline_are_paired(published):
    part = published.sets("paper-union")[0]
    assert part.difference("dcm+cr_80_20", "dcm", "recall@100").paired
    assert part.difference("dcm", "cr", "recall@100", ("history_tercile", "long")).paired
    assert part.difference("cr", "dcm+cr_80_20", "recall@100").paired
    assert not part.difference("cr", "two_tower", "recall@100").paired
    written = part.row("cr")["versus"]["recall@100"]["difference"]
    assert part.difference("dcm", "cr", "recall@100").difference == pytest.approx(-written)


def test_the_page_shows_them(published):
    page = render(published)
    assert "dcm+two_tower_80_20" in page.split("### H17. ")[1].split("### H18. ")[0]
    assert "| toy |" in page.split("## The data sets")[1].split("## How to read")[0]
