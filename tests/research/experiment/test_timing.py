"""How a trained model is asked: latencies, embeddings, conditions."""

import time

import numpy as np

from research.experiment.timing import percentiles_ms


def test_only_calls_after_the_warm_up_are_timed_and_every_request_is_used():
    seen = []

    def call(number):
        seen.append(number)
        if len(seen) <= 20:
            time.sleep(0.005)

    p50, p99 = percentiles_ms(call, [{"number": n} for n in range(30)], warm_up=20, timed=200)
    assert len(seen) == 220 and set(seen) == set(range(30))
    assert 0 <= p50 <= p99 < 4.0


def test_without_a_request_there_is_no_latency():
    assert percentiles_ms(lambda: None, [], warm_up=1, timed=1) == []


def test_percentiles_are_in_milliseconds():
    (p50,) = percentiles_ms(lambda: time.sleep(0.002), [{}], (50,), warm_up=1, timed=3)
    assert 2.0 <= p50 < 50 and np.isfinite(p50)
