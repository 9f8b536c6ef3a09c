"""Loads one SavedModel the way TensorFlow Serving does and answers requests with it.

This file runs on its own: the validator copies it beside a copy of the SavedModel and
starts it with `python -I`. It uses TensorFlow, NumPy and the protos of
`tensorflow-serving-api`, nothing of the project; an import of anything forbidden fails.

`probe.py PLAN FINDINGS` reads one pickle and writes one, both of plain Python values and
NumPy arrays. What cannot be loaded ends the process with a traceback; a request that is
refused is a finding.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Mapping
from importlib.abc import MetaPathFinder
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


class Blocker(MetaPathFinder):
    """Refuses to import some top-level packages and remembers who was asked for."""

    def __init__(self, forbidden: tuple[str, ...]) -> None:
        self.forbidden = frozenset(forbidden)
        self.asked: list[str] = []

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """See base class."""
        if fullname.partition(".")[0] in self.forbidden:
            self.asked.append(fullname)
            raise ImportError(f"{fullname} is not there where a bundle is served")


class ProbeSession:
    """A SavedModel behind a TF1 session: what TensorFlow Serving runs."""

    def __init__(self, folder: str) -> None:
        import tensorflow as tf

        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            meta = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], folder)
        self.signatures = meta.signature_def
        self._calls: dict[str, tuple[list[str], list[str], Any]] = {}

    def answer(self, signature: str, inputs: Arrays) -> Arrays:
        """Runs one request; inputs left out get the default of the SignatureDef."""
        if signature not in self._calls:
            self._calls[signature] = self._call(signature)
        names, outputs, call = self._calls[signature]
        complete = with_defaults(self.signatures[signature], inputs)
        if set(names) != set(complete):
            raise ValueError(f"inputs {sorted(complete)}, but the signature has {names}")
        found = call(*(complete[name] for name in names))
        return dict(zip(outputs, found, strict=True))

    def _call(self, signature: str) -> tuple[list[str], list[str], Any]:
        definition = self.signatures[signature]
        names, outputs = sorted(definition.inputs), sorted(definition.outputs)
        call = self._session.make_callable(
            [definition.outputs[name].name for name in outputs],
            [definition.inputs[name].name for name in names],
        )
        return names, outputs, call


class Function:
    """The same SavedModel behind `tf.saved_model.load`."""

    def __init__(self, folder: str, signatures: Any) -> None:
        import tensorflow as tf

        self._model = tf.saved_model.load(folder)
        self._signatures = signatures

    def answer(self, signature: str, inputs: Arrays) -> Arrays:
        """Runs one request; see `Session.answer`."""
        import tensorflow as tf

        function = self._model.signatures[signature]
        specs = function.structured_input_signature[1]
        complete = with_defaults(self._signatures[signature], inputs)
        if set(specs) != set(complete):
            raise ValueError(f"inputs {sorted(complete)}, but the function has {sorted(specs)}")
        given = {name: tf.constant(value, specs[name].dtype) for name, value in complete.items()}
        return {name: value.numpy() for name, value in function(**given).items()}


def with_defaults(definition: Any, inputs: Arrays) -> Arrays:
    """Returns the inputs, completed with the defaults of a SignatureDef."""
    import tensorflow as tf

    defaults = {name: tf.make_ndarray(proto) for name, proto in definition.defaults.items()}
    return {**defaults, **inputs}


def differences(one: Arrays, other: Arrays) -> tuple[list[str], float]:
    """Compares two answers.

    Returns:
      Names of the outputs that differ (floats only when their shape or the places of NaN do)
      and the largest difference of a float.
    """
    unequal = sorted(set(one) ^ set(other))
    largest = 0.0
    for name in sorted(set(one) & set(other)):
        a, b = one[name], other[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            unequal.append(name)
        elif not np.issubdtype(a.dtype, np.floating):
            unequal.extend([] if np.array_equal(a, b) else [name])
        elif not np.array_equal(np.isnan(a), np.isnan(b)):
            unequal.append(name)
        else:
            with np.errstate(invalid="ignore"):
                gap = np.where((a == b) | np.isnan(a), 0.0, np.abs(a - b))
            largest = max(largest, float(gap.max(initial=0.0)))
    return unequal, largest


def unknown_ops(folder: str) -> list[str]:
    """Returns the operations of the graph that this process has not registered."""
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    with open(os.path.join(folder, "saved_model.pb"), "rb") as stream:
        graph = saved_model_pb2.SavedModel.FromString(stream.read()).meta_graphs[0].graph_def
    functions = {function.signature.name for function in graph.library.function}
    used = {node.op for node in graph.node}
    used |= {node.op for function in graph.library.function for node in function.node_def}
    return sorted(op for op in used - functions if op_def_registry.get(op) is None)


def replay_warmup(session: ProbeSession, path: str) -> dict[str, Any]:
    """Sends every record of a warm-up file through the session, as a server does on load."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    records, signatures, batches = 0, set(), set()
    started = time.perf_counter()
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        name = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
        session.answer(name, inputs)
        records += 1
        signatures.add(name)
        batches.add(int(next(iter(inputs.values())).shape[0]))
    seconds = time.perf_counter() - started
    return {
        "records": records,
        "signatures": sorted(signatures),
        "batches": sorted(batches),
        "seconds": seconds,
    }


