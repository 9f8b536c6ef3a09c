"""One schedule per pipeline: made, replaced, paused, resumed, removed.

Kubeflow cannot change a recurring run. A replacement is made disabled, then the old one
is disabled, the new one enabled and the old one deleted: two are never enabled at once.
When a request of that fails, the one that ran before runs again. When the caller is gone
in between, the note of the new one says what it replaces and whether that ran, and the
next call finishes the replacement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import ConfigError, TesseraError
from kubeflow_pipelines.client.api import KubeflowClient
from kubeflow_pipelines.client.records import Recurring, Schedule

_NOTE = "made by tessera schedule"
_REPLACES = re.compile(r"replaces (?P<ids>[^;]+); it was (?P<state>enabled|paused)")


@dataclass(frozen=True)
class Change:
    """What `apply` did.

    Attributes:
      recurring: the schedule there is now.
      enabled: whether it starts runs.
      what: created, replaced, finished (a replacement that was interrupted) or unchanged.
    """

    recurring: Recurring
    enabled: bool
    what: str


def apply(client: KubeflowClient, schedule: Schedule) -> Change:
    """Makes a schedule the only one of its pipeline; a paused one stays paused.

    Raises:
      KubeflowError: a request failed; what ran before runs again, as far as the server
        lets it.
    """
    found = client.recurring_runs(schedule.launch.name)
    active = was_active(found)
    same = next((entry for entry in found if entry.does(schedule)), None)
    others = [entry for entry in found if entry is not same]
    if same is not None and not others and same.enabled == active:
        return Change(same, same.enabled, "unchanged")
    if same is None:
        what = "replaced" if others else "created"
        same = client.create_recurring(schedule, not others, _note(others, active))
    else:
        what = "finished"
    _switch(client, same, others, active)
    return Change(same, active, what)


def was_active(found: list[Recurring]) -> bool:
    """Tells whether a schedule starts runs, or did when its replacement was interrupted."""
    if not found or any(entry.enabled for entry in found):
        return True
    ids = {entry.recurring_id for entry in found}
    for entry in found:
        match = _REPLACES.search(entry.note)
        if match and ids & set(match["ids"].split(", ")):
            return match["state"] == "enabled"
    return False


def interrupted(found: list[Recurring]) -> bool:
    """Tells whether a replacement was begun and not finished."""
    return len(found) > 1


def pause(client: KubeflowClient, name: str) -> list[Recurring]:
    """Keeps a schedule from starting runs.

    Raises:
      ConfigError: there is none.
    """
    found = _some(client, name)
    running = [entry for entry in found if entry.enabled]
    for entry in running:
        client.disable(entry)
    if running:  # what it replaced must not look like an interrupted replacement
        for entry in found:
            if not entry.enabled:
                client.delete(entry)
    return running


def resume(client: KubeflowClient, name: str) -> bool:
    """Lets a paused schedule start runs; returns False when it does already.

    Raises:
      ConfigError: there is none, or it is not clear which.
    """
    found = _some(client, name)
    if any(entry.enabled for entry in found):
        return False
    if interrupted(found):
        raise ConfigError(
            f"the schedule {name} was being replaced when that was interrupted: finish it with "
            "tessera schedule FILE"
        )
    client.enable(found[0])
    return True


def delete(client: KubeflowClient, name: str) -> int:
    """Removes the schedule; returns how many recurring runs that were."""
    found = _some(client, name)
    for entry in found:
        client.delete(entry)
    return len(found)


def _some(client: KubeflowClient, name: str) -> list[Recurring]:
    found = client.recurring_runs(name)
    if not found:
        raise ConfigError(f"no schedule {name} on this server: make it with tessera schedule FILE")
    return found


def _note(others: list[Recurring], active: bool) -> str:
    if not others:
        return _NOTE
    ids = ", ".join(entry.recurring_id for entry in others)
    return f"{_NOTE}; replaces {ids}; it was {'enabled' if active else 'paused'}"


def _switch(client: KubeflowClient, new: Recurring, others: list[Recurring], active: bool) -> None:
    before = [entry for entry in others if entry.enabled]
    try:
        for entry in before:
            client.disable(entry)
        if active and not new.enabled:
            client.enable(new)
    except BaseException:
        if before and not new.enabled:
            _restore(client, new, before[0])
        raise
    for entry in others:
        client.delete(entry)


def _restore(client: KubeflowClient, new: Recurring, old: Recurring) -> None:
    """Lets the old one run again, once it is sure that the new one does not."""
    try:
        client.disable(new)
        client.enable(old)
    except TesseraError as error:
        raise TesseraError(
            f"the schedule {old.name} was being replaced, and neither the new nor the old one may "
            f"be enabled now; call tessera schedule again to finish it: {error}"
        ) from error
