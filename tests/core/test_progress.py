"""Progress reaches whoever installed a reporter and nobody else."""

from core import progress


class Recorder:
    def __init__(self):
        self.events = []

    def start(self, label, total):
        self.events.append(("start", label, total))
        return self

    def advance(self, amount=1, **fields):
        self.events.append(("advance", amount, fields))

    def stop(self, bar):
        self.events.append(("stop",))


def test_reporter_sees_start_advance_and_stop_even_on_errors():
    recorder = Recorder()
    progress.set_reporter(recorder)
    try:
        with progress.track("work", 3) as bar:
            bar.advance(2, loss=0.5)
            raise RuntimeError
    except RuntimeError:
        pass
    finally:
        progress.set_reporter(None)
    assert recorder.events == [("start", "work", 3), ("advance", 2, {"loss": 0.5}), ("stop",)]


def test_without_a_reporter_nothing_happens():
    with progress.track("work") as bar:
        bar.advance()
