"""Training on several devices or processes: who holds which slice, who decides, who writes.

Every replica computes its slice of the same global batch and the optimizer sums the gradients,
those of embedding tables as `IndexedSlices` of the touched rows. The first process (the chief)
alone validates, decides and writes.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import tensorflow as tf

from core.errors import ConfigError, TrainingError
from trainer import inputs
from trainer.config import TrainerConfig

#: Where TensorFlow reads the addresses of the workers and which of them this process is.
CLUSTER_VARIABLE = "TF_CONFIG"
_PROBE_SECONDS = 2.0
_RETRY_SECONDS = 0.2


class Distribution:
    """The strategy of a training and this process's part in it."""

    def __init__(
        self, strategy: tf.distribute.Strategy, peers: tuple[str, ...] = (), chief: bool = True
    ) -> None:
        """Takes a strategy.

        Args:
          strategy: of tf.distribute.
          peers: `host:port` of the other processes, none where there is one.
          chief: whether this process validates, decides and writes.
        """
        self._strategy, self._peers, self.chief = strategy, peers, chief

    @classmethod
    def of(cls, config: TrainerConfig) -> Distribution:
        """Makes what `trainer.distribution` names.

        For `multi_worker` call it before TensorFlow has run anything; it waits for the others.

        Raises:
          ConfigError: TF_CONFIG does not name the workers.
          TrainingError: the others did not come in `trainer.workers_wait_s`.
        """
        if config.distribution == "one":
            return cls(tf.distribute.get_strategy())
        if config.distribution == "mirrored":
            return cls(_mirrored())
        addresses, own = cluster(os.environ.get(CLUSTER_VARIABLE, ""))
        peers = tuple(address for place, address in enumerate(addresses) if place != own)
        _wait_for(addresses[own], peers, config.workers_wait_s)
        return cls(tf.distribute.MultiWorkerMirroredStrategy(), peers, chief=own == 0)

    @property
    def replicas(self) -> int:
        """Slices of each global batch."""
        return self._strategy.num_replicas_in_sync

    def scope(self) -> AbstractContextManager[Any]:
        """Variables that are made inside are kept equal on every replica."""
        return self._strategy.scope()

    def batches(self, dataset: tf.data.Dataset) -> Any:
        """Cuts global batches into the slices of the replicas; with one it is the dataset.

        Args:
          dataset: global batches, the same in every process.
        """
        if self.replicas == 1:
            return dataset

        def own_slices(context: tf.distribute.InputContext) -> tf.data.Dataset:
            count = self.replicas // context.num_input_pipelines
            first = context.input_pipeline_id * count
            return inputs.replica_slices(dataset, first, count, self.replicas)

        return self._strategy.distribute_datasets_from_function(own_slices)

    def chief_says(self, *values: float) -> tuple[float, ...]:
        """Returns the chief's values in every process, which waits for them.

        Args:
          *values: of this process; those of the chief count.
        """
        if not self._peers:
            return values
        own = tf.constant(values if self.chief else [0.0] * len(values), tf.float64)
        told = self._strategy.experimental_local_results(self._total(own))[0]
        return tuple(told.numpy().tolist())

    @tf.function
    def _total(self, own: tf.Tensor) -> tf.Tensor:
        def of_replica(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # Of several devices of the chief the first one speaks.
            first = tf.equal(context.replica_id_in_sync_group, 0)
            return context.all_reduce("SUM", tf.where(first, values, tf.zeros_like(values)))

        return self._strategy.run(of_replica, args=(own,))

    @contextmanager
    def lost_workers_named(self) -> Iterator[None]:
        """Says which worker is gone where one ends the others' step.

        Raises:
          TrainingError: TensorFlow's own error, with the addresses that do not answer.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if not self._peers:
                raise
            silent = [peer for peer in self._peers if not _answers(peer)]
            gone = f"worker {', '.join(silent)} is gone" if silent else "a worker failed"
            raise TrainingError(
                f"{gone} ({_first_line(error)}); start every worker again: the training resumes "
                "from the checkpoint of the last finished epoch"
            ) from error


def count(metric: Any, values: tf.Tensor, weights: tf.Tensor | None = None) -> None:
    """Updates a metric on a replica; where a model is only built, in a strategy's scope, not.

    Args:
      metric: of Keras.
      values: [batch].
      weights: [batch] float32, or None.
    """
    if not tf.distribute.in_cross_replica_context():
        metric.update_state(values, sample_weight=weights)


def cluster(text: str) -> tuple[list[str], int]:
    """Reads TF_CONFIG.

    Args:
      text: JSON with `cluster` (`worker`, and `chief` where there is one: lists of
        `host:port`) and `task` (`type`, `index`).

    Returns:
      The addresses, the chief's first, and the place of this process among them.

    Raises:
      ConfigError: it is not of that form.
    """
    try:
        read = json.loads(text)
        jobs = {job: read["cluster"].get(job, []) for job in ("chief", "worker")}
        task, index = read["task"]["type"], int(read["task"]["index"])
        own = (len(jobs["chief"]) if task == "worker" else 0) + index
        addresses = [str(address) for job in jobs.values() for address in job]
        if not 0 <= index < len(jobs[task]) or len(jobs["chief"]) > 1:
            raise ValueError(f"no task {task} {index}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{CLUSTER_VARIABLE} is {text!r} ({type(error).__name__}: {error}); "
            'trainer.distribution=multi_worker needs {"cluster": {"worker": ["HOST:PORT", ...]}, '
            '"task": {"type": "worker", "index": N}}'
        ) from error
    return addresses, own


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
    """All devices; one strategy in a process, as two would share the keys of their collectives."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _wait_for(own: str, peers: Sequence[str], wait_s: int) -> None:
    """Waits until every other process listens; TensorFlow itself would wait for ever.

    Each process listens on its own address until it has seen all the others, whose listener, or
    TensorFlow's server on the same port soon after, answers.
    """
    until = time.monotonic() + wait_s
    silent = list(peers)
    try:
        with socket.create_server(("", int(own.rpartition(":")[2]))):
            while silent := [peer for peer in silent if not _answers(peer)]:
                if time.monotonic() > until:
                    raise TrainingError(
                        f"{', '.join(silent)} did not join within {wait_s} s; start every worker, "
                        "or raise trainer.workers_wait_s"
                    )
                time.sleep(_RETRY_SECONDS)
    except OSError as error:
        raise TrainingError(
            f"{own} of {CLUSTER_VARIABLE} cannot be listened on ({error}); give this process an "
            "address of this machine with a free port"
        ) from error


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), _PROBE_SECONDS):
            return True
    except OSError:
        return False


def _first_line(error: tf.errors.OpError) -> str:
    return (error.message.strip().splitlines() or [type(error).__name__])[0][:300]
