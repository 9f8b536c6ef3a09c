"""What is refused from the tables alone costs no download of them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import ConfigError
from pipeline.config import RunConfig
from pipeline.local.preflight import check_before_run
from tests.input_tables.tiny import csv_bytes, table_bytes
from tests.object_store import s3, s3_server  # noqa: F401 - fixtures


def config(root, k):
    evaluator = {"ks": [k], "primary_metric": "mrr", "thresholds": {"mrr": {"min": 0.1}}}
    return RunConfig(name="x", data={"root": root}, evaluator=evaluator)


def items(kind, rows):
    if kind == "csv":
        return csv_bytes(["item_id", "topics"], [[f"i{n}", "t" * 100] for n in range(rows)])
    sink = pa.BufferOutputStream()
    topics = [[f"{n}-{k}" for k in range(9)] for n in range(rows)]
    pq.write_table(pa.table({"item_id": [f"i{n}" for n in range(rows)], "topics": topics}), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_items_of_a_url_are_counted_as_far_as_they_matter(s3, kind):  # noqa: F811
    url, rows = s3.fresh(), 40_000
    s3.put(f"{url}/items.{kind}", items(kind, rows))
    s3.put(f"{url}/engagements.csv", table_bytes("engagements"))
    s3.faults.reset()
    check_before_run(config(url, 50))
    reads = [path for method, path in s3.faults.seen if path.endswith((".csv", ".parquet"))]
    # Of more than 3 MB of CSV the first megabyte; of Parquet the footer.
    assert len(reads) == 1 and reads[0].endswith(f"items.{kind}")

    s3.put(f"{url}/items.{kind}", items(kind, 49))
    with pytest.raises(ConfigError, match=rf"k=50.*{url}/items.{kind}\) has 49 items"):
        check_before_run(config(url, 50))
