"""Which published version is the baseline; free of TFX."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.bundle.labels import STABLE
from components.bundle.manifest import Manifest
from components.bundle.mirror import shown, told
from components.bundle.pins import read_pins
from components.bundle.span import span_date
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
class ResolvedBaseline:
    """The outcome of a resolution.

    Attributes:
      found: the version to compare with, None when there is none.
      warm_start: whether training may start from it.
      reason: in words.
    """

    found: BundleVersion | None
    warm_start: bool
    reason: str


def candidates(
    model_dir: Path, training_digest: str, span: int | None, fingerprint: str = ""
) -> list[BundleVersion]:
    """Returns the versions that may be the baseline, best first: what is served, then the newest.

    Where labels say what is served, as after a rollback, that version comes first and the one
    before it second; a newer one was taken back, or nobody has promoted it yet.

    With spans, those of earlier spans. Without, those that were trained in
    another way or on other data. Either way a re-run does not see what its first run published,
    so it resolves the same baseline and is answered from the cache.

    Args:
      model_dir: `<serving_dir>/<name>`.
      training_digest: configuration and code of this run, without the data.
      span: last day of this run's data, days since 1970-01-01; None: no spans.
      fingerprint: digest of this run's data, '' when it is not known.
    """
    versions, broken = scan(model_dir)
    for number, reason in sorted(broken.items()):
        _log.warning("version %d is skipped as baseline: %s", number, told(reason, model_dir))
    eligible = [
        v for v in reversed(versions) if _eligible(v.manifest, training_digest, span, fingerprint)
    ]
    first = _chosen(model_dir)
    return sorted(eligible, key=lambda v: first.index(v.version) if v.version in first else 2)


def _chosen(model_dir: Path) -> list[int | None]:
    """Returns the version that somebody has chosen to serve, and the one before it."""
    pins = read_pins(model_dir)
    if not pins.labels:
        return []
    return [pins.labels.get(STABLE, max(pins.labels.values())), pins.previous]


def _eligible(manifest: Manifest, training_digest: str, span: int | None, fingerprint: str) -> bool:
    if span is None:
        other_data = bool(fingerprint) and manifest.data_fingerprint != fingerprint
        other_training = manifest.training_digest != training_digest
        return manifest.span is None and (other_training or other_data)
    return manifest.span is not None and manifest.span < span


def resolve(
    model_dir: Path, training_digest: str, span: int | None, fingerprint: str = ""
) -> ResolvedBaseline:
    """Returns the first candidate whose files all match its manifest.

    Training starts from it only where there are spans: only there is it certain
    that the baseline has not seen the events this run is evaluated on. See
    `candidates` for the arguments.
    """
    eligible = candidates(model_dir, training_digest, span, fingerprint)
    for bundle in eligible:
        try:
            verify(bundle.path)
        except BundleError as error:
            reason = told(str(error), model_dir)
            _log.warning("version %d is skipped as baseline: %s", bundle.version, reason)
            continue
        day = f", span {bundle.manifest.run_date}" if bundle.manifest.run_date else ""
        reason = f"baseline is version {bundle.version}{day}"
        return ResolvedBaseline(bundle, span is not None, reason)
    if eligible:
        return ResolvedBaseline(
            None, False, f"no baseline: all {len(eligible)} candidates are damaged"
        )
    kind = (
        "of another training or other data"
        if span is None
        else f"of a span before {span_date(span)}"
    )
    return ResolvedBaseline(None, False, f"no baseline: {shown(model_dir)} holds no version {kind}")


def write_outputs(baseline: ResolvedBaseline, baseline_dir: Path, model_dir: Path) -> None:
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
            "path": None if found is None else shown(found.path),
            "warm_start": baseline.warm_start,
            "reason": baseline.reason,
        },
    )
    for target in (baseline_dir / BUNDLE_FOLDER, model_dir / MODEL_FOLDER / WARM_START):
        if target.exists():
            shutil.rmtree(target)
    (model_dir / MARKER).unlink(missing_ok=True)
    if found is not None:
        _copy(found.path, baseline_dir / BUNDLE_FOLDER)
        if baseline.warm_start and (found.path / WARM_START).is_dir():
            _copy(found.path / WARM_START, model_dir / MODEL_FOLDER / WARM_START)
            return
    model_dir.mkdir(parents=True, exist_ok=True)
    (model_dir / MARKER).write_text(f"nothing to start from; {baseline.reason}\n")


def _copy(source: Path, target: Path) -> None:
    with staged_directory(target) as staging:
        shutil.copytree(source, staging, dirs_exist_ok=True)
