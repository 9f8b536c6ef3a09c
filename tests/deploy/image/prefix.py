"""Carries the Dockerfile's steps out below a folder, without a Docker engine.

The same steps with the same files in the same order, but: absolute paths of the image lie below
a folder; the base images' Python is the one that runs the tests; and what `pip install -r` would
take from the package index are the files of the same locked versions that are installed here.
"""

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.image.size import installed_files
from pipeline.doctor.packages import read_lock
from tests.deploy.image.recipe import ROOT, context, read

#: Top folders that the Dockerfile names.
_ABSOLUTE = re.compile(r"(?<![\w.])(?=/(?:opt|src|home|gcs|minio|oci|s3)\b)")
_SHIMS = {
    "python": f'exec {sys._base_executable} "$@"',
    # Accounts and owners are left alone.
    "useradd": "exit 0",
    "install": 'exec /usr/bin/install "$1" -m 0775 "${@:8}"',
}


class Container:
    """An image's file system below a folder, and its environment.

    Attributes:
      root: what is `/` in the image.
      env: as ENV says, paths replaced.
      args: defaults of ARG; steps of the build see them, the image does not.
      folder: the WORKDIR.
    """

    def __init__(self, root, stage, built=None):
        self.root, self.stage, self.built = root, stage, built
        self.folder = root
        self.shims = root / "shims"
        self.shims.mkdir(parents=True)
        for name, line in _SHIMS.items():
            (self.shims / name).write_text(f"#!/bin/bash\n{line}\n")
            (self.shims / name).chmod(0o755)
        self.args = {}
        self.env = {"PATH": f"{self.shims}:/usr/bin:/bin", "HOME": str(root), "LANG": "C.UTF-8"}

    def inside(self, text):
        """Puts the image's absolute paths below the folder."""
        return _ABSOLUTE.sub(str(self.root), text)

    def build(self):
        """Carries out every step."""
        steps = {
            "ARG": self._arg,
            "ENV": self._env,
            "WORKDIR": self._workdir,
            "COPY": self._copy,
            "RUN": self._run,
        }
        for word, rest in self.stage.steps:
            if word in steps:
                steps[word](rest)
            else:
                assert word in {"LABEL", "USER", "ENTRYPOINT", "CMD"}, word
        return self

    def run(self, *words, timeout=600, **options):
        """Runs a command with the image's environment, in its WORKDIR."""
        return subprocess.run(
            words,
            cwd=self.folder,
            env={**self.env, "PATH": self.env["PATH"].replace(f"{self.shims}:", "")},
            capture_output=True,
            text=True,
            timeout=timeout,
            **options,
        )

    def _arg(self, rest):
        name, _, default = rest.strip().partition("=")
        self.args[name] = default

    def _env(self, rest):
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            self.env[name] = self.inside(value).replace("$PATH", self.env["PATH"])

    def _workdir(self, rest):
        self.folder = Path(self.inside(rest))
        self.folder.mkdir(parents=True, exist_ok=True)

    def _copy(self, rest):
        words = [word for word in rest.split() if not word.startswith("--")]
        *sources, destination = words
        target = self.folder / self.inside(destination)
        if "--from=" in rest:
            # Scripts name the folder that they were installed in: a link does as a copy would.
            for source in sources:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(self.built.inside(source))
            return
        files = list(context())
        for source in sources:
            found = [f for f in files if f == Path(source) or Path(source) in f.parents]
            assert found, f"{source} is not in the context"
            for file in found:
                below = file.relative_to(source) if file != Path(source) else None
                place = target / below if below else target
                if below is None and destination.endswith("/"):
                    place = target / file.name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, place)

    def _run(self, rest):
        for command in rest.split("&&"):
            words = shlex.split(self.inside(command))
            if words[1:2] == ["install"] and "-r" in words:
                assert {"--require-hashes", "--no-deps"} <= set(words)
                lock = self.folder / words[words.index("-r") + 1]
                install(read_lock(lock), Path(words[0]).parents[1])
                continue
            done = subprocess.run(
                ["bash", "-ec", self.inside(command)],
                cwd=self.folder,
                env={**self.args, **self.env},
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def install(locked, prefix):
    """Gives an environment the distributions of this one, file by file, by hard links."""
    (site,) = prefix.glob("lib/python3.*/site-packages")
    there = {
        d.metadata["Name"].lower(): d for d in importlib.metadata.distributions(path=[str(site)])
    }
    made = set()
    for name, version in locked.items():
        distribution = importlib.metadata.distribution(name)
        assert distribution.version == version, f"{name} {distribution.version}, not {version}"
        old = there.get(name.lower())
        if old is not None and old.version == version:
            continue
        if old is not None:
            _uninstall(old)
        for path, _ in installed_files(distribution):
            target = f"{prefix}{path.removeprefix(sys.prefix)}"
            assert target.startswith(f"{prefix}/") and path.startswith(f"{sys.prefix}/"), path
            parent = os.path.dirname(target)
            if parent not in made:
                os.makedirs(parent, exist_ok=True)
                made.add(parent)
            if "/site-packages/" in path:
                _link(path, target)
            else:
                _script(path, target, prefix)


def _uninstall(distribution):
    for path, _ in installed_files(distribution):
        os.unlink(path)
        if not os.listdir(os.path.dirname(path)):
            os.removedirs(os.path.dirname(path))


def _link(path, target):
    if os.path.exists(target):
        os.unlink(target)
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _script(path, target, prefix):
    """Copies, because scripts name the Python that runs them."""
    content = Path(path).read_bytes()
    first, newline, rest = content.partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        content = f"#!{prefix}/bin/python".encode() + newline + rest
    Path(target).write_bytes(content)
    shutil.copymode(path, target)


def image(folder):
    """Returns the image that the Dockerfile describes, below a folder."""
    build, final = read()[1]
    built = Container(folder / "build", build).build()
    return Container(folder / "image", final, built).build()
