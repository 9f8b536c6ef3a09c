"""Names inside the `validation` artifact and of what it adds to a bundle."""

from __future__ import annotations

#: The verdict.
VALIDATION_FILE = "validation.json"
#: Folder whose files the Pusher adds to the bundle, at their relative paths.
OVERLAY = "bundle"
#: Sample of real requests, as raw features.
REQUESTS_FILE = "requests.parquet"
