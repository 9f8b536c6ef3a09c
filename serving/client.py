"""A client of the retriever: typed requests in, items with their reasons out.

    with Client("http://localhost:8501", model="demo") as client:      # REST
        [answer] = client.retrieve([UserRequest(timestamp=now, history_item_id=["i7", "i3"])])
        for item in answer.items:
            print(item.item_id, item.kind, item.topic, item.history)

`Client("localhost:8500", model="demo")` is the same over gRPC. Both work with
TensorFlow Serving and with `tessera serve`. Every input is sent in full, since
the REST API of TensorFlow Serving has no defaults, and with one row per request,
since its batching wants that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import numpy as np

from serving.filters import FILTERED, NO_FILTERS, Filters
from serving.server.errors import Code, RequestError, invalid
from serving.transport import ModelTarget, Status, Transport, connect

_T = TypeVar("_T")
_KINDS = {0: "implicit", 1: "explicit", 2: "explored", 3: "neighbour"}
_RETRIEVE, _EXAMPLES = "retrieve", "retrieve_examples"
_RETRY_FIRST_S, _RETRY_MOST_S = 0.05, 2.0


@dataclass(frozen=True)
class UserRequest:
    """What is known of one user at one moment; lists NEWEST FIRST.

    Attributes:
      timestamp: now, in the unit of the model's data.
      history_item_id: items the user engaged with.
      history_timestamp: when; as many as items, or none (then all are 0).
      history_action: how; as many as items, or none (then all are '').
      followed_topic: followed topics.
      user_id: given back in the answer.
      user_features: texts `name=value`, for a model that has features of users.
    """

    timestamp: int
    history_item_id: Sequence[str] = ()
    history_timestamp: Sequence[int] = ()
    history_action: Sequence[str] = ()
    followed_topic: Sequence[str] = ()
    user_id: str = ""
    user_features: Sequence[str] = ()


@dataclass(frozen=True)
class Item:
    """One recommended item and why.

    Attributes:
      item_id: its id.
      score: dot product with the embedding that brought it.
      slot: that embedding.
      kind: `implicit` (made from the history), `explicit` (made for a followed topic) or
        `explored` (a new item, nearest to that embedding) or `neighbour` (an item that users of
        an item of the history engaged with as well; likewise).
      topic: the followed topic, '' for others.
      history: items of the history in the slot's cluster, newest first; of a neighbour the item
        that brought it.
      found_by: all slots that had the item among their first ones.
    """

    item_id: str
    score: float
    slot: int
    kind: str
    topic: str
    history: tuple[str, ...]
    found_by: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """What one user gets.

    Attributes:
      user_id: of the request.
      items: best first.
      version: that answered; over REST, which does not say, the one that was asked for.
    """

    user_id: str
    items: tuple[Item, ...]
    version: int | None


class ServingClient:
    """Asks one model of one server; may be used by several threads."""

    def __init__(self, address: str, model: str, timeout_s: float = 10.0, tries: int = 4) -> None:
        """Connects lazily: nothing is sent yet.

        Args:
          address: `host:port` for gRPC, `http://host:port` for REST.
          model: its name.
          timeout_s: for each call, with all its retries.
          tries: of a call while the server says that it is unavailable.
        """
        self._transport: Transport = connect(address)
        self._model, self._timeout_s, self._tries = model, timeout_s, tries

    def __enter__(self) -> ServingClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def retrieve(
        self,
        requests: Sequence[UserRequest],
        num_results: int = 0,
        use_implicit: bool = True,
        use_explicit: bool = True,
        version: int | None = None,
        label: str | None = None,
        timeout_s: float | None = None,
        signature: str = _RETRIEVE,
        filters: Filters = NO_FILTERS,
    ) -> list[Answer]:
        """Returns each user's items.

        Args:
          requests: any number; one batch. Without any the server is not asked.
          num_results: items for each; 0 leaves it to the model.
          use_implicit: whether interests found in the history are searched.
          use_explicit: whether followed topics are searched.
          version: of the model; None takes the label's, or the newest served.
          label: `stable`, `canary`, ...
          timeout_s: instead of the client's.
          signature: `retrieve`, or `retrieve_examples` to send `tf.Example` protos, whose lists
            need no common length (imports TensorFlow).
          filters: which items may be brought (`serving.filters.make_filters`); only with
            `retrieve`, of a model that was published with `retrieval.filters`.

        Raises:
          RequestError: what the server said; retried only while it is unavailable.
        """
        if not requests:
            return []  # JSON has no empty matrix to send
        rows = len(requests)
        inputs = {
            **user_inputs(requests),
            "user_id": _bytes([request.user_id for request in requests]),
            "num_results": np.full(rows, num_results, np.int32),
            "use_implicit": np.full(rows, use_implicit, np.bool_),
            "use_explicit": np.full(rows, use_explicit, np.bool_),
        }
        if filters and signature == _RETRIEVE:
            signature, inputs = FILTERED[signature], {**inputs, **filters.inputs(rows)}
        elif filters:
            raise invalid(f"`{signature}` takes no filters, `retrieve` does")
        if signature == _EXAMPLES:
            inputs = {"examples": _examples(inputs)}
        answered, outputs = self.predict(signature, inputs, version, label, timeout_s)
        return [_answer(request, row, outputs, answered) for row, request in enumerate(requests)]

    def embed_user(
        self,
        requests: Sequence[UserRequest],
        version: int | None = None,
        label: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns each user's slots.

        Returns:
          `embeddings` `[batch, slots, dim]` float32, `slot_valid`, `mass`, `slot_kind`,
          `slot_topic` `[batch, slots]` and `history_slot` `[batch, history]`.
        """
        inputs = user_inputs(requests)
        return self.predict("embed_user", inputs, version, label, timeout_s)[1]

    def embed_items(
        self,
        items: Mapping[str, Sequence[str]],
        version: int | None = None,
        label: str | None = None,
        timeout_s: float | None = None,
        features: Mapping[str, Sequence[str]] | None = None,
    ) -> np.ndarray:
        """Returns the embeddings of items, `[items, dim]` float32.

        Args:
          items: id -> topics; unknown ids are embedded by their topics.
          version: of the model.
          label: of the version.
          timeout_s: instead of the client's.
          features: id -> texts `name=value`, for a model that has features of items.
        """
        inputs = {
            "item_id": _bytes(list(items)),
            "item_topics": padded([list(topics) for topics in items.values()]),
        }
        if features is not None:
            inputs["item_features"] = padded([list(features.get(item, ())) for item in items])
        outputs = self.predict("embed_items", inputs, version, label, timeout_s)[1]
        return next(iter(outputs.values()))

    def status(
        self, version: int | None = None, label: str | None = None, timeout_s: float | None = None
    ) -> list[Status]:
        """Returns the state of each version, or of one."""
        target = ModelTarget(self._model, version, label)
        return self._retried(lambda left_s: self._transport.status(target, left_s), timeout_s)

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        version: int | None = None,
        label: str | None = None,
        timeout_s: float | None = None,
    ) -> tuple[int | None, dict[str, np.ndarray]]:
        """Runs a signature on arrays.

        Args:
          signature: its name.
          inputs: by name; strings are bytes in object arrays.
          version: of the model; None takes the label's, or the newest served.
          label: `stable`, `canary`, ...
          timeout_s: instead of the client's.

        Returns:
          The version that answered (None over REST, which does not say) and the outputs.

        Raises:
          RequestError: what the server said; retried only while it is unavailable.
        """
        target = ModelTarget(self._model, version, label)
        return self._retried(
            lambda left_s: self._transport.predict(target, signature, inputs, left_s), timeout_s
        )

    def _retried(self, call: Callable[[float], _T], timeout_s: float | None) -> _T:
        """Calls until the server is available, the time is over or the tries are used up."""
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        wait_s = _RETRY_FIRST_S
        for left in range(self._tries - 1, -1, -1):
            try:
                return call(max(0.001, deadline - time.monotonic()))
            except RequestError as error:
                over = time.monotonic() + wait_s >= deadline
                if error.code is not Code.UNAVAILABLE or not left or over:
                    raise
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _RETRY_MOST_S)
        raise RequestError(Code.UNAVAILABLE, "no try is allowed: give tries=1 or more")


