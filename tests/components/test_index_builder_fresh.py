"""The bundle's SavedModels in a fresh process that has neither the project nor the model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.components import retrieval_world as world
from tests.trainer.retrieval.fake_model import request
from trainer.retrieval.signature import bind

_SCRIPT = """
import sys
folder, library, asked, answer = sys.argv[1:]
import numpy as np, tensorflow as tf
if library:
    tf.load_op_library(library)
features = np.load(asked, allow_pickle=True)
features = {name: tf.constant(features[name].tolist(), tf.string if features[name].dtype == object
            else tf.int64) for name in features}
model = tf.saved_model.load(folder)
got = model.retrieve(**features)
np.savez(answer, item_id=got['item_id'].numpy().astype('S'), score=got['score'].numpy())
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.loader.load(session, ['serve'], folder)
    signature = meta.signature_def['serving_default']
    feeds = {signature.inputs[name].name: value.numpy() for name, value in features.items()}
    again = session.run(signature.outputs['item_id'].name, feeds)
    assert (again == got['item_id'].numpy()).all()
project = ('trainer', 'components', 'core', 'pipeline', 'scann')
assert not set(project) & set(sys.modules), set(project) & set(sys.modules)
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """An index with ScaNN, copied elsewhere; what it was made from is gone."""
    root = tmp_path_factory.mktemp("made")
    world.write_world(root)
    index = world.build(root, kind="scann")
    asked = request([["i1", "i2"], [], ["gone"]], [["t1"], ["t0"], ["nope"]])
    from trainer.retrieval.search import load_scann_ops

    load_scann_ops()
    answers = {
        name: bind(tf.saved_model.load(str(index / name)), "retrieve")(**asked)
        for name in ("retriever", "retriever_scann")
    }
    copy = tmp_path_factory.mktemp("copied") / "bundle"
    shutil.copytree(index, copy)
    shutil.rmtree(root)
    features = {name: value.numpy() for name, value in asked.items()}
    np.savez(copy.parent / "asked.npz", **features)
    return copy, answers


@pytest.mark.nightly
@pytest.mark.fault(48)
@pytest.mark.slow("builds an index with ScaNN; a fresh process loads it")
@pytest.mark.parametrize("name", ["retriever_scann", "retriever"])
def test_a_copied_retriever_answers_alike_in_a_fresh_process(bundle, name, tmp_path):
    copy, answers = bundle
    library = ""
    if name == "retriever_scann":
        source = Path(find_spec("scann").origin).parent / "scann_ops" / "cc" / "_scann_ops.so"
        library = str(shutil.copy(source, tmp_path / "_scann_ops.so"))
    command = [sys.executable, "-I", "-c", _SCRIPT, str(copy / name), library]
    command += [str(copy.parent / "asked.npz"), str(tmp_path / "answer.npz")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    got = np.load(tmp_path / "answer.npz")
    want = answers[name]
    assert got["item_id"].tolist() == want["item_id"].numpy().tolist()
    np.testing.assert_allclose(got["score"], want["score"], rtol=1e-5)
