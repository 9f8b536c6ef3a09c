"""The command line over s3:// and other URLs."""

import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import tessera
from components.config import ExampleGenConfig
from components.example_gen.window import resolve
from input_tables.config import DataConfig
from pipeline.config import load_config
from pipeline.local.runner import local_paths
from tests.components.bundle_fixtures import make_request
from tests.components.store_fixtures import memory_keys, memory_url, publish
from tests.input_tables.tiny import write_single, write_spans
from tests.object_store import s3, s3_server  # noqa: F401 - fixtures
from tests.research.published import publish as publish_that_answers

logging.getLogger("werkzeug").setLevel(logging.ERROR)


def call(*words):
    return CliRunner().invoke(tessera, [str(word) for word in words])


@pytest.fixture
def place(tmp_path):
    url = memory_url()
    for content in ("one", "two", "three"):
        publish(tmp_path / "artifacts", url, content)
    return url


@pytest.mark.parametrize("inner", ["", "/demo"])
def test_versions_lists_and_verifies_a_url(place, inner):
    result = call("versions", "--serving-dir", place + inner, "--verify", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["model_dir"] == f"{place}/demo"
    assert [(row["version"], row["valid"]) for row in document["versions"]] == [
        (3, True),
        (2, True),
        (1, True),
    ]
    assert document["versions"][0]["path"] == f"{place}/demo/3"
    assert f"{place}/demo" in call("versions", "--serving-dir", place + inner).stdout


def test_a_damaged_version_of_a_url_is_listed_by_its_url(place):
    from core.storage import ObjectStore

    ObjectStore(place).write("demo/2/items.parquet", b"damaged")
    result = call("versions", "--serving-dir", place, "--verify", "--json")
    assert result.exit_code == 1
    row = json.loads(result.stdout)["versions"][1]
    assert row["problem"].startswith(f"{place}/demo/2/items.parquet: ")


def test_pin_promote_and_rollback_change_the_url(place):
    assert call("versions", "--serving-dir", place, "pin", 1).exit_code == 0
    result = call("promote", "--serving-dir", place, 2, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["served"] == {"versions": [2], "labels": {"stable": 2}}
    assert document["models_config"] == f"{place}/models.config"
    assert document["model_dir"] == f"{place}/demo"
    assert call("rollback", "--serving-dir", place, "--to", 1).exit_code == 0
    pins = json.loads(memory_keys(place)["demo/pins.json"])
    assert (pins["pinned"], pins["labels"]) == ([1], {"stable": 1})
    assert call("versions", "--serving-dir", place, "unpin", 1).exit_code == 0
    assert call("promote", "--serving-dir", place, "--clear").exit_code == 0
    assert json.loads(memory_keys(place)["demo/pins.json"])["labels"] == {}


@pytest.mark.parametrize(
    "words", [["versions"], ["promote", "1"], ["rollback"], ["versions", "pin", "1"]]
)
def test_a_url_without_a_model_is_an_error_of_the_caller(words):
    url = memory_url()
    result = call(*words, "--serving-dir", url)
    assert result.exception.exit_code == 2 and url in str(result.exception)


@pytest.mark.nightly
def test_recommend_answers_from_s3(tmp_path, s3):  # noqa: F811
    publish_that_answers(tmp_path)
    serving = s3.put_tree(tmp_path / "serving", s3.fresh())
    tables = s3.put_tree(tmp_path / "tables", s3.fresh())
    words = ["--user", "007", "-n", "3", "--json"]
    here = call("recommend", "--bundle", tmp_path / "serving", *words)
    there = call("recommend", "--bundle", serving, "--data", tables, *words)
    assert (here.exit_code, there.exit_code) == (0, 0), here.output + there.output
    ours, theirs = json.loads(here.stdout), json.loads(there.stdout)
    assert theirs["bundle"].pop("path") == f"{serving}/demo/1"
    ours["bundle"].pop("path")
    assert theirs == ours and ours["items"][0]["title"]


def test_data_check_reads_a_url(tmp_path, s3):  # noqa: F811
    write_spans(tmp_path, ["2024-06-29", "2024-06-30"], "2024-06-30")
    url = s3.put_tree(tmp_path, s3.fresh())
    words = ["--run-date", "2024-06-30", "--window-days", "2", "--json"]
    there = call("data", "check", "--root", url, *words)
    assert there.exit_code == 0, there.output
    here = json.loads(call("data", "check", "--root", tmp_path, *words).stdout)
    # That of a URL is made of what the store says of its objects; ExampleGen finds the same.
    data = DataConfig(root=url, run_date="2024-06-30", window_days=2)
    found = resolve(ExampleGenConfig(data=data), {})
    assert here.pop("fingerprint") != (said := json.loads(there.stdout)).pop("fingerprint")
    assert json.loads(there.stdout)["fingerprint"] == found.fingerprint
    assert said == here
    missing = call("data", "check", "--root", url, "--run-date", "2024-07-01", "--window-days", "2")
    assert missing.exception.exit_code == 2
    assert f"{url}/engagements/span=2024-07-01" in str(missing.exception)


def _configuration(path, root, **keys):
    lines = [f"name: demo\ndata:\n  root: {root}\nwork_dir: {path.parent}/work\n"]
    lines += [f"{key}: {value}\n" for key, value in keys.items()]
    path.write_text("".join(lines))
    return path


def test_a_dry_run_reads_tables_of_a_url_and_keeps_both_urls_whole(tmp_path, s3):  # noqa: F811
    folder = write_single(tmp_path / "tables")
    (folder / "items.csv").write_text("item_id,topics\n" + "".join(f"i{n},a\n" for n in range(150)))
    url = s3.put_tree(folder, s3.fresh())
    conf = _configuration(tmp_path / "conf.yaml", url, serving_dir="s3://bucket/serving")
    config = load_config(conf, ())
    paths = local_paths(config, tmp_path / "work")
    assert (paths.data_root, paths.serving_dir) == (url, "s3://bucket/serving")
    result = call("run", "--conf", conf, "--dry-run")
    assert result.exit_code == 0, f"{result.output} {result.exception}"
    assert "Pusher" in result.output


def test_too_few_items_of_a_url_are_refused_before_a_run(tmp_path):
    from core.storage import ObjectStore

    folder = write_single(tmp_path / "tables")
    store = ObjectStore(memory_url())
    for path in folder.iterdir():
        store.write(path.name, path.read_bytes())
    conf = _configuration(tmp_path / "conf.yaml", store.url)
    result = call("run", "--conf", conf, "--dry-run")
    assert result.exception.exit_code == 2
    assert f"({store.url}/items.csv) has 2 items" in str(result.exception)


def test_a_local_serving_folder_is_still_a_path(tmp_path):
    from components.pusher.push import push

    push(make_request(tmp_path), blessed=True)
    result = call("versions", "--serving-dir", tmp_path / "serving", "--json")
    assert Path(json.loads(result.stdout)["model_dir"]) == tmp_path / "serving/demo"
