"""What the image's packages bring that no run needs: the rules, and a command that removes it.

`python deploy/image/trim.py PREFIX` runs in the build stage of the Dockerfile, so it needs
nothing but the standard library. `deploy.image.size` counts with the same rules.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

_HEADERS = frozenset({".h", ".hh", ".hpp", ".inl", ".cuh"})
_SOURCES = frozenset({".c", ".cc", ".cpp", ".cu", ".cxx", ".pxd", ".pxi", ".pyx"})
#: Only extensions that are built against them would read these.
_INCLUDE_FOLDERS = ("tensorflow/include/", "pyarrow/include/", "numpy/core/include/")
_PAGES = ("share/jupyter/", "etc/jupyter/")


class TrimRule(NamedTuple):
    """One kind of file that is left out.

    Attributes:
      name: as it is printed.
      reason: why no run needs it.
      matches: tells by the path below the prefix.
    """

    name: str
    reason: str
    matches: Callable[[str], bool]


def _is_header(path: str) -> bool:
    return _suffix(path) in _HEADERS or any(folder in path for folder in _INCLUDE_FOLDERS)


def _is_test(path: str) -> bool:
    # Not `test` nor `testing`: tf.test and apache_beam.testing are imported at run time.
    return "/site-packages/" in path and "/tests/" in path


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1]


#: Compiled modules (__pycache__) are kept: a task starts in less than half the time with them.
RULES = (
    TrimRule("headers", "for building extensions", _is_header),
    TrimRule(
        "libclang", "a compiler's library; nothing imports it", lambda p: p.endswith("/libclang.so")
    ),
    TrimRule("tests", "the packages' own tests", _is_test),
    TrimRule(
        "jupyter", "pages of JupyterLab, which is not started", lambda p: p.startswith(_PAGES)
    ),
    TrimRule("sources", "of extensions that are compiled", lambda p: _suffix(p) in _SOURCES),
    TrimRule("archives", "static libraries", lambda p: _suffix(p) in {".a", ".la"}),
)


def trimmed_by(path: str) -> str | None:
    """Returns the name of the rule that leaves a file out, None when it stays.

    Args:
      path: below the prefix, such as `lib/python3.10/site-packages/numpy/version.py`.
    """
    return next((rule.name for rule in RULES if rule.matches(path)), None)


def trim(prefix: str) -> Counter[str]:
    """Removes what the rules name, and folders that are left empty.

    Returns:
      rule -> bytes.
    """
    removed: Counter[str] = Counter()
    for folder, _, names in os.walk(prefix, topdown=False):
        for name in names:
            path = os.path.join(folder, name)
            rule = trimmed_by(os.path.relpath(path, prefix))
            if rule is not None:
                removed[rule] += os.lstat(path).st_size
                os.unlink(path)
        if folder != prefix and not os.listdir(folder):
            os.rmdir(folder)
    return removed


def main(arguments: Sequence[str] | None = None) -> int:
    """Trims the prefix that the command line names."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if len(given) != 1 or not os.path.isfile(os.path.join(given[0], "pyvenv.cfg")):
        sys.stderr.write("usage: image_trim.py PREFIX (a virtual environment)\n")
        return 2
    for rule, size in trim(given[0]).most_common():
        sys.stdout.write(f"removed {size / 1e6:8.1f} MB  {rule}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
