"""What of a sample of requests a bundle may hold."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config import ServingValidatorConfig
from components.refresh.catalogue_gen.sample_requests import request_examples
from components.serving_validator.sample import (
    kept_requests,
    request_of,
    sample_requests,
    write_requests,
)
from components.serving_validator.warmup import write_warmup
from components.user_ids import KEY_VARIABLE, IdKey
from core.errors import ConfigError
from pipeline.config import RunConfig
from pipeline.forget.person import Person
from pipeline.local.preflight import check_before_run
from serving.page.sample import Sample
from tests.components.raw_examples import example, write_split
from trainer import features

KEY = "0123456789abcdef"
ITEMS = [b"i1", b"i2", b"i3"]


@pytest.fixture
def sample(tmp_path):
    rows = [example(f"u{n}", "i1", ["own"] * n, ["music"]) for n in range(4)]
    write_split(tmp_path / "examples", "eval", rows)
    return sample_requests(str(tmp_path / "examples"), 4, 1)[1]


def written(table, folder: Path):
    write_requests(table, folder / "requests.parquet")
    return pq.read_table(folder / "requests.parquet").to_pylist()


def test_ids_are_hashed_and_nothing_else(sample, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    key = IdKey(KEY.encode())
    plain = written(kept_requests(sample, "plain", ITEMS, 1), tmp_path)
    hashed = kept_requests(sample, "hashed", ITEMS, 1)
    assert written(hashed, tmp_path) == [
        row | {"user_id": key.hashed(row["user_id"])} for row in plain
    ]
    # The page and a refresh read it as any sample; a refresh hashes nothing twice.
    assert Sample.read(tmp_path).find(key.hashed("u2")).history[0].item_id == "own"
    again = request_examples(tmp_path / "requests.parquet")
    assert again.column("user_id").to_pylist() == hashed["user_id"].to_pylist()
    twice = kept_requests(pa.Table.from_batches([again]), "hashed", ITEMS, 1)
    assert twice["user_id"].to_pylist() == hashed["user_id"].to_pylist()


def test_requests_of_nobody_have_the_shapes_of_the_real_ones(sample, tmp_path):
    made_up = kept_requests(sample, "none", ITEMS, 1)
    real, shown = (request_of(table, np.arange(4)) for table in (sample, made_up))
    lengths = [(one[features.HISTORY_ITEM_ID] != b"").sum(axis=1).tolist() for one in (real, shown)]
    assert lengths[0] == lengths[1]
    assert set(shown[features.HISTORY_ITEM_ID].ravel()) <= {b"", *ITEMS}
    assert set(shown[features.USER_ID]) == {b""}
    write_warmup(tmp_path / "warm", made_up, 6)
    content = (tmp_path / "warm").read_bytes()
    for text in ("u0", "u1", "u2", "u3", "own", "music"):
        assert not Person(text).in_protobuf(content)


def test_a_run_without_its_key_is_refused_before_it_begins(sample, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=KEY_VARIABLE):
        kept_requests(sample, "hashed", ITEMS, 1)
    serving = ServingValidatorConfig(sample="hashed")
    with pytest.raises(ConfigError, match=KEY_VARIABLE):
        check_before_run(RunConfig(name="x", data={"root": "/no/tables"}, serving=serving))


@pytest.mark.nightly  # two whole validations: a process per SavedModel that imports TensorFlow
@pytest.mark.parametrize("mode", ["hashed", "none"])
def test_a_validation_passes_with_what_the_bundle_may_hold(tmp_path, monkeypatch, mode):
    from components.serving_validator.validate import ValidatorPaths, validate
    from tests.components import retrieval_world as world
    from tests.components.test_serving_validator import QUICK

    monkeypatch.setenv(KEY_VARIABLE, KEY)
    world.write_world(tmp_path, n_eval=40)
    out = tmp_path / "validation"
    paths = ValidatorPaths(str(world.build(tmp_path)), str(tmp_path / "examples"), str(out))
    assert validate(paths, QUICK.model_copy(update={"sample": mode}))["validated"]
    sample = out / "bundle/requests.parquet"
    assert sample.exists() == (mode == "hashed")
    ids = pq.read_table(tmp_path / "examples/Split-eval", columns=["user_id"])["user_id"]
    warm = (out / "bundle/assets.extra/tf_serving_warmup_requests").read_bytes()
    assert not any(Person(user[0].decode()).in_protobuf(warm) for user in ids.to_pylist())
    if sample.exists():
        shown = pq.read_table(sample)["user_id"].to_pylist()
        assert all(user.startswith(f"hmac.{IdKey(KEY.encode()).fingerprint}.") for user in shown)
