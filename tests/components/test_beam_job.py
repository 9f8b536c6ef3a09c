"""One line for a job that failed elsewhere."""

import pytest

from components.beam_job import clear_failure, job_error
from core.errors import DataError, JobError

TRACEBACK = """bundle inst-005 stage-003 failed:Traceback (most recent call last):
  File "/x/worker.py", line 1, in work
    raise ValueError("first")
ValueError: first

During handling of the above exception, another exception occurred:
core.errors.DataError: s3://b/t.csv: cannot be read [while running 'Read']
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TRACEBACK, r"FAILED: core.errors.DataError: s3://b/t.csv: cannot be read \[while"),
        ("panic: send on closed channel\ngoroutine 1", "FAILED: panic: send on closed channel. N"),
        ("", "FAILED: no reason given. Nothing of it is used"),
    ],
)
def test_a_failed_job_is_one_line(text, reason):
    message = f"ExampleGen: Beam's job job-1 ended in state {reason}"
    with pytest.raises(JobError, match=message) as caught, clear_failure("ExampleGen"):
        raise RuntimeError(f"Pipeline job-1 failed in state FAILED: {text}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("Pipeline"), DataError("bad rows")])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, clear_failure("ExampleGen"):
        raise error
    assert caught.value is error


def test_a_job_of_tfx_is_told_by_what_beam_says():
    failed = RuntimeError("Pipeline job-2 failed in state CANCELLED: stopped")
    assert str(job_error(failed, "Transform")).startswith(
        "Transform: Beam's job job-2 ended in state CANCELLED: stopped."
    )
    assert job_error(ValueError(str(failed)), "Transform") is None
