"""Errors a user can act on.

Each message says what is wrong, the value seen, the file or key, and the mend.
`exit_code` is what the command line returns: 1 when a run failed or was not
blessed, 2 when the caller's words, configuration or data are wrong.
"""

from __future__ import annotations


class TesseraError(Exception):
    """Base of every error that Tessera raises on purpose."""

    exit_code = 1


class ConfigError(TesseraError):
    """A configuration key or value, or a command-line argument, is wrong."""

    exit_code = 2


class DataError(TesseraError):
    """The input tables are missing, malformed or break the data contract."""

    exit_code = 2


class DataGateError(DataError):
    """The data gate stopped the pipeline before anything was trained."""


class JobError(TesseraError):
    """A Beam job failed on its workers; none of its outputs is used."""


class TrainingError(TesseraError):
    """Training cannot go on (loss is not finite, warm start does not fit, ...)."""


class StoppedError(TesseraError):
    """The user stopped the run (Ctrl-C)."""


class ExportError(TesseraError):
    """The trained model could not be exported or read back."""


class IndexQualityError(TesseraError):
    """The index is wrong: duplicate ids, non-finite vectors, recall below target."""


class PushError(TesseraError):
    """Publishing a bundle failed; the versions published before are untouched."""


class BundleError(TesseraError):
    """A published bundle is missing, incomplete or does not match its manifest."""

    exit_code = 2
