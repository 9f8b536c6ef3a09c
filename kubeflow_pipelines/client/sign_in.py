"""How somebody signs in to a Kubeflow Pipelines server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kfp.client import (
    KF_PIPELINES_SA_TOKEN_ENV,
    KF_PIPELINES_SA_TOKEN_PATH,
    ServiceAccountTokenVolumeCredentials,
)

from core.errors import ConfigError

TOKEN_VARIABLE = "KFP_TOKEN"
#: Whom a projected token must be for.
AUDIENCE = "pipelines.kubeflow.org"


@dataclass(frozen=True)
class SignIn:
    """A token that stays the same, one that the cluster renews, or none.

    Attributes:
      token: of `KFP_TOKEN`.
      path: of the file that the cluster renews.
    """

    token: str = ""
    path: str = ""

    @property
    def credentials(self) -> ServiceAccountTokenVolumeCredentials | None:
        """The reader of the file; None without one."""
        return ServiceAccountTokenVolumeCredentials(self.path) if self.path else None

    @property
    def who(self) -> str:
        """Names the caller, for errors."""
        if self.path:
            return f"the service account whose token is {self.path}"
        return f"the owner of {TOKEN_VARIABLE}" if self.token else "a caller without a token"

    @property
    def how(self) -> str:
        """Says what to set when a server wants somebody else, or a newer token."""
        if self.path:
            return (
                f"the token {self.path} must be there and projected for the audience {AUDIENCE} "
                f"({KF_PIPELINES_SA_TOKEN_ENV} names another file)"
            )
        if self.token:
            return f"the token in {TOKEN_VARIABLE} is wrong or has expired: put a new one there"
        return (
            f"put a token into {TOKEN_VARIABLE}, or in a pod of the cluster mount one for the "
            f"audience {AUDIENCE} and name it in {KF_PIPELINES_SA_TOKEN_ENV}"
        )

    def hide(self, text: str) -> str:
        """Returns a text without the token."""
        for token in (self.token, _read(self.path)):
            text = text.replace(token, "***") if token else text
        return text


def find_sign_in(kind: str) -> SignIn:
    """Returns how to sign in.

    Args:
      kind: `kubeflow.sign_in`.

    Raises:
      ConfigError: what it names is not there.
    """
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    named = os.environ.get(KF_PIPELINES_SA_TOKEN_ENV, "")
    path = named or KF_PIPELINES_SA_TOKEN_PATH
    if kind == "none":
        return SignIn()
    if kind == "token":
        if not token:
            raise ConfigError(f"kubeflow.sign_in is token, but {TOKEN_VARIABLE} is not set")
        return SignIn(token=token)
    if kind == "service_account" or named:
        # A path that is named and missing is an error also where a token is set.
        if not Path(path).is_file():
            raise ConfigError(
                f"{path}: no token of a service account there: mount one for the audience "
                f"{AUDIENCE} into this pod, or name its file in {KF_PIPELINES_SA_TOKEN_ENV}"
            )
        if kind == "service_account" or not token:
            return SignIn(path=path)
    if not token and Path(path).is_file():
        return SignIn(path=path)
    return SignIn(token=token)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip() if path else ""
    except (OSError, UnicodeDecodeError):
        return ""
