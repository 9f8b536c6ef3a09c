"""What the measurement of Beam's engines counts."""

import subprocess
import sys

from benchmarks.beam import HEADER, Usage, lines

BURN = (
    "import time; held = b'x' * 300_000_000; until = time.process_time() + 0.5\n"
    "while time.process_time() < until: pass\n"
    "time.sleep({})"
)


def test_the_processes_below_count_while_they_run_and_after_they_ended():
    with Usage() as ended:
        subprocess.run([sys.executable, "-c", BURN.format(1)], check=True)
    with Usage() as nothing:
        pass
    with Usage() as running:
        child = subprocess.Popen([sys.executable, "-c", BURN.format(600)])
        while running.so_far() < 0.5:
            pass
    child.kill()
    child.wait()
    assert ended.cpu >= 0.5
    assert ended.peak_gb >= 0.3
    assert nothing.cpu < 0.2
    assert running.cpu >= 0.5


def test_a_row_has_the_ratios_to_the_first_engine_of_its_step():
    rows = [
        {"engagements": 1000, "step": step, "engine": engine, "wall": wall, "cpu": 2.0,
         "memory_gb": 1.0}
        for step, engine, wall in (
            ("example_gen", "in-memory", 4.0), ("example_gen", "prism", 8.0),
            ("transform", "in-memory", 10.0), ("transform", "prism", 5.0),
        )
    ]  # fmt: skip
    ratios = [line.split("|")[7].strip() for line in lines(rows).splitlines()]
    assert ratios == ["1.00, 1.00", "2.00, 1.00", "1.00, 1.00", "0.50, 1.00"]
    assert HEADER.splitlines()[0].count("|") == lines(rows).splitlines()[0].count("|")
