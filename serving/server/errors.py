"""Errors of requests, with the codes that gRPC and HTTP know."""

from __future__ import annotations

import enum

from core.errors import TesseraError


class Code(enum.IntEnum):
    """Canonical status codes; the numbers are those of gRPC and TensorFlow."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14

    @property
    def http(self) -> int:
        """The HTTP status that TensorFlow Serving answers with."""
        return _HTTP.get(self, 500)

    @classmethod
    def of(cls, number: int) -> Code:
        """Returns the code of a number, `UNKNOWN` for one that is not listed."""
        return cls(number) if number in set(cls) else cls.UNKNOWN


_HTTP = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 503,
    Code.FAILED_PRECONDITION: 412,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 416,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
}


class RequestError(TesseraError):
    """A request that is answered with an error; the server goes on.

    Attributes:
      code: what went wrong, for programs.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> RequestError:
    """Returns the error of a request that can never be answered as it is."""
    return RequestError(Code.INVALID_ARGUMENT, message)
