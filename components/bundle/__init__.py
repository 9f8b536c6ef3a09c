"""Published bundles: their manifest, their version numbers and their verification.

Shared by the pusher, the baseline resolver and the command line. Free of TensorFlow.
"""

from components.bundle.days import pushed_spans
from components.bundle.manifest import MANIFEST_NAME, FileEntry, Manifest, read_manifest
from components.bundle.mirror import mirrored
from components.bundle.opened import opened_bundle
from components.bundle.pins import Pins, read_pins, write_pins
from components.bundle.served import Served
from components.bundle.verify import VerifiedBundle, open_bundle, resolve_version_dir, verify
from components.bundle.versions import BundleVersion, latest_version, list_versions

__all__ = [
    "MANIFEST_NAME",
    "VerifiedBundle",
    "BundleVersion",
    "FileEntry",
    "Manifest",
    "Pins",
    "Served",
    "latest_version",
    "list_versions",
    "mirrored",
    "open_bundle",
    "opened_bundle",
    "pushed_spans",
    "read_manifest",
    "read_pins",
    "resolve_version_dir",
    "verify",
    "write_pins",
]
