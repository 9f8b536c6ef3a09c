"""What a bundle is made of: where each file comes from and where it goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from components.bundle.manifest import MANIFEST_NAME, FileEntry, content_digest
from components.bundle.verify import tree_files
from components.bundle.versions import SAVED_MODEL
from components.serving_validator.layout import OVERLAY
from core.digest import file_sha256
from core.errors import PushError

RETRIEVER = "retriever"
EVALUATION = "evaluation.json"
WARM_START = "warm_start"
#: Inside the model artifact (tfx.utils.path_utils.serving_model_dir).
MODEL_WARM_START = Path("Format-Serving") / WARM_START


@dataclass(frozen=True)
class Content:
    """Files to publish, by their relative path in the bundle, and their digests.

    Attributes:
      sources: path in the bundle -> the file to copy.
      files: path in the bundle -> digest and size.
      findings: paths that were found out about index and model and are no part of them.
      base: published version that some files are taken over from, as links or copies inside
        the store.
      kept: those files; they have the same paths there.
    """

    sources: dict[str, Path]
    files: dict[str, FileEntry]
    findings: frozenset[str] = frozenset({EVALUATION})
    base: int | None = None
    kept: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """Digest of index and model; evaluations and validations of equal ones do not matter."""
        return content_digest({n: e for n, e in self.files.items() if n not in self.findings})

    def plus(self, name: str, path: Path) -> Content:
        """Returns the content with one more finding.

        Raises:
          PushError: the name is taken.
        """
        sources = dict(self.sources)
        _add(sources, name, path)
        entry = FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size)
        files, findings = {**self.files, name: entry}, self.findings | {name}
        return replace(self, sources=sources, files=files, findings=findings)


def collect_content(
    index_dir: Path,
    model_dir: Path | None,
    evaluation_dir: Path | None,
    validation_dir: Path | None = None,
) -> Content:
    """Lists and digests the files of a bundle.

    The stock-ops SavedModel (`retriever/`) goes to the top, where TensorFlow
    Serving looks for it; everything else of the index keeps its place, and so does
    what the validator adds (`bundle/` of the validation).

    Raises:
      PushError: the index holds no SavedModel, or two files claim one place.
    """
    sources: dict[str, Path] = {}
    for name in tree_files(index_dir):
        _add(sources, name.removeprefix(f"{RETRIEVER}/"), index_dir / name)
    if SAVED_MODEL not in sources:
        raise PushError(f"{index_dir}: no {RETRIEVER}/{SAVED_MODEL}, so there is nothing to serve")
    if model_dir is not None:
        warm_start = model_dir / MODEL_WARM_START
        for name in tree_files(warm_start):
            _add(sources, f"{WARM_START}/{name}", warm_start / name)
    findings = {EVALUATION}
    if evaluation_dir is not None and (evaluation_dir / EVALUATION).exists():
        _add(sources, EVALUATION, evaluation_dir / EVALUATION)
    if validation_dir is not None:
        overlay = validation_dir / OVERLAY
        for name in tree_files(overlay):
            _add(sources, name, overlay / name)
            findings.add(name)
    files = {
        name: FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size)
        for name, path in sorted(sources.items())
    }
    return Content({name: sources[name] for name in files}, files, frozenset(findings))


def _add(sources: dict[str, Path], target: str, source: Path) -> None:
    if target in sources or target == MANIFEST_NAME:
        raise PushError(f"{source}: another file of the bundle has the same place, {target}")
    sources[target] = source
