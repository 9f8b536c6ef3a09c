"""The SavedModel that is served: it embeds the new items, and shows that they are found.

It is loaded into a session, as a model server loads it, without the optimisation of the graph that
one does: Python objects for every function of the graph, as `tf.saved_model.load` makes them, would
take longer than all else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.examples_io import padded
from components.refresh.catalogue_gen.changes import texts_of
from components.refresh.catalogue_gen.sample_requests import request_examples
from components.requests import user_request
from components.serving_validator.layout import REQUESTS_FILE
from core.errors import BundleError, IndexQualityError
from trainer import features

#: Requests that are asked before anything is published: each is searched exactly, so they cost.
_REQUESTS = 8
#: Items of each kind that are looked at.
_SAMPLE = 32
_INIT = "__saved_model_init_op"


#: What TensorFlow tries to import, goes on without, and is not asked for here: over a quarter of
#: the time that its own import takes.
_OPTIONAL = ("tf_keras", "keras", "googleapiclient")


@contextmanager
def without_optional_parts() -> Iterator[None]:
    """Has `import tensorflow` leave Keras and Google's API client out.

    Afterwards they can be imported as ever.
    """
    there = "tensorflow" in sys.modules
    names = [name for name in _OPTIONAL if not there and name not in sys.modules]
    missing: dict[str, Any] = dict.fromkeys(names)
    sys.modules.update(missing)
    try:
        yield
    finally:
        for name in names:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


class ServedModel:
    """A retriever with room for a delta, in a session."""

    def __init__(self, folder: Path) -> None:
        """Loads it.

        Args:
          folder: of a SavedModel with stock operations.

        Raises:
          BundleError: it does not load, or has no room for a delta.
        """
        with without_optional_parts():
            import tensorflow as tf
        # Not known before TensorFlow is imported.
        from trainer.retrieval.delta import DELTA_ASSET

        tf1 = tf.compat.v1
        config = _without_optimisation()
        self._session = tf1.Session(graph=tf.Graph(), config=config)
        try:
            meta = _read(folder / "saved_model.pb", config.SerializeToString())
            with self._session.graph.as_default():
                saver = tf1.train.import_meta_graph(meta)
                saver.restore(self._session, str(folder / "variables" / "variables"))
            self._signatures = meta.signature_def
            # Vocabularies are files of the SavedModel, too: the operation wants all of them.
            assets = {found.filename: found.tensor_info.name for found in meta.asset_file_def}
            self._assets = {
                name: str(folder / "assets" / filename) for filename, name in assets.items()
            }
            self._initialise(self._assets)
        except Exception as error:  # TensorFlow raises many kinds for a damaged SavedModel
            raise BundleError(f"{folder}: the SavedModel does not load: {error}") from error
        if DELTA_ASSET not in assets:
            raise BundleError(
                f"{folder}: has no room for a delta; run the ordinary refresh once with "
                "`--set retrieval.delta=true`"
            )
        self._delta = assets[DELTA_ASSET]

    def ask(self, name: str, **given: np.ndarray) -> dict[str, np.ndarray]:
        """Returns what a signature answers; inputs that it does not take are left out."""
        found = self._signatures[name]
        feeds = {
            found.inputs[key].name: value for key, value in given.items() if key in found.inputs
        }
        fetches = {key: output.name for key, output in found.outputs.items()}
        answer: dict[str, np.ndarray] = self._session.run(fetches, feeds)
        return answer

    def warm_up(self, version_dir: Path) -> None:
        """Has the session prepare the graph of a request, which takes longer than one takes.

        Args:
          version_dir: of the bundle with the sample requests.
        """
        from trainer.retrieval import signature

        self.ask(signature.RETRIEVE, **_requests(version_dir))

    def load_delta(self, path: Path) -> None:
        """Takes a delta over, as servers do when they load the new version."""
        self._initialise(self._assets | {self._delta: str(path)})

    def _initialise(self, assets: dict[str, str]) -> None:
        self._session.run(self._signatures[_INIT].outputs[_INIT].name, assets)


def _without_optimisation() -> Any:
    """Returns a session's settings.

    The graph is asked a few times only, so to optimise it would take longer than it saves.
    """
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = -1  # L0: nothing is folded
    return config


def _read(path: Path, config: bytes) -> Any:
    """Returns the graph of a SavedModel; its functions get settings of their own."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    meta = saved.meta_graphs[0]
    bodies = [function.node_def for function in meta.graph_def.library.function]
    for node in chain(meta.graph_def.node, *bodies):
        if "config_proto" in node.attr:
            node.attr["config_proto"].s = config
    return meta


