"""A process may end right after it has read a table."""

import gc
import io
import sys

from input_tables import reading
from input_tables.contract import ReadSettings


def test_no_thread_holds_a_python_object_after_reading(monkeypatch):
    streams = []

    class Seen(reading.Utf8Guard):
        def __init__(self, stream):
            super().__init__(stream)
            streams.append(self)

    monkeypatch.setattr(reading, "Utf8Guard", Seen)
    for _ in range(50):
        source = io.BytesIO(b"user_id,topic\na,b\nx\n")
        list(reading.read_table(source, "follows", ReadSettings(), name="follows.csv"))
        gc.collect()
        held_by = sys.getrefcount(streams[-1])
        assert held_by == 2  # the list and the argument of getrefcount
