"""The card says what manifest, evaluation and index say, and nothing else."""

from __future__ import annotations

import json

from components.bundle.manifest import read_manifest
from components.bundle.verify import verify
from components.pusher.model_card import MODEL_CARD, model_card
from components.pusher.push import push
from tests.components.bundle_fixtures import make_request

EVALUATION = {
    "n_examples": 3456,
    "targets_not_in_catalogue": 2,
    "primary_metric": "recall@100",
    "model": {"recall@100": 0.6, "ndcg@10": 0.04},
    "floors": {"popularity": {"recall@100": 0.37}, "recent": {"recall@100": 0.65}},
    "slices": {
        "activity": {
            "new": {"n": 229, "recall@100": 0.2},
            "core": {"n": 3000, "recall@100": 0.61},
            "few": {"n": 3, "recall@100": 0.0},
        }
    },
}


def published(tmp_path, **fields):
    return push(make_request(tmp_path, **fields), blessed=True).destination


def test_the_card_is_published_verified_and_no_part_of_the_content(tmp_path):
    folder = published(tmp_path, run_date="2026-11-20", config={"model": {"name": "dcm_cr"}})
    manifest = verify(folder)
    assert MODEL_CARD in manifest.files
    text = (folder / MODEL_CARD).read_text()
    assert text.startswith("# demo, version 1\n") and "2026-11-20" in text and "dcm_cr" in text
    assert manifest.content_digest in text
    again = push(make_request(tmp_path), blessed=True)  # its card alone would make no new version
    assert (again.version, again.pushed) == (1, True)


def test_metrics_stand_beside_their_floors_and_limits_follow_from_them(tmp_path):
    manifest = read_manifest(published(tmp_path))
    text = model_card(manifest, EVALUATION, {"recall_vs_exact": 0.985, "items": 400, "dim": 16})
    assert "| metric | this version | popularity | recent |" in text
    assert "| recall@100 | 0.6000 | 0.3700 | 0.6500 |" in text
    assert "| activity: new | 229 | 0.2000 |" in text
    limits = text.split("## Known limits")[1].split("## ")[0]
    assert "activity = new: recall@100 is 0.2000" in limits
    assert "core" not in limits and "few" not in limits  # good enough; too few to judge
    assert "`recent` reaches 0.6500" in limits and "popularity" not in limits
    assert "98.50%" in limits and "2 evaluated targets" in limits


def test_further_features_are_named(tmp_path):
    config = {"features": {"items": {"studio": "category"}, "users": {"age": "number"}}}
    text = model_card(read_manifest(published(tmp_path, config=config)), EVALUATION, {})
    assert "| features of an item | item_id, item_topics, studio |" in text
    assert "followed_topic, age |" in text


def test_equal_facts_make_equal_cards(tmp_path):
    manifest = read_manifest(published(tmp_path))
    one = model_card(manifest, EVALUATION, {})
    assert one == model_card(manifest, json.loads(json.dumps(EVALUATION)), {})


def test_a_bundle_that_was_not_evaluated_says_so(tmp_path):
    manifest = read_manifest(published(tmp_path)).model_copy(update={"metrics": {}})
    text = model_card(manifest, {}, {})
    assert "Not evaluated." in text and "was not evaluated" in text
