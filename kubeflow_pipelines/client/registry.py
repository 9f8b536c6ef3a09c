"""Which days have been published, as far as that can be read from here."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path

from core.errors import TesseraError

_LOG = logging.getLogger(__name__)


def done_dates(serving_root: str, name: str) -> dict[dt.date, int] | None:
    """Returns the newest published version of every day, None when nobody here can know.

    A folder that does not exist is one of the cluster's: it says nothing.

    Args:
      serving_root: a folder, or a URL in an object store.
      name: of the model.
    """
    if "://" not in serving_root:
        folder = Path(serving_root).expanduser()
        if not folder.is_dir():
            return None
        serving_root = str(folder)
    from components.bundle.days import pushed_spans

    try:
        return pushed_spans(serving_root, name)
    except (TesseraError, OSError, ImportError) as error:
        _LOG.warning("the published versions cannot be read: %s", error)
        return None
