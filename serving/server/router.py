"""Answers from the shards of other servers: encodes a user, asks every shard, merges.

A version is answered from only when the servers of all shards have it, and every request
names it to them, so that no answer mixes versions.
"""

from __future__ import annotations

import itertools
import logging
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tensorflow.core.framework import types_pb2

from components.index_builder.layout import ROUTER
from core.errors import BundleError, ConfigError
from serving.server.errors import Code, RequestError
from serving.server.session import DEFAULT_SIGNATURE, Session
from serving.server.shard import check_shards, shard_model
from serving.server.source import Aspired, VersionSource
from serving.server.version import LoadedVersion, opened
from serving.transport import GrpcTransport, ModelTarget, Transport
from trainer.retrieval import routing, signature

#: Output of a router that may answer without some shards: how many were missing, `[batch]` int32.
MISSING = "missing_shards"
#: What another server of the shard may answer all the same.
_ELSEWHERE = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.NOT_FOUND}
_STATUS_TIMEOUT_S = 2.0
_log = logging.getLogger("tessera")
_ENCODERS = {
    DEFAULT_SIGNATURE: routing.ENCODE,
    signature.RETRIEVE: routing.ENCODE,
    signature.RETRIEVE_FILTERED: routing.ENCODE_FILTERED,
}
_SEARCHES = {
    routing.ENCODE: (routing.SEARCH_SLOTS, (*routing.SEARCH_SPECS,)),
    routing.ENCODE_FILTERED: (
        routing.SEARCH_SLOTS_FILTERED,
        (*routing.SEARCH_SPECS, *signature.FILTER_SPECS),
    ),
}


