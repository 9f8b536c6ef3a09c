"""Versions come and go while requests run."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, field

import pytest

from components.bundle.pins import Pins, write_pins
from core.errors import TesseraError
from serving.client import ServingClient, UserRequest
from serving.server.engine import Engine
from serving.server.errors import Code, RequestError
from serving.server.source import ModelFolder
from serving.server.version import State
from tests.serving import bundles
from tests.serving.conftest import until

USER = UserRequest(1000, ["a1", "b2", "b3"], followed_topic=["t1"])


def available(server) -> list[int]:
    return [s.version for s in server.engine.status() if s.state is State.AVAILABLE]


def state(server, version: int) -> State:
    return next(s.state for s in server.engine.status() if s.version == version)


@dataclass
class Load:
    """Threads that ask again and again, over both APIs, and record who answered."""

    server: object
    answers: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __enter__(self):
        self._over = threading.Event()
        addresses = [
            f"127.0.0.1:{self.server.port}",
            f"http://127.0.0.1:{self.server.rest_port}",
        ]
        self._threads = [threading.Thread(target=self._ask, args=(a,)) for a in addresses]
        for thread in self._threads:
            thread.start()
        self.more(4)
        return self

    def __exit__(self, *error):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, address: str) -> None:
        with ServingClient(address, bundles.NAME, tries=1, timeout_s=300.0) as client:
            while not self._over.is_set():
                try:
                    found = client.retrieve([USER, USER])
                    letters = {item.item_id[0] for answer in found for item in answer.items}
                    version = found[0].version
                    assert version is None or letters == {bundles.PREFIXES[version]}
                except Exception as error:  # every failure counts
                    self.errors.append(f"{type(error).__name__}: {error}")
                    return
                self.answers.append((address, frozenset(letters)))
                time.sleep(0.005)

    def more(self, count: int) -> None:
        """Waits until every thread has had some more answers."""
        start = len(self.answers)
        until(lambda: self.errors or len(self.answers) >= start + count)

    @property
    def seen(self) -> list[str]:
        """Who answered, in order, changes only."""
        letters = ["".join(sorted(each)) for _, each in self.answers]
        return [x for x, before in zip(letters, ["", *letters], strict=False) if x != before]


def test_a_new_version_takes_over_without_a_failed_or_mixed_answer(store, model_dir, start):
    bundles.place(store[1], model_dir)
    server = start(model_dir)
    with Load(server) as load:
        bundles.place(store[2], model_dir)
        until(lambda: available(server) == [2])
        load.more(6)
        bundles.place(store[3], model_dir)
        until(lambda: available(server) == [3])
        load.more(6)
    assert not load.errors
    assert {len(letters) for _, letters in load.answers} == {1}, "one version per answer"
    assert load.seen[0] == load.seen[-1] == "a" and "b" in load.seen
    assert state(server, 1) is State.END and state(server, 2) is State.END


@pytest.mark.fault(62)
def test_labels_choose_and_a_smaller_number_can_be_served_again(store, model_dir, start):
    bundles.place(store[1], model_dir)
    bundles.place(store[2], model_dir)
    server = start(model_dir)
    assert available(server) == [2]
    grpc = f"127.0.0.1:{server.port}"
    with Load(server) as load, ServingClient(grpc, bundles.NAME, timeout_s=300.0) as client:
        write_pins(model_dir, Pins(labels={"stable": 1}))
        until(lambda: available(server) == [1])
        load.more(6)
        write_pins(model_dir, Pins(labels={"stable": 1, "canary": 2}))
        until(lambda: server.engine.labels() == {"stable": 1, "canary": 2})
        for label, letter in (("stable", "a"), ("canary", "b"), (None, "b")):
            [answer] = client.retrieve([USER], label=label)
            assert {item.item_id[0] for item in answer.items} == {letter}
        write_pins(model_dir, Pins())
        until(lambda: available(server) == [2] and not server.engine.labels())
    assert not load.errors
    assert load.seen[0] == "b" and "a" in load.seen and load.seen[-1] == "b"


def test_a_damaged_version_never_takes_over_and_is_tried_a_few_times(store, model_dir, start):
    bundles.place(store[1], model_dir)
    server = start(model_dir, load_tries=3)
    broken = bundles.place(store[2], model_dir / "elsewhere")
    with open(broken / "items.parquet", "ab") as file:
        file.write(b"x")
    shutil.move(broken, model_dir / "2")
    with Load(server) as load:
        until(lambda: b'load_failures_total{model="demo",version="2"} 3.0' in _metrics(server))
        load.more(4)
    assert not load.errors and load.seen == ["a"] and available(server) == [1]
    [status] = server.engine.status(version=2)
    assert status.state is State.END and status.code is Code.UNKNOWN
    assert "items.parquet" in status.message and "the manifest says" in status.message
    bundles.place(store[3], model_dir)
    until(lambda: available(server) == [3])


def test_a_version_that_is_mended_is_loaded_at_a_later_try(store, model_dir, start):
    bundles.place(store[1], model_dir)
    server = start(model_dir, load_tries=20)
    whole = bundles.place(store[2], model_dir / "elsewhere")
    text = (whole / "index.json").read_bytes()
    (whole / "index.json").write_bytes(text + b" ")
    shutil.move(whole, model_dir / "2")
    until(lambda: b'load_failures_total{model="demo",version="2"}' in _metrics(server))
    (model_dir / "2" / "index.json").write_bytes(text)
    until(lambda: available(server) == [2])


def test_the_last_version_stays_served_when_its_folder_vanishes(store, model_dir, start):
    bundles.place(store[1], model_dir)
    server = start(model_dir)
    with Load(server) as load:
        shutil.rmtree(model_dir / "1")
        load.more(20)
        shutil.rmtree(model_dir)
        load.more(20)
    assert not load.errors and load.seen == ["a"] and available(server) == [1]
    model_dir.mkdir()
    bundles.place(store[3], model_dir)
    until(lambda: available(server) == [3])


def test_a_broken_pins_file_changes_nothing_until_it_is_mended(store, model_dir, start, caplog):
    bundles.place(store[1], model_dir)
    server = start(model_dir)
    (model_dir / "pins.json").write_text("{")
    until(lambda: "what is served stays" in caplog.text)
    bundles.place(store[2], model_dir)
    assert available(server) == [1]
    write_pins(model_dir, Pins())
    until(lambda: available(server) == [2])
    assert caplog.text.count("what is served stays") == 1


def test_a_label_keeps_its_version_until_the_new_one_is_loaded(store, model_dir, start):
    bundles.place(store[1], model_dir)
    write_pins(model_dir, Pins(labels={"stable": 1}))
    server = start(model_dir, load_tries=2)
    write_pins(model_dir, Pins(labels={"stable": 2}))  # not published yet
    until(lambda: b'load_failures_total{model="demo",version="2"} 2.0' in _metrics(server))
    assert server.engine.labels() == {"stable": 1} and available(server) == [1]


def test_a_running_request_keeps_its_version(store, model_dir, start):
    bundles.place(store[1], model_dir)
    server = start(model_dir)
    engine = server.engine
    with engine.use() as model:
        bundles.place(store[2], model_dir)
        until(lambda: available(server) == [2])
        assert state(server, 1) is State.UNLOADING
        with pytest.raises(RequestError, match=r"Servable not found for request: Specific\(demo"):
            engine.predict({}, version=1)
        inputs = _inputs()
        assert model.run(inputs, "retrieve").version == 1
        assert engine.predict(inputs, "retrieve").version == 2
    until(lambda: state(server, 1) is State.END)


def test_nothing_to_serve_is_an_error_that_says_why(store, model_dir):
    with pytest.raises(TesseraError, match="no published version yet"):
        Engine(ModelFolder(model_dir)).start()
    folder = bundles.place(store[1], model_dir)
    (folder / "items.parquet").write_bytes(b"")
    with pytest.raises(TesseraError, match=r"items\.parquet"):
        Engine(ModelFolder(model_dir)).start()


def test_scann_is_served_where_the_index_says_so(tmp_path, start):
    folder = bundles.publish(tmp_path, 1, scann=True)
    server = start(folder.parent)
    with server.engine.use() as model:
        operations = {op.type for op in model.session.graph.get_operations()}
        functions = model.session.graph.as_graph_def().library.function
        operations |= {node.op for function in functions for node in function.node_def}
        assert any(name.startswith("Scann") for name in operations)
    with ServingClient(f"127.0.0.1:{server.port}", bundles.NAME, timeout_s=300.0) as client:
        [answer] = client.retrieve([USER])
    assert len(answer.items) == bundles.RESULTS


def _inputs() -> dict:
    from serving.client import user_inputs

    return user_inputs([USER])


def _metrics(server) -> bytes:
    return server.engine.metrics.text()
