"""What a bundle is made of: where each file comes from and where it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.bundle.manifest import FileEntry, content_digest
from components.bundle.verify import tree_files
from core.digest import file_sha256
from core.errors import PushError

RETRIEVER = "retriever"
SAVED_MODEL = "saved_model.pb"
EVALUATION = "evaluation.json"
WARM_START = "warm_start"
#: Inside the model artifact (tfx.utils.path_utils.serving_model_dir).
MODEL_WARM_START = Path("Format-Serving") / WARM_START


@dataclass(frozen=True)
class Content:
    """Files to publish, by their relative path in the bundle, and their digests."""

    sources: dict[str, Path]
    files: dict[str, FileEntry]

    @property
    def digest(self) -> str:
        """Digest of index and model; evaluations of equal content do not matter."""
        return content_digest({n: entry for n, entry in self.files.items() if n != EVALUATION})


def collect_content(
    index_dir: Path, model_dir: Path | None, evaluation_dir: Path | None
) -> Content:
    """Lists and digests the files of a bundle.

    The stock-ops SavedModel (`retriever/`) goes to the top, where TensorFlow
    Serving looks for it; everything else of the index keeps its place.

    Raises:
      PushError: the index holds no SavedModel, or two files claim one place.
    """
    sources: dict[str, Path] = {}
    for name in tree_files(index_dir):
        target = name.removeprefix(f"{RETRIEVER}/")
        if target in sources or target == "manifest.json":
            raise PushError(f"{index_dir / name}: another file of the bundle has the same place")
        sources[target] = index_dir / name
    if SAVED_MODEL not in sources:
        raise PushError(f"{index_dir}: no {RETRIEVER}/{SAVED_MODEL}, so there is nothing to serve")
    if model_dir is not None:
        warm_start = model_dir / MODEL_WARM_START
        sources |= {f"{WARM_START}/{name}": warm_start / name for name in tree_files(warm_start)}
    if evaluation_dir is not None and (evaluation_dir / EVALUATION).exists():
        sources[EVALUATION] = evaluation_dir / EVALUATION
    files = {
        name: FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size)
        for name, path in sorted(sources.items())
    }
    return Content({name: sources[name] for name in files}, files)
