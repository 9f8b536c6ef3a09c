"""What a Kubeflow Pipelines server says no to, and what passes by itself."""

from __future__ import annotations

from core.errors import TesseraError


class KubeflowError(TesseraError):
    """The server refused a request or cannot be reached."""


class ApiError(KubeflowError):
    """The server refused: what it was asked, or who asks, has to change.

    Attributes:
      status: of HTTP.
    """

    exit_code = 2

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TransientError(KubeflowError):
    """The server is away, and stayed away for as long as this was tried."""


class DayError(TesseraError):
    """The run of one day is lost; the other days are not concerned."""
