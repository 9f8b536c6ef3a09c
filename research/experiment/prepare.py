"""Gets the data of an experiment ready: tables, examples, transform graph."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from core.digest import code_digest, file_sha256, json_digest
from core.errors import ConfigError
from core.files import read_json, write_json
from input_tables.generate.config import GeneratorConfig
from input_tables.layout import find_tables
from pipeline.config import RunConfig
from research.experiment.config import ExperimentConfig

_GENERATOR_FILE = "generator.json"
#: Sections of a run configuration that decide its examples and transform graph.
_DATA_SECTIONS = (
    "name", "work_dir", "data", "examples", "features", "gate", "transform", "schema_dir",
)  # fmt: skip
#: Code that decides them.
_DATA_CODE = ("core", "input_tables", "components/example_gen", "trainer/preprocessing.py")


@dataclass(frozen=True)
class Prepared:
    """The data of one data set, ready for training.

    Attributes:
      examples: URI of the raw examples.
      transformed: URI of the transformed examples.
      transform_graph: URI of the transform graph.
      fingerprint: of the raw examples' content.
    """

    examples: str
    transformed: str
    transform_graph: str
    fingerprint: str


def prepare(config: ExperimentConfig, dataset: str, *, verbose: bool = False) -> Prepared:
    """Makes tables where asked for, then runs the pipeline as far as Transform.

    What an earlier experiment or `tessera run` made of the same input is reused; when
    nothing changed since the last experiment, TFX is not even imported.

    Args:
      config: the experiment.
      dataset: one of its data sets.
      verbose: show all log records on the terminal.

    Raises:
      TesseraError: the tables are wrong, or a component failed.
    """
    run = config.data_config(dataset)
    generator = config.datasets[dataset].generate
    if generator is not None:
        make_tables(generator, Path(run.data.root))
    found = find_prepared(config, dataset)
    if found is not None:
        return found
    from pipeline.local.runner import run_data_local

    nodes = run_data_local(run, verbose=verbose)
    examples = nodes["RetrievalExampleGen"].outputs["examples"]
    transform = nodes["Transform"].outputs
    prepared = Prepared(
        examples=str(examples),
        transformed=str(transform["transformed_examples"]),
        transform_graph=str(transform["transform_graph"]),
        fingerprint=fingerprint(examples),
    )
    write_json(_record(config, run), asdict(prepared))
    return prepared


def find_prepared(config: ExperimentConfig, dataset: str) -> Prepared | None:
    """Returns what an earlier call of `prepare` made, None when it must be made anew."""
    run = config.data_config(dataset)
    generator = config.datasets[dataset].generate
    if generator is not None and not made_with(generator, Path(run.data.root)):
        return None
    record = _record(config, run)
    if not record.is_file():
        return None
    prepared = Prepared(**read_json(record))
    folders = (prepared.examples, prepared.transformed, prepared.transform_graph)
    return prepared if all(os.path.isdir(folder) for folder in folders) else None


def make_tables(config: GeneratorConfig, root: Path) -> None:
    """Generates tables unless they are there, made with the same settings.

    Raises:
      ConfigError: the folder holds something that was not generated.
    """
    if made_with(config, root):
        return
    if root.exists() and any(root.iterdir()) and not (root / _GENERATOR_FILE).is_file():
        raise ConfigError(
            f"data.root {root}: holds files that were not generated (no {_GENERATOR_FILE}); "
            "give `generate` another data.root"
        )
    from input_tables.generate import write_generated

    write_generated(config, root, force=True)


def made_with(config: GeneratorConfig, root: Path) -> bool:
    """True where a folder holds tables generated with these settings."""
    path = root / _GENERATOR_FILE
    return path.is_file() and read_json(path) == config.model_dump(mode="json")


def fingerprint(examples: str | Path) -> str:
    """Returns a digest of the content of raw examples, whatever their folder is called."""
    root = Path(examples)
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.parquet")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(file_sha256(path).encode())
    return digest.hexdigest()[:16]


def _record(config: ExperimentConfig, run: RunConfig) -> Path:
    """The file that says where the data of a run configuration is.

    Its name changes with the settings, the code and the tables (size and time of each).

    Raises:
      DataError: the tables are missing.
    """
    dumped = run.model_dump(mode="json")
    tables = [
        (file.path, file.bytes, os.stat(file.path).st_mtime_ns)
        for file in find_tables(run.data, run.features.columns()).files
    ]
    key = json_digest(
        {
            "config": {s: dumped[s] for s in _DATA_SECTIONS if s in dumped},
            "code": code_digest(_DATA_CODE),
            "tables": tables,
        }
    )
    return Path(config.work_dir) / "data" / f"{key}.json"
