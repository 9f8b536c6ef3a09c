"""The way to a Kubeflow Pipelines server: address, certificate, patience and plain errors."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import time
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import kfp
import urllib3
from kfp_server_api import ApiException

from core.errors import ConfigError
from kubeflow_pipelines.client.errors import ApiError, KubeflowError, TransientError
from kubeflow_pipelines.client.sign_in import TOKEN_VARIABLE, SignIn, find_sign_in
from pipeline.config.kubeflow import KubeflowConfig

HOST_VARIABLE = "KFP_HOST"
_Answer = TypeVar("_Answer")
#: Kubernetes writes a pod's namespace here: that of its runs where nobody names another.
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT_S = (10.0, 60.0)
_MAY_PASS = frozenset({408, 429, 500, 502, 503, 504})
_SHOWN = 400


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, with growing pauses."""

    attempts: int = 10
    first_s: float = 1.0
    longest_s: float = 60.0

    def pause(self, attempt: int) -> float:
        """Returns the seconds to wait after a failed attempt, counted from 0."""
        return min(self.first_s * 2.0**attempt, self.longest_s)


#: Whether the address is right shows soon; a run of hours outlives a restart of the server.
AT_FIRST, PATIENT, ONCE = Patience(attempts=3), Patience(), Patience(attempts=1)


class _Client(kfp.Client):  # type: ignore[misc]
    """kfp's client without the files of its user and without a request when it is made."""

    def _load_context_setting_or_default(self) -> None:
        self._context_setting = {"namespace": ""}

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        """Answers for the constructor; `Connection.health` asks the server."""
        return kfp.client.client.kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

    def set_user_namespace(self, namespace: str) -> None:
        self._context_setting["namespace"] = namespace


class Connection:
    """A kfp client whose requests have a time limit, patience and plain errors.

    Attributes:
      host: the address, without a slash at its end.
      client: kfp's own client.
      namespace: '' in an installation for one user.
      version: of the server as it tells it, '' when it does not.
    """

    def __init__(
        self,
        host: str,
        namespace: str = "",
        sign_in: SignIn | None = None,
        ca_cert: str = "",
        proxy: str = "",
    ) -> None:
        self.host = _checked(host)
        self._sign_in = sign_in or SignIn()
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            self.client = _Client(
                host=self.host,
                existing_token=self._sign_in.token or None,
                credentials=self._sign_in.credentials,
                ssl_ca_cert=_certificates(ca_cert),
                proxy=proxy or _proxy_of_environment(self.host) or None,
            )
        _limit_time(self.client)
        health = self.health()
        self.version = _version(health)
        self.namespace = namespace or _pod_namespace(bool(health.get("multi_user")))
        self.client.set_user_namespace(self.namespace)

    def health(self) -> dict[str, Any]:
        """Returns what the server says of itself.

        Raises:
          KubeflowError: it is not there, or no Kubeflow Pipelines.
        """
        # The client drops what its version of the description does not name (the version).
        answer = self.call(
            "the server's state",
            lambda: self.client._healthz_api.get_healthz(_preload_content=False).data,
            AT_FIRST,
        )
        try:
            tree = json.loads(answer)
        except ValueError:
            tree = None
        if not isinstance(tree, dict):
            raise ApiError(
                f"{self.host}: the answer is a page, not Kubeflow Pipelines' API: is this the "
                f"address of the API (kubeflow.host), and does it want somebody to sign in? "
                f"{self._sign_in.how}",
                200,
            )
        return tree

    def call(
        self, what: str, request: Callable[[], _Answer], patience: Patience = PATIENT
    ) -> _Answer:
        """Sends a request and returns the answer; what may pass is tried again.

        Args:
          what: is asked for, for errors.
          request: a call of kfp's client; what it prints is dropped.
          patience: `ONCE` for what must not happen twice.

        Raises:
          RequestError: the server refused.
          TransientError: it was away all the time.
        """
        for attempt in range(patience.attempts):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    return request()
            except OSError as error:  # of the token's file
                raise ApiError(f"{self.host}: {what}: {error}; {self._sign_in.how}", 401) from None
            except (ApiException, urllib3.exceptions.HTTPError) as error:
                failure = self._explain(what, error)
                if not isinstance(failure, TransientError):
                    raise failure from None
            if attempt + 1 < patience.attempts:
                time.sleep(patience.pause(attempt))
        raise failure from None

    def _explain(self, what: str, error: Exception) -> KubeflowError:
        where = f"{self.host}: {what}"
        if not isinstance(error, ApiException):
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, urllib3.exceptions.SSLError):
                return ApiError(
                    self._plain(
                        f"{where}: the server's certificate is not trusted: name the file of the "
                        f"authority that signed it in kubeflow.ca_cert: {reason}"
                    ),
                    0,
                )
            if isinstance(reason, urllib3.exceptions.ProxyError):
                return TransientError(
                    self._plain(
                        f"{where}: the proxy does not let the request through: set kubeflow.proxy, "
                        f"or NO_PROXY for this host: {reason.args[-1]}"
                    )
                )
            text = re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", str(reason))
            return TransientError(self._plain(f"{where}: the server cannot be reached: {text}"))
        status, said = int(error.status or 0), self._plain(_said(error))
        if status in _MAY_PASS or status == 0:
            return TransientError(f"{where}: the server is not able to answer ({status}): {said}")
        if status == 401:
            return ApiError(f"{where}: not signed in (401): {said}; {self._sign_in.how}", 401)
        if status == 403:
            return ApiError(
                f"{where}: not allowed (403): {said}; {self._sign_in.who} may not do this in "
                f"namespace {self._shown_namespace()}: set kubeflow.namespace to one of its own, "
                "or let an administrator add it to that one's profile",
                403,
            )
        if "pipeline root" in said.lower() or "pipeline_root" in said.lower():
            return ApiError(
                f"{where}: refused ({status}): {said}; leave kubeflow.pipeline_root empty and "
                "compile again: this installation says itself where artifacts go",
                status,
            )
        if status == 404:
            return ApiError(
                f"{where}: not found (404): {said}; it was deleted, or the address of the API is "
                "another one (kubeflow.host)",
                status,
            )
        return ApiError(f"{where}: refused ({status}): {said}", status)

    def _shown_namespace(self) -> str:
        return getattr(self, "namespace", "") or "(none)"

    def _plain(self, text: str) -> str:
        """Returns text in one line, without the token."""
        text = self._sign_in.hide(text)
        text = " ".join(text.split())
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def find_host(option: str | None, configured: str) -> str:
    """Returns the server's address: of the option, the configuration or the environment.

    Raises:
      ConfigError: none of them says it.
    """
    host = option or configured or os.environ.get(HOST_VARIABLE, "")
    if not host:
        raise ConfigError(
            "kubeflow.host is not set: give --host URL, write it into the configuration, or set "
            f"the environment variable {HOST_VARIABLE}"
        )
    return host


