"""Which published version is the baseline; free of TFX."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.bundle.verify import verify
from components.bundle.versions import BundleVersion, scan
from core.errors import BundleError
from core.files import staged_directory, write_json

_log = logging.getLogger("tessera")

BUNDLE_FOLDER = "bundle"
WARM_START = "warm_start"
#: Where the Trainer looks inside its base model.
MODEL_FOLDER = "Format-Serving"
MARKER = "NO_BASELINE"


@dataclass(frozen=True)
class Baseline:
    """The outcome of a resolution."""

    found: BundleVersion | None
    reason: str


def candidates(model_dir: Path, training_digest: str, span: int) -> list[BundleVersion]:
    """Returns the versions of earlier spans and other trainings, newest first.

    A re-run of a span never sees what an earlier run of the same span published,
    so it resolves the same baseline and is answered from the cache.
    """
    versions, broken = scan(model_dir)
    for number, reason in sorted(broken.items()):
        _log.warning("version %d is skipped as baseline: %s", number, reason)
    return [
        bundle
        for bundle in reversed(versions)
        if bundle.manifest.training_digest != training_digest
        and bundle.manifest.span is not None
        and bundle.manifest.span < span
    ]


def resolve(model_dir: Path, training_digest: str, span: int) -> Baseline:
    """Returns the newest candidate whose files all match its manifest."""
    eligible = candidates(model_dir, training_digest, span)
    for bundle in eligible:
        try:
            verify(bundle.path)
        except BundleError as error:
            _log.warning("version %d is skipped as baseline: %s", bundle.version, error)
            continue
        return Baseline(bundle, f"baseline is version {bundle.version} of {bundle.path.parent}")
    if eligible:
        return Baseline(None, f"no baseline: all {len(eligible)} candidates are damaged")
    return Baseline(None, f"no baseline: {model_dir} holds no version of a span before {span}")


def write_outputs(baseline: Baseline, baseline_dir: Path, model_dir: Path) -> None:
    """Copies the baseline into the artifacts that later components read.

    Args:
      baseline: what `resolve` returned.
      baseline_dir: gets `bundle/` when one was found, and `baseline.json` always.
      model_dir: gets `Format-Serving/warm_start/`, or the marker `NO_BASELINE`.
        A folder without any file would not survive an object store.
    """
    found = baseline.found
    write_json(
        baseline_dir / "baseline.json",
        {
            "found": found is not None,
            "version": None if found is None else found.version,
            "path": None if found is None else str(found.path),
            "reason": baseline.reason,
        },
    )
    for target in (baseline_dir / BUNDLE_FOLDER, model_dir / MODEL_FOLDER / WARM_START):
        if target.exists():
            shutil.rmtree(target)
    (model_dir / MARKER).unlink(missing_ok=True)
    if found is None:
        model_dir.mkdir(parents=True, exist_ok=True)
        (model_dir / MARKER).write_text(baseline.reason + "\n")
        return
    _copy(found.path, baseline_dir / BUNDLE_FOLDER)
    if (found.path / WARM_START).is_dir():
        _copy(found.path / WARM_START, model_dir / MODEL_FOLDER / WARM_START)
    else:
        (model_dir / MARKER).write_text(f"version {found.version} has no {WARM_START} files\n")


def _copy(source: Path, target: Path) -> None:
    with staged_directory(target) as staging:
        shutil.copytree(source, staging, dirs_exist_ok=True)
