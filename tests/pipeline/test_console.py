"""The terminal shows components and warnings of our own; everything else goes to the log."""

import subprocess
import sys

SCRIPT = """
import logging, os, sys, warnings
from pathlib import Path
from pipeline.local.console import run_output
from core.progress import track

tfx = logging.getLogger("absl")
with run_output(Path(sys.argv[1]), verbose=False) as log:
    tfx.info("Component %s is running.", "Trainer")
    warnings.warn("python warning")
    os.write(2, b"from C++\\n")
    print("printed by a library")
    tfx.warning("third-party warning")
    with track("epochs", 2) as bar:
        bar.advance(1, loss=0.5)
    logging.getLogger("tessera").info("1,234 examples, floors=[popularity]")
    logging.getLogger("tessera").warning("worth knowing [here]")
    tfx.info("Component %s is finished.", "Trainer")
    tfx.info("Component %s is running.", "Pusher")
    tfx.info("A cached execution %d is used.", 7)
    tfx.info("Component %s is finished.", "Pusher")
    assert list(log.nodes) == ["Trainer", "Pusher"] and log.nodes["Pusher"].cached
print("after")
"""


def test_only_component_lines_reach_the_terminal(tmp_path):
    log = tmp_path / "deep" / "run.log"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(log)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "after"
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 3, done.stderr
    assert "worth knowing [here]" in lines[0]
    assert "Trainer" in lines[1] and "1,234 examples, floors=[popularity]" in lines[1]
    assert "Pusher" in lines[2] and "reused" in lines[2]
    text = log.read_text()
    for part in ("from C++", "printed by a library", "third-party warning"):
        assert part in text
