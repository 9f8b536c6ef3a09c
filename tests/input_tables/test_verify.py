import pyarrow as pa
import pyarrow.parquet as pq

from input_tables import verify


def test_good_files_are_left_out_and_damaged_ones_told(tmp_path):
    good, bad = tmp_path / "good.parquet", tmp_path / "bad.parquet"
    pq.write_table(pa.table({"item_id": ["i"], "topics": [["a"]]}), good)
    bad.write_bytes(good.read_bytes()[:-6])
    found = verify.damaged_parquet([("items", str(bad)), ("items", str(good))])
    assert list(found) == [str(bad)]


def test_a_reader_that_crashes_is_reported_and_the_rest_still_read(tmp_path, monkeypatch):
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import os, sys\n"
        "for line in sys.stdin:\n"
        "    if 'crash' in line: os.abort()\n"
        "    print('.\\n.\\nok', flush=True)\n"
    )
    monkeypatch.setattr(verify, "_PROBE", probe)
    files = [("items", name) for name in ("a", "crash-1", "b", "crash-2")]
    found = verify.damaged_parquet(files)
    assert list(found) == ["crash-1", "crash-2"]
    assert "crashed" in found["crash-1"]


def test_a_reader_that_hangs_is_ended(tmp_path, monkeypatch):
    probe = tmp_path / "probe.py"
    probe.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(verify, "_PROBE", probe)
    monkeypatch.setattr(verify, "_SILENCE_SECONDS", 0.2)
    assert "no sign" in verify.damaged_parquet([("items", "x")])["x"]