def connect(host: str, namespace: str, kubeflow: KubeflowConfig) -> Connection:
    """Returns a connection, signed in as the configuration says.

    Raises:
      ConfigError: the address is none, the namespace, a token or a certificate is missing.
      KubeflowError: the server does not answer, or refuses.
    """
    sign_in = find_sign_in(kubeflow.sign_in)
    return Connection(host, namespace, sign_in, kubeflow.ca_cert, kubeflow.proxy)


def _certificates(path: str) -> str | None:
    if path and not Path(path).is_file():
        raise ConfigError(f"kubeflow.ca_cert: {path} is not there: give a file in PEM form")
    return path or None


def _proxy_of_environment(host: str) -> str:
    parts = urlsplit(host)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return ""
    return urllib.request.getproxies().get(parts.scheme, "")


def _checked(host: str) -> str:
    try:
        parts = urlsplit(host)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
        secret = parts.password is not None
    except ValueError:
        known, secret = False, False
    if secret:
        raise ConfigError(
            f"kubeflow.host: the address holds a password; leave it out and use {TOKEN_VARIABLE}"
        )
    if not known:
        raise ConfigError(
            f"kubeflow.host {host!r}: expected http:// or https:// and a host, for example "
            "https://kubeflow.example.org/pipeline"
        )
    return host.rstrip("/")


def _limit_time(client: kfp.Client) -> None:
    """Gives every request a time limit; kfp's client would wait for ever."""
    rest = client._run_api.api_client.rest_client
    request = rest.request

    def limited(*args: Any, **named: Any) -> Any:
        named["_request_timeout"] = named.get("_request_timeout") or _TIMEOUT_S
        return request(*args, **named)

    rest.request = limited


def _version(health: dict[str, Any]) -> str:
    tag = str(health.get("tag_name") or "")
    return "" if tag == "unknown" else tag


def _pod_namespace(multi_user: bool) -> str:
    if not multi_user:
        return ""
    try:
        return POD_NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        raise ConfigError(
            "kubeflow.namespace is not set, but this server has many users: write the namespace "
            "of the runs into the configuration or give --namespace"
        ) from None


def _said(error: ApiException) -> str:
    body = error.body or ""
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    try:
        tree = json.loads(body)
    except ValueError:
        return body if body and not body.lstrip().startswith("<") else str(error.reason or "")
    if isinstance(tree, dict):
        return str(tree.get("error_message") or tree.get("message") or tree.get("error") or body)
    return body
