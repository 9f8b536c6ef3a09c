"""Times single requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def percentiles_ms(
    call: Callable[..., Any],
    requests: Sequence[Mapping[str, Any]],
    percentiles: Sequence[int] = (50, 99),
    *,
    warm_up: int,
    timed: int,
) -> list[float]:
    """Times single calls, one after the other.

    Args:
      call: takes a request by name.
      requests: are used in turn.
      percentiles: in percent.
      warm_up: first calls, which are not timed.
      timed: calls after them.

    Returns:
      Milliseconds of each percentile; nothing when there is no request.
    """
    if not requests:
        return []
    seconds = []
    for number in range(warm_up + timed):
        request = requests[number % len(requests)]
        started = time.perf_counter()
        call(**request)
        seconds.append(time.perf_counter() - started)
    values = np.percentile(np.asarray(seconds[warm_up:]) * 1e3, percentiles)
    return [round(float(value), 3) for value in values]