def user_inputs(requests: Sequence[UserRequest]) -> dict[str, np.ndarray]:
    """Returns the users of a batch as the arrays that the signatures take.

    Lists are padded to the longest ('' and 0).

    Raises:
      RequestError: times or actions that are not as many as the items.
    """
    for request in requests:
        for name in ("history_timestamp", "history_action"):
            given = len(getattr(request, name))
            if given not in (0, len(request.history_item_id)):
                raise invalid(
                    f"user {request.user_id!r}: {given} values of {name} for "
                    f"{len(request.history_item_id)} items; give one for each item, or none"
                )
    items = padded([list(request.history_item_id) for request in requests])
    times = np.zeros(items.shape, np.int64)
    for row, request in enumerate(requests):
        times[row, : len(request.history_timestamp)] = request.history_timestamp
    found = {
        "timestamp": np.array([request.timestamp for request in requests], np.int64),
        "history_item_id": items,
        "history_timestamp": times,
        "history_action": padded(
            [list(request.history_action) for request in requests], items.shape[1]
        ),
        "followed_topic": padded([list(request.followed_topic) for request in requests]),
    }
    if any(request.user_features for request in requests):  # a model without has no such input
        found["user_features"] = padded([list(request.user_features) for request in requests])
    return found


def padded(rows: Sequence[Sequence[str]], width: int | None = None) -> np.ndarray:
    """Returns lists of texts as `[rows, longest]` bytes, b'' pads."""
    size = max([len(row) for row in rows], default=0) if width is None else width
    array = np.full((len(rows), size), b"", object)
    for place, row in enumerate(rows):
        array[place, : len(row)] = _bytes(row)
    return array