class ShardServers:
    """The servers of one shard, all of which hold the same items."""

    def __init__(self, addresses: str, model: str) -> None:
        """Connects lazily.

        Args:
          addresses: `host:port`, several with commas between; a name that stands for several
            addresses (a headless service) is each of them.
          model: name of the shard's model.

        Raises:
          ConfigError: an address has no port.
        """
        self.addresses, self._model = addresses, model
        self._places = [_host_and_port(each) for each in addresses.split(",")]
        self._servers: dict[str, Transport] = {}
        self._versions: dict[str, set[int]] = {}
        self._turn = itertools.count()

    def look(self) -> None:
        """Finds the servers and the versions that each of them has; called by one thread."""
        found: set[str] = set()
        for host, port in self._places:
            try:
                infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError:
                found |= self._servers.keys()  # the name server is down, they may not be
                continue
            found |= {_address(str(info[4][0]), port) for info in infos}
        self._servers = {
            each: self._servers.get(each) or GrpcTransport(each) for each in sorted(found)
        }
        versions = {}
        for address, server in self._servers.items():
            try:
                states = server.status(ModelTarget(self._model), _STATUS_TIMEOUT_S)
            except RequestError as error:
                if error.code != Code.NOT_FOUND:
                    continue
                states = []  # it is there, and has nothing yet
            versions[address] = {each.version for each in states if each.state == "AVAILABLE"}
        self._versions = versions

    def reached(self) -> bool:
        """Returns whether any server answered at the last look."""
        return bool(self._versions)

    def have(self, version: int) -> bool:
        """Returns whether every server that answered has a version."""
        return self.reached() and all(version in own for own in self._versions.values())

    def search(
        self, version: int, name: str, inputs: Mapping[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """Asks one server, and the next ones where it does not answer.

        Raises:
          RequestError: none answers, or the request is wrong.
        """
        servers, versions = self._servers, self._versions
        ready = [each for each in servers if version in versions.get(each, ())]
        first = next(self._turn) % max(len(ready), 1)
        others = [each for each in servers if each not in ready]
        last = RequestError(Code.UNAVAILABLE, "its name is not known")
        for address in (*ready[first:], *ready[:first], *others):
            try:
                target = ModelTarget(self._model, version)
                return servers[address].predict(target, name, inputs, timeout_s)[1]
            except RequestError as error:
                if error.code not in _ELSEWHERE:
                    raise
                last = error
        raise last


class Shards:
    """All shards of a model, asked at once."""

    def __init__(
        self, name: str, addresses: Sequence[str], partial: bool, timeout_s: float = 5.0
    ) -> None:
        """Connects lazily.

        Args:
          name: of the model.
          addresses: of each shard in order, see `ShardServers`.
          partial: answer without shards that do not.
          timeout_s: that a server of a shard has for its answer.
        """
        self.servers = [
            ShardServers(each, shard_model(name, shard)) for shard, each in enumerate(addresses)
        ]
        self.partial = partial
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(8 * len(addresses), thread_name_prefix="shards")

    def search(
        self, version: int, name: str, inputs: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], int]:
        """Returns the candidates of all shards, one after the other, and how many are missing.

        Raises:
          RequestError: a shard does not answer (with `partial`: no shard does), or the request
            is wrong.
        """
        asked = [
            self._threads.submit(each.search, version, name, inputs, self._timeout_s)
            for each in self.servers
        ]
        found, failed = [], []
        for shard, (servers, future) in enumerate(zip(self.servers, asked, strict=True)):
            try:
                found.append(future.result())
            except RequestError as error:
                if error.code not in _ELSEWHERE:
                    raise
                failed.append(f"shard {shard} ({servers.addresses}) does not answer: {error}")
        if failed and (not self.partial or not found):
            mend = "" if self.partial else "; --partial answers without it"
            raise RequestError(Code.UNAVAILABLE, "; ".join(failed) + mend)
        return {key: np.concatenate([each[key] for each in found], 2) for key in found[0]}, len(
            failed
        )


class RoutedSource:
    """Versions of a source that all shards have; until then, what was served stays."""

    def __init__(self, source: VersionSource, shards: Shards) -> None:
        """Follows a source.

        Args:
          source: of the whole model.
          shards: with `partial`, those that cannot be reached are not waited for.
        """
        self.name = source.name
        self._source, self._shards = source, shards

    def aspired(self) -> Aspired:
        """See `VersionSource.aspired`."""
        found = self._source.aspired()
        waiting = []
        for shard, servers in enumerate(self._shards.servers):
            servers.look()
            lacks = [v for v in found.folders if not servers.have(v)]
            if lacks and (servers.reached() or not self._shards.partial):
                state = f"lacks version {lacks[-1]}" if servers.reached() else "cannot be reached"
                waiting.append(f"shard {shard} ({servers.addresses}) {state}")
        if not any(servers.reached() for servers in self._shards.servers):
            waiting = waiting or ["no shard can be reached"]
        if waiting:
            raise BundleError("; ".join(waiting))
        return found


def wait_for(source: VersionSource, wait_s: float, look_s: float) -> None:
    """Waits until there is something to serve.

    Raises:
      BundleError: there is nothing yet after `wait_s` seconds: why.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            source.aspired()
            return
        except BundleError as error:
            if time.monotonic() > deadline:
                raise
            _log.info("waiting: %s", error)
        time.sleep(look_s)


class RoutedSession(Session):
    """The ends of a request in a session, the searches elsewhere."""

    def __init__(self, folder: Path, version: int, shards: Shards) -> None:
        """Loads the router's SavedModel.

        Args:
          folder: of it.
          version: that the shards are asked for.
          shards: answer the searches.

        Raises:
          BundleError: it cannot be loaded.
        """
        super().__init__(folder)
        self._version, self._shards = version, shards
        merge = self.signatures[routing.MERGE]
        for name, encoder in _ENCODERS.items():
            if encoder not in self.signatures:
                continue
            public = type(merge)()
            public.CopyFrom(self.signatures[encoder])
            public.outputs.clear()
            for key, value in merge.outputs.items():
                public.outputs[key].CopyFrom(value)
            if shards.partial:
                public.outputs[MISSING].dtype = types_pb2.DT_INT32
                public.outputs[MISSING].tensor_shape.dim.add(size=-1)
            self.signatures[name], self._inputs[name] = public, self._inputs[encoder]

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        signature: str = "",
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """See `Session.run`; asks the shards in between."""
        name = signature or DEFAULT_SIGNATURE
        encoder = _ENCODERS.get(name, "")
        if encoder not in self.signatures:
            return super().run(inputs, signature, outputs)
        wanted = self._wanted(name, outputs)
        encoded = super().run(inputs, encoder)
        search, asked = _SEARCHES[encoder]
        found, missing = self._shards.search(
            self._version, search, {key: encoded[key] for key in asked}
        )
        given = {key: value for key, value in encoded.items() if key in routing.MERGE_SPECS}
        merged = super().run({**given, **found}, routing.MERGE)
        rows = len(encoded[routing.LIMIT])
        merged[MISSING] = np.full([rows], missing, np.int32)
        return {key: merged[key] for key in wanted}


def load_router(folder: Path, shards: Shards) -> LoadedVersion:
    """Verifies a bundle and loads its router.

    Raises:
      BundleError: the bundle is damaged, or has another number of shards.
    """
    bundle, index = opened(folder)
    asked = len(shards.servers)
    count = check_shards(folder, index, asked)
    if count != asked:
        raise BundleError(
            f"{folder}: has {count} shards, but addresses of {asked} are given: one --shard each"
        )
    return LoadedVersion(bundle, RoutedSession(folder / ROUTER, bundle.manifest.version, shards))


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"address of a shard {address!r}: expected host:port")
    return host.strip("[]"), int(port)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
