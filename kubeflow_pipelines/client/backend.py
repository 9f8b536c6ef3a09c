"""What a Kubeflow Pipelines backend can do, by the version that it tells."""

from __future__ import annotations

import re

from core.errors import ConfigError

#: The first that hands an exit handler its run's status (kubeflow/pipelines#11953); those
#: before refuse the pipeline.
_RUNS = (2, 14)
#: The first whose API server fills in the day on which it creates a run.
_FILLS_IN_DAY = (2, 16)
_RELEASE = re.compile(r"v?(\d+)\.(\d+)(?:\.\d+)?(?:[-+.].*)?")


def fills_in_day(version: str) -> bool | None:
    """Tells whether a server fills a run's day in, None when its version is unknown."""
    return _at_least(version, _FILLS_IN_DAY)


def require_backend(host: str, version: str) -> None:
    """Refuses a server that is known to be too old to run a compiled pipeline.

    Raises:
      ConfigError: it is.
    """
    if _at_least(version, _RUNS) is False:
        raise ConfigError(
            f"{host} runs Kubeflow Pipelines {version}, which refuses exit handlers that are told "
            f"how a run ended: upgrade it to {_RUNS[0]}.{_RUNS[1]} or later"
        )


def _at_least(version: str, wanted: tuple[int, int]) -> bool | None:
    match = _RELEASE.fullmatch(version)
    return None if match is None else (int(match[1]), int(match[2])) >= wanted