def _bytes(texts: Sequence[str]) -> np.ndarray:
    array = np.empty(len(texts), object)
    array[:] = [text.encode() for text in texts]
    return array


def _examples(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns each row as a serialised `tf.Example`; pads are left out."""
    import tensorflow as tf

    lengths = np.sum(inputs["history_item_id"] != b"", axis=1)
    rows = []
    for row in range(len(inputs["timestamp"])):
        example = tf.train.Example()
        for name, value in inputs.items():
            values = np.atleast_1d(value[row])
            if name.startswith("history_"):
                values = values[: lengths[row]]
            feature = example.features.feature[name]
            if value.dtype.kind == "O":
                pads = ("followed_topic", "user_features")
                kept = [each for each in values if each or name not in pads]
                feature.bytes_list.value.extend(kept)
            else:
                feature.int64_list.value.extend(int(each) for each in values)
        rows.append(example.SerializeToString())
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def clusters_of(request: UserRequest, history_slot: np.ndarray) -> dict[int, list[str]]:
    """Returns the distinct history items that feed each slot, newest first.

    Args:
      request: what was asked.
      history_slot: `[history]` int32, -1 for none.
    """
    clusters: dict[int, list[str]] = {}
    for item, slot in zip(request.history_item_id, history_slot.tolist(), strict=False):
        members = clusters.setdefault(slot, [])
        if slot >= 0 and item not in members:
            members.append(item)
    return clusters


def _answer(
    request: UserRequest, row: int, outputs: Mapping[str, np.ndarray], version: int | None
) -> Answer:
    clusters = clusters_of(request, outputs["history_slot"][row])
    items = []
    for place in range(int(outputs["count"][row])):
        slot = int(outputs["slot"][row, place])
        found_by = int(outputs["found_by"][row, place])
        kind = _KINDS[int(outputs["slot_kind"][row, place])]
        topic = outputs["slot_topic"][row, place].decode("utf-8", "replace")
        neighbour = kind == "neighbour"  # the topic's place holds the item that brought it
        items.append(
            Item(
                item_id=outputs["item_id"][row, place].decode("utf-8", "replace"),
                score=float(outputs["score"][row, place]),
                slot=slot,
                kind=kind,
                topic="" if neighbour else topic,
                history=(topic,) if neighbour else tuple(clusters.get(slot, ())),
                found_by=tuple(bit for bit in range(63) if found_by >> bit & 1),
            )
        )
    user_id = outputs["user_id"][row].decode("utf-8", "replace")
    return Answer(user_id, tuple(items), version)


#: The class's earlier name, which programs import.
Client = ServingClient
