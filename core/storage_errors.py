"""Which errors of an object store pass by themselves, and what the others mean."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

ATTEMPTS = 5
FIRST_WAIT_S = 0.25
#: What s3fs makes of 409, 500 and 503; the rest comes from the network itself.
_PASSING = frozenset(
    {errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO), errno.EIO, errno.ECONNRESET, errno.EPIPE}
)
#: Errors of aiohttp and botocore, by name: neither is imported before it is needed.
_PASSING_NAMES = frozenset(
    {
        "ClientConnectionError",
        "ClientPayloadError",
        "ConnectionClosedError",
        "ConnectionError",
        "EndpointConnectionError",
        "HTTPClientError",
        "IncompleteReadError",
        "ReadTimeoutError",
        "ResponseStreamingError",
    }
)
#: Never worth another try, though some are sub-classes of what is.
_LASTING_NAMES = frozenset({"SSLError", "ClientSSLError", "ProxyConnectionError"})
#: Client errors that pass: timeouts, conflicts of two writers, too many requests.
_PASSING_STATUS = frozenset({408, 409, 425, 429})
_MENDS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a role), and AWS_ENDPOINT_URL "
    "where the store is not AWS",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or use a service account that may do it",
}
Result = TypeVar("Result")


def retried(call: Callable[[], Result], attempts: int | None = None) -> Result:
    """Calls until it works or an error does not pass; waits twice as long each time.

    Args:
      call: what to do.
      attempts: times to try; None: `ATTEMPTS`.
    """
    last = (ATTEMPTS if attempts is None else attempts) - 1
    for attempt in range(last):
        try:
            return call()
        except Exception as error:
            if not is_passing(error):
                raise
            time.sleep(FIRST_WAIT_S * 2**attempt * random.uniform(0.75, 1.25))
    return call()


def is_passing(error: BaseException) -> bool:
    """Returns whether the same request may work a moment later (503, a lost connection)."""
    if isinstance(error, (FileNotFoundError, PermissionError, FileExistsError)):
        return False
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _LASTING_NAMES:
        return False
    status = _status(error)
    if status is not None and (400 <= status < 500 or status == 501):
        # s3fs calls every answer it does not know an EIO, also those that stay as they are.
        return status in _PASSING_STATUS
    if isinstance(error, (ConnectionError, TimeoutError)) or names & _PASSING_NAMES:
        return True
    if "TimeoutError" in names:
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


def _status(error: BaseException) -> int | None:
    """Returns the HTTP status of the store's answer, where the error holds one."""
    response: Any = getattr(error.__cause__, "response", None)
    found: Any = None
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if found is None:
        found = getattr(error, "code", None) or getattr(error, "status", None)
    return int(found) if str(found).isdigit() else None


def is_missing_bucket(error: BaseException) -> bool:
    """Returns whether S3 says that the bucket itself does not exist."""
    response: Any = getattr(error.__cause__, "response", None)
    if not isinstance(response, dict):
        return False
    return bool(response.get("Error", {}).get("Code") == "NoSuchBucket")


def is_there_already(error: BaseException) -> bool:
    """Returns whether an exclusive creation was refused because the object exists.

    s3fs says `FileExistsError` only where the answer names the condition that failed, as
    AWS does. SeaweedFS, MinIO and Ceph answer 412 without it, and no other condition is sent.
    """
    if isinstance(error, FileExistsError):
        return True
    response: Any = getattr(error.__cause__, "response", None)
    if not isinstance(response, dict):
        return False
    return bool(response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 412)


def reason_of(error: BaseException, protocol: str) -> str:
    """Returns what an error of the store means, with the mend where there is a known one."""
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()
    text = text.splitlines()[0][:300] if text else type(error).__name__
    kind = {"s3a": "s3", "gcs": "gs"}.get(protocol, protocol)
    if is_missing_bucket(error):
        return "the bucket does not exist; correct the URL or make the bucket"
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    refused = isinstance(error, PermissionError) or text.startswith("Forbidden")
    names = {type(error).__name__, type(error.__cause__).__name__}
    if refused or names & {"NoCredentialsError", "PartialCredentialsError", "HttpError"}:
        mend = _MENDS.get(kind)
        return f"{text}; {mend}" if mend else text
    if is_passing(error):
        return f"{text} (after several attempts); is the store up, and its address right?"
    return text
