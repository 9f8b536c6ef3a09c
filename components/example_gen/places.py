"""Where workers write, and how that comes to where it belongs.

Artifacts in a folder are written there. Workers that do not see that folder write below a URL
that everybody sees; it is named by the environment or by Beam's `--temp_location`. Artifacts
that are under a URL themselves are written in place.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from components.example_gen.report import LETTERS_DIR, REPORT_FILE
from core.files import write_json
from core.storage import SHARED_VARIABLE, ObjectStore, is_remote

_SCRATCH = ".scratch"


def shared_url(beam_args: Sequence[str]) -> str | None:
    """Returns the URL by way of which workers' files come here, None where they see our folders.

    Args:
      beam_args: Beam's options; `--temp_location` counts where it is a URL.
    """
    named = os.environ.get(SHARED_VARIABLE)
    if not named:
        options = PipelineOptions(list(beam_args)).view_as(GoogleCloudOptions)
        named = options.temp_location
    return named.rstrip("/") if is_remote(named) else None


class Places(NamedTuple):
    """Folders or URLs, for workers and for good.

    Attributes:
      examples: where workers write `Split-<name>/*.parquet`.
      report: where they write dead letters, counts and failures.
      final_examples: where the examples belong.
      final_report: where report and dead letters belong.
    """

    examples: str
    report: str
    final_examples: str
    final_report: str

    @property
    def letters(self) -> str:
        """Place of the dead letters."""
        return f"{self.report}/{LETTERS_DIR}"

    @property
    def counts(self) -> str:
        """Place of the counts."""
        # Beside the report, not in a local temporary folder: workers must reach it.
        return f"{self.report}/{_SCRATCH}/counts"

    @property
    def failures(self) -> str:
        """Place of the messages about files that cannot be read."""
        return f"{self.report}/{_SCRATCH}/failures"

    @property
    def verdict(self) -> str:
        """Place of the verdict on the tables as a whole."""
        return f"{self.report}/{_SCRATCH}/verdict"

    def has_split(self, split: str) -> bool:
        """Returns whether a split has a file."""
        folder = f"{self.examples}/Split-{split}"
        if is_remote(folder):
            return bool(ObjectStore(folder).list())
        return any(Path(folder).glob("*.parquet"))

    @contextmanager
    def local_letters(self) -> Iterator[Path]:
        """Yields a folder of this machine with the dead letters."""
        if not is_remote(self.letters):
            yield Path(self.letters)
            return
        with tempfile.TemporaryDirectory(prefix="tessera-letters-") as folder:
            _fetch(self.letters, Path(folder))
            yield Path(folder)

    def deliver(self, report: dict[str, Any]) -> None:
        """Brings everything to where it belongs; the report is written last."""
        if self.examples != self.final_examples:
            _fetch(self.examples, Path(self.final_examples))
        if self.report != self.final_report:
            _fetch(self.letters, Path(self.final_report) / LETTERS_DIR)
        if is_remote(self.final_report):
            content = json.dumps(report, indent=2, allow_nan=False) + "\n"
            ObjectStore(self.final_report).write(REPORT_FILE, content.encode())
        else:
            write_json(Path(self.final_report) / REPORT_FILE, report)


@contextmanager
def placed(examples_uri: str, report_uri: str, shared: str | None) -> Iterator[Places]:
    """Yields where to write; what is there for the time of the work alone goes with the block.

    Args:
      examples_uri: where the examples belong, a folder or a URL.
      report_uri: where the report and the dead letters belong.
      shared: see `shared_url`.
    """
    own = f"{shared}/example-gen-{uuid.uuid4().hex}" if shared else None
    places = Places(
        examples=_place(examples_uri, own, "examples"),
        report=_place(report_uri, own, "report"),
        final_examples=examples_uri,
        final_report=report_uri,
    )
    for final in (examples_uri, report_uri):
        _empty(final)  # an earlier try may have had other numbers of files
    if not is_remote(report_uri):
        (Path(report_uri) / LETTERS_DIR).mkdir(parents=True, exist_ok=True)
    try:
        yield places
    finally:
        if own is not None:
            _empty(own)
        if is_remote(places.report):
            _empty(f"{places.report}/{_SCRATCH}")
        else:
            shutil.rmtree(Path(places.report) / _SCRATCH, ignore_errors=True)


def _place(final: str, own: str | None, name: str) -> str:
    return final if own is None or is_remote(final) else f"{own}/{name}"


def _empty(place: str) -> None:
    if is_remote(place):
        store = ObjectStore(place)
        store.delete(store.list())
        return
    for path in Path(place).glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _fetch(url: str, folder: Path) -> None:
    store = ObjectStore(url)
    store.download_all(store.list(), folder)