def in_one_line(error: Exception) -> str:
    """Returns the message of an error without TensorFlow's account of the graph."""
    text = str(error).replace("Graph execution error:", "").partition("[[{{node")[0]
    kept = [line for line in text.splitlines() if not line.startswith(("Detected at", "<stack"))]
    return " ".join(" ".join(kept).split())[:300]


def answer_cases(
    session: ProbeSession, function: Function, cases: list[dict[str, Any]]
) -> list[Any]:
    """Returns, for each case, the session's answer and how the function's differs from it."""
    answers = []
    for case in cases:
        try:
            found = session.answer(case["signature"], case["inputs"])
            unequal, gap = differences(found, function.answer(case["signature"], case["inputs"]))
            answers.append({"outputs": found, "unequal": unequal, "gap": gap, "error": ""})
        except Exception as error:
            text = f"{type(error).__name__}: {in_one_line(error)}"
            answers.append({"outputs": {}, "unequal": [], "gap": 0.0, "error": text})
    return answers


def time_requests(session: ProbeSession, signature: str, requests: list[Arrays]) -> list[float]:
    """Returns the milliseconds of each request."""
    milliseconds = []
    for inputs in requests:
        started = time.perf_counter()
        session.answer(signature, inputs)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return milliseconds


def rss_mb() -> float:
    """Returns the resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def stage(words: str) -> None:
    """Says on stderr what comes next: the last such line tells where a probe ended."""
    print(f"probe: {words}", file=sys.stderr, flush=True)  # noqa: T201 - a program of its own


def end_with_parent() -> None:
    """Ends this process soon after the one that started it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Does what the plan says and returns the findings."""
    blocker = Blocker(plan["forbidden"])
    sys.meta_path.insert(0, blocker)
    stage("importing TensorFlow")
    import tensorflow as tf

    ops = unknown_ops(plan["model"])
    if plan["library"]:
        stage("loading the operations of ScaNN")
        tf.load_op_library(plan["library"])
    base = rss_mb()
    stage("loading with the TF1 loader")
    started = time.perf_counter()
    session = ProbeSession(plan["model"])
    load_s = time.perf_counter() - started
    stage("replaying the warm-up requests")
    warmup = replay_warmup(session, plan["warmup"])
    loaded = rss_mb()
    stage("timing single requests")
    timed = time_requests(session, plan["timed_signature"], plan["timed"])
    stage("loading with tf.saved_model.load")
    function = Function(plan["model"], session.signatures)
    stage("answering")
    answers = answer_cases(session, function, plan["cases"])
    imported = {name.partition(".")[0] for name in sys.modules} & blocker.forbidden
    return {
        "answers": answers,
        "forbidden": sorted({*blocker.asked, *imported}),
        "latency_ms": timed,
        "load_s": load_s,
        "rss_mb": loaded,
        "rss_base_mb": base,
        "unknown_ops": ops,
        "warmup": warmup,
    }


def main(plan_path: str, findings_path: str) -> None:
    """Reads the plan and writes the findings, whole or not at all."""
    end_with_parent()
    with open(plan_path, "rb") as stream:
        plan = pickle.load(stream)
    findings = run(plan)
    with open(f"{findings_path}.part", "wb") as stream:
        pickle.dump(findings, stream)
    os.replace(f"{findings_path}.part", findings_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
