"""A new items table over the published model: no training, new items retrievable, old ones gone."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.e2e.compiled_world import storage_access
from tests.e2e.conftest import FIRST_DAY, tessera
from tests.object_store import BEST_KIND, running_s3

pytestmark = [
    pytest.mark.slow("builds an index and lets a fresh process answer from it"),
    pytest.mark.nightly,
]

TOPIC, FRESH_TOPIC = "baking", "a topic of today"
NEW = {f"new{n}": [TOPIC] for n in range(5)} | {"newest": [FRESH_TOPIC]}
GONE = "i0"


@pytest.fixture(scope="module")
def trained(published, tmp_path_factory):
    work = tmp_path_factory.mktemp("refresh")
    shutil.copytree(published.work / "serving", work / "serving")
    return work


def write_refresh(path, **keys):
    path.write_text(yaml.safe_dump({"pipeline": "refresh", "name": "e2e", **keys}))
    return path


def refresh_conf(work, root, path=None):
    return write_refresh(
        path or work / "refresh.yaml",
        work_dir=str(work / "refreshes"),
        serving_dir=str(work / "serving"),
        data={"root": str(root)},
    )


@pytest.fixture(scope="module")
def refreshed(trained, tables):
    """The items table alone, with new items, one gone and one with another topic."""
    (day,) = (tables / "items" / f"span={FIRST_DAY}").glob("*.parquet")
    rows = pq.read_table(day).select(["item_id", "topics"]).to_pylist()
    only = trained / "items-only"
    only.mkdir()
    items = {row["item_id"]: row["topics"] for row in rows if row["item_id"] != GONE} | NEW
    items["i1"] = [FRESH_TOPIC]
    topics = pa.array(list(items.values()), pa.list_(pa.string()))
    pq.write_table(pa.table({"item_id": list(items), "topics": topics}), only / "items.parquet")
    conf = refresh_conf(trained, only)
    return trained, conf, tessera("run", "--conf", conf, "--json")


def versions(work):
    return sorted(int(p.name) for p in (work / "serving" / "e2e").iterdir() if p.name.isdigit())


def ask(work, *arguments, version=2):
    bundle = work / "serving" / "e2e" / str(version)
    done = tessera("recommend", "--bundle", bundle, *arguments, "--json")
    assert done.code == 0, done.err
    return done.json()


def test_a_refresh_publishes_a_validated_version_without_training(refreshed):
    work, _, done = refreshed
    assert done.code == 0, done.err
    report = done.json()
    assert (report["status"], report["pushed_version"]) == ("pushed", 2)
    assert list(report["timings_s"]) == [
        "BundleSource", "CatalogueGen", "IndexBuilder", "ServingValidator", "Pusher",
    ]  # fmt: skip
    found = report["data"]["catalogue"]
    assert (found["added"], found["removed"], found["topics_changed"]) == (len(NEW), 1, 1)
    assert "version 1 was blessed" in report["verdicts"][0]["reason"]
    assert report["serving"]["validated"] is True
    page = (work / "refreshes" / "runs" / report["run_id"] / "report.html").read_text()
    assert "BundleSource" in page
    assert len([line for line in done.err.splitlines() if "✓" in line]) == 5, done.err


def test_its_manifest_tells_of_the_model_as_the_first_one_did(refreshed):
    work, _, _ = refreshed
    first, second = (
        json.loads((work / "serving" / "e2e" / str(n) / "manifest.json").read_text())
        for n in (1, 2)
    )
    for key in ("training_digest", "data_fingerprint", "data_root", "metrics", "time_unit"):
        assert second[key] == first[key] and first[key], key
    assert (second["refreshed_from"], second["model_version"]) == (1, 1)
    assert second["config"]["model"] == first["config"]["model"]
    index = json.loads((work / "serving" / "e2e" / "2" / "index.json").read_text())
    assert index["refit"] is True
    assert tessera("versions", "--serving-dir", work / "serving", "--verify").code == 0


def test_new_items_are_found_by_their_topics(refreshed):
    work, _, _ = refreshed
    follower = ask(work, "--follow", TOPIC, "-n", 100)
    found = {item["item_id"] for item in follower["items"] if item["topic"] == TOPIC}
    assert found & NEW.keys(), "no new item of the followed topic"
    first = ask(work, "--follow", FRESH_TOPIC, "-n", 10)
    assert {"newest", "i1"} >= {i["item_id"] for i in first["items"] if i["kind"] == "explicit"}
    before = ask(work, "--follow", TOPIC, "-n", 100, version=1)
    assert not NEW.keys() & {item["item_id"] for item in before["items"]}


def test_a_history_of_a_new_item_is_answered_and_not_given_back(refreshed):
    work, _, _ = refreshed
    answer = ask(work, "--history", "new1,i2", "-n", 100)
    ids = {item["item_id"] for item in answer["items"]}
    assert ids and "new1" not in ids and "i2" not in ids


def test_an_item_that_left_the_table_is_in_no_answer(refreshed):
    work, _, _ = refreshed
    table = pq.read_table(work / "serving" / "e2e" / "2" / "items.parquet")
    assert GONE not in table["item_id"].to_pylist()
    for arguments in (("--history", "i2,i3"), ("--follow", TOPIC)):
        ids = {item["item_id"] for item in ask(work, *arguments, "-n", 400)["items"]}
        assert len(ids) > 50 and GONE not in ids


def test_the_same_table_again_publishes_nothing(refreshed):
    work, conf, _ = refreshed
    before = versions(work)
    done = tessera("run", "--conf", conf)
    assert done.code == 0, done.err
    assert "nothing to publish" in done.out and "the same as in version 2" in done.out
    assert versions(work) == before


def test_where_labels_say_what_is_served_a_refresh_starts_from_the_stable_one(refreshed):
    work, conf, _ = refreshed
    before = versions(work)
    promoted = tessera("promote", 1, "--serving-dir", work / "serving")
    assert promoted.code == 0, promoted.err
    try:
        done = tessera("run", "--conf", conf)
        assert done.code == 0, done.err
        assert "refresh of version 1" in done.err
        assert "not served yet (stable is version 1): tessera promote 2" in done.out
        assert versions(work) == before
    finally:
        cleared = tessera("promote", "--clear", "--serving-dir", work / "serving")
        assert cleared.code == 0, cleared.err


def test_an_empty_table_is_refused_and_what_is_served_stays(refreshed, tmp_path):
    work, _, _ = refreshed
    before = versions(work)
    (tmp_path / "items.csv").write_text("item_id,topics\n")
    done = tessera("run", "--conf", refresh_conf(work, tmp_path, tmp_path / "c.yaml"))
    assert done.code == 2
    assert "items table has no rows" in done.err
    assert versions(work) == before


def test_a_dry_run_names_the_version_and_what_is_not_followed(refreshed):
    _, conf, _ = refreshed
    done = tessera("run", "--conf", conf, "--dry-run", "--set", "model.embedding_dim=99")
    assert done.code == 0, done.err
    assert "model        version 2 of" in done.out
    assert "not followed model.embedding_dim=99 (published: 16)" in done.out
    assert "BundleSource → CatalogueGen → IndexBuilder → ServingValidator → Pusher" in done.out


def test_a_compiled_refresh_of_an_object_store_publishes_the_next_version_with_its_report(
    refreshed, tmp_path
):
    """As Kubeflow runs it: one task that is planned when it starts, then the exit handler."""
    work, _, _ = refreshed
    latest = versions(work)[-1]
    items = {"late1": [TOPIC], **{f"i{n}": [TOPIC] for n in range(2, 300)}}
    topics = pa.array(list(items.values()), pa.list_(pa.string()))
    (tmp_path / "tables").mkdir()
    pq.write_table(
        pa.table({"item_id": list(items), "topics": topics}), tmp_path / "tables/items.parquet"
    )
    with running_s3(BEST_KIND) as store:
        tables = store.put_tree(tmp_path / "tables", store.url("tables"))
        serving = store.put_tree(work / "serving", store.url("serving"))
        conf = write_refresh(
            tmp_path / "refresh.yaml",
            serving_dir="s3://elsewhere/serving",
            data={"root": "s3://elsewhere/tables", "layout": "single"},
            refresh={"max_removed_share": 0.9},
            kubeflow={"image": "registry.example/tessera:1", **storage_access()},
        )
        file = tmp_path / "refresh-file.yaml"
        done = tessera("compile", "--conf", conf, "-o", file)
        assert done.code == 0, done.err
        done = tessera(
            "run", "--compiled", file, "--work-dir", tmp_path / "w",
            "--param", f"data_root={tables}", "--param", f"serving_root={serving}",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert f"{serving}/e2e/{latest + 1}" in done.out
        keys = store.keys(f"{serving}/e2e")
        assert "BundleSource" in keys[f"reports/{latest + 1}.html"].decode()
        assert json.loads(keys[f"{latest + 1}/manifest.json"])["refreshed_from"] == latest
        answer = tessera("recommend", "--bundle", serving, "--history", "late1", "--json")
        assert answer.code == 0, answer.err


def test_without_a_published_model_there_is_nothing_to_refresh(refreshed, tmp_path):
    _, conf, _ = refreshed
    done = tessera("run", "--conf", conf, "--set", f"serving_dir={tmp_path / 'none'}")
    assert done.code == 2
    assert "there is no model to refresh" in done.err
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_filters_and_their_values_come_without_training(trained, tables, tmp_path):
    """A refresh brings filters; a delta changes what they compare; a refresh folds it back."""
    (day,) = (tables / "items" / f"span={FIRST_DAY}").glob("*.parquet")
    rows = pq.read_table(day).select(["item_id", "topics"])
    root = tmp_path / "items"
    root.mkdir()

    def deliver(regions):
        table = rows.append_column("region", pa.array(regions, pa.string()))
        pq.write_table(table, root / "items.parquet")

    def shown(version):
        items = ask(trained, "--history", "i2,i3", "--filter", "region=at", version=version)[
            "items"
        ]
        return {item["item_id"] for item in items}

    ids = rows["item_id"].to_pylist()
    conf = refresh_conf(trained, root, tmp_path / "filters.yaml")
    # Items that a delta changes have no neighbours until the next refresh.
    wanted = ("--set", "retrieval.filters=[region, topics]", "--set", "retrieval.delta=true",
              "--set", "retrieval.neighbours=off")  # fmt: skip
    deliver(["at" if row % 3 == 0 else "de" for row in range(len(ids))])
    first = tessera("run", "--conf", conf, *wanted, "--json")
    assert first.code == 0, first.err
    base = first.json()["pushed_version"]
    assert shown(base) and shown(base) <= set(ids[::3])

    deliver(["at" if row % 3 == 0 or row in (1, 2) else "de" for row in range(len(ids))])
    delta = tessera("refresh", "--delta", "--conf", conf, *wanted, "--set",
                    f"refresh.version={base}", "--json")  # fmt: skip
    assert delta.code == 0, delta.err
    found = delta.json()
    assert (found["delta"]["changed"], found["delta"]["added"]) == (2, 0)
    version = found["push"]["version"]
    assert shown(version) <= {*ids[::3], *ids[1:3]}
    allowed = ask(trained, "--history", "i9", "--filter", "region=at", "-n", 300, version=version)
    assert {*ids[1:3]} <= {item["item_id"] for item in allowed["items"]}
    assert tessera("versions", "--serving-dir", trained / "serving", "--verify").code == 0

    folded = tessera("run", "--conf", conf, *wanted, "--set", f"refresh.version={version}",
                     "--json")  # fmt: skip
    assert folded.code == 0, folded.err
    path = trained / "serving" / "e2e" / str(folded.json()["pushed_version"])
    assert json.loads((path / "manifest.json").read_text())["delta"] is None
    assert not (path / "delta_items.parquet").exists()
    assert shown(folded.json()["pushed_version"]) == shown(version)
