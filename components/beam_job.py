"""What a Beam job on workers elsewhere says when it fails, in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import JobError

#: As `PortableRunner` says it.
_FAILED = re.compile(r"Pipeline (\S+) failed in state (\w+): ?(.*)", re.DOTALL)
#: The last line of a worker's traceback.
_RAISED = re.compile(r"^\s*(?:\w+\.)*\w+(?:Error|Exception): .*$", re.MULTILINE)
_TEXT_CHARS = 300


@contextmanager
def clear_failure(step: str) -> Iterator[None]:
    """Turns the end of a failed job into one error; other errors pass.

    Args:
      step: whose job it is.

    Raises:
      JobError: names step, job, state and reason.
    """
    try:
        yield
    except RuntimeError as error:
        failure = job_error(error, step)
        if failure is None:
            raise
        raise failure from error


def job_error(error: BaseException, step: str) -> JobError | None:
    """Returns what a failed job means, None where the error is another one."""
    found = _FAILED.match(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    job, state, text = found.groups()
    return JobError(
        f"{step}: Beam's job {job} ended in state {state}: {_reason(text)}. Nothing of it is "
        "used; see the logs of job server and workers (one that died is the usual cause) and "
        "run again"
    )


def _reason(text: str) -> str:
    raised = _RAISED.findall(text)
    line = raised[-1] if raised else next(iter(text.strip().splitlines()), "no reason given")
    return line.strip()[:_TEXT_CHARS]
