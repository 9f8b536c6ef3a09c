"""Dockerfile and .dockerignore, read for the tests about the image."""

import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Stage:
    base: str
    name: str
    steps: list = field(default_factory=list)

    def rests(self, *words):
        """What follows an instruction, of all its steps."""
        return [rest for word, rest in self.steps if word in words]

    def environment(self):
        """Variables that ENV sets, references not yet replaced."""
        pairs = (pair.split("=", 1) for rest in self.rests("ENV") for pair in shlex.split(rest))
        return dict(pairs)


def stages(text):
    """`({ARG: default} before the first FROM, [stages])`."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    arguments, found = {}, []
    for line in filter(str.strip, joined.splitlines()):
        word, rest = line.split(None, 1)
        if word == "FROM":
            base, *alias = rest.split()
            found.append(Stage(base, alias[1] if alias else str(len(found))))
        elif not found:
            assert word == "ARG", line
            name, _, default = rest.partition("=")
            arguments[name] = default
        else:
            found[-1].steps.append((word, rest))
    return arguments, found


def read(path=ROOT / "Dockerfile"):
    return stages(path.read_text())


def copied(stage, source=None):
    """`[(paths, destination)]` of the COPY steps, those from the context or from a stage."""
    pairs = []
    for rest in stage.rests("COPY"):
        words = rest.split()
        origin = next((w.partition("=")[2] for w in words if w.startswith("--from=")), None)
        if origin == source:
            *paths, destination = [word for word in words if not word.startswith("--")]
            pairs.append((paths, destination))
    return pairs


def shell(stage):
    """Commands of the RUN steps; all of them must be plain `a && b`."""
    return [part.strip() for rest in stage.rests("RUN") for part in rest.split("&&")]


def context(root=ROOT):
    """Files that .dockerignore lets into the build's context: later patterns win."""
    lines = (root / ".dockerignore").read_text().splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    kept = [p[1:] for p in patterns if p.startswith("!")]
    never = [p for p in patterns if not p.startswith("!")]
    assert never[0] == "*" and patterns.index("*") == 0
    last_kept = max(i for i, p in enumerate(patterns) if p.startswith("!"))
    assert all(patterns.index(p) > last_kept for p in never[1:]), "exclusions come last"
    for name in kept:
        place = root / name
        for path in [place] if place.is_file() else place.rglob("*"):
            parents = [str(p) for p in [path, *path.parents]]
            dropped = any(
                fnmatch(p, f"*/{n.removeprefix('**/')}") for n in never[1:] for p in parents
            )
            if path.is_file() and not dropped:
                yield path.relative_to(root)