def embed(model: ServedModel, items: pa.Table, batch_size: int) -> np.ndarray:
    """Returns the vectors of items, `[items, dim]` float32.

    Args:
      model: the served one.
      items: rows of `ITEM_SCHEMA`.
      batch_size: items embedded at once.

    Raises:
      IndexQualityError: a vector is not finite.
    """
    from components.index_builder.catalogue import check_catalogue
    from trainer.retrieval import signature

    lists = {features.ITEM_TOPICS: "topics", features.ITEM_VALUES: "features"}
    parts = []
    # Once without items too: the answer has the width.
    for start in range(0, max(1, items.num_rows), batch_size):
        part = items.slice(start, batch_size).combine_chunks()
        ids = np.array(texts_of(part["item_id"]), object)
        given = {
            name: padded(part, column, _longest(part[column]), b"")
            for name, column in lists.items()
        }
        answer = model.ask(signature.EMBED_ITEMS, **{features.ITEM_ID: ids}, **given)
        parts.append(answer["embeddings"])
    vectors = np.concatenate(parts)
    if items.num_rows:
        check_catalogue(texts_of(items["item_id"]), vectors)
    return vectors


def _longest(lists: pa.ChunkedArray) -> int:
    """Returns the longest list, at least 1 (a tensor keeps its second axis)."""
    return max(1, pc.max(pc.list_value_length(lists)).as_py() or 0)


def check_served(
    model: ServedModel, version_dir: Path, there: Sequence[bytes], withdrawn: Sequence[bytes]
) -> None:
    """Asks the loaded model with a delta as users do.

    Args:
      model: has taken the delta over.
      version_dir: of the bundle with the sample requests.
      there: new and changed items.
      withdrawn: items that must not come any more.

    Raises:
      IndexQualityError: names the items that are not found, or found although they are gone.
    """
    from trainer.retrieval import signature

    user = _requests(version_dir)
    first = {name: value[:1] for name, value in user.items()}
    asked = [*_some(there), *_some(withdrawn)]
    pairs = np.array([asked], object).reshape(1, len(asked))
    known = model.ask(signature.SCORE_ITEMS, **first, item_id=pairs)["known"][0]
    expected = np.arange(len(asked)) < len(_some(there))
    shown = model.ask(signature.RETRIEVE, **user)["item_id"]
    wrong = [asked[place] for place in np.flatnonzero(known != expected)]
    wrong += sorted(set(shown.ravel().tolist()) & set(withdrawn))
    if wrong:
        names = ", ".join(repr(name.decode(errors="replace")) for name in wrong[:3])
        raise IndexQualityError(
            f"{len(wrong)} items of the delta are not served as they should be ({names}): nothing "
            "was published; run the ordinary refresh"
        )


def _some(names: Sequence[bytes]) -> list[bytes]:
    """Returns a sample that is spread over a list."""
    rows = np.unique(np.linspace(0, max(len(names) - 1, 0), min(_SAMPLE, len(names))).astype(int))
    return [names[row] for row in rows]


def _requests(version_dir: Path) -> dict[str, np.ndarray]:
    """Returns sample requests; without any in the bundle, that of a user without history."""
    path = version_dir / REQUESTS_FILE
    if path.is_file():
        batch = request_examples(path).slice(0, _REQUESTS)
        if batch.num_rows:
            return user_request(batch)
    nothing = np.full((1, 1), b"", object)
    return {
        features.TIMESTAMP: np.zeros(1, np.int64),
        features.HISTORY_ITEM_ID: nothing,
        features.HISTORY_TIMESTAMP: np.zeros((1, 1), np.int64),
        features.HISTORY_ACTION: nothing,
        features.FOLLOWED_TOPIC: nothing,
    }
