"""`models.config` and `models-scann.config`: what TensorFlow Serving is told.

Both lie in the serving folder, name every model published there and are derived from
each model's `pins.json`. Without labels the server takes the newest version by itself;
where versions are not renamed into place but grow there, it is named instead, because a
server would load a half-written one. With labels it gets exactly the labelled versions,
and the labels.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from components.bundle.links import SCANN_TREE, has_links
from components.bundle.mirror import shown
from components.bundle.pins import Pins, read_pins
from components.bundle.served import Served, served_of
from components.bundle.versions import list_versions, numbered_folders, written_in_place
from core.errors import BundleError, ConfigError
from core.files import staged_file
from core.storage import is_remote

MODELS_CONFIG = "models.config"
MODELS_SCANN_CONFIG = "models-scann.config"
_HEAD = """\
# --model_config_file of TensorFlow Serving, derived from each model's pins.json.
# Do not edit: `tessera promote`, `tessera rollback` and every push write it anew.
"""
#: What TensorFlow Serving 2.16.1 is built without.
_UNREADABLE = ("s3://", "s3a://")


def require_readable(base_path: str) -> None:
    """Refuses a base path that TensorFlow Serving cannot read.

    Raises:
      ConfigError: a path in S3, with the way that works.
    """
    if base_path.lower().startswith(_UNREADABLE):
        raise ConfigError(
            f"{base_path}: TensorFlow Serving reads local paths and gs://, not S3 ('File system "
            "scheme s3 not implemented'); run `tessera sync URL DIR` beside the server "
            "(docs/serving.md), or give the path where the bucket is mounted"
        )


def server_configs(
    serving_dir: Path, pins: Mapping[str, Pins] | None = None
) -> dict[str, model_server_config_pb2.ModelServerConfig]:
    """Returns the configurations of the plain and of the ScaNN-enabled server.

    Args:
      serving_dir: folder of the models.
      pins: pins by name of the model that count instead of those on the disk.

    Raises:
      BundleError: the pins of a model cannot be read.
    """
    serving_dir = Path(os.path.abspath(serving_dir))
    place = shown(serving_dir)
    plain = model_server_config_pb2.ModelServerConfig()
    scann = model_server_config_pb2.ModelServerConfig()
    # Without this a folder without models would give a file that says nothing at all.
    plain.model_config_list.SetInParent()
    scann.model_config_list.SetInParent()
    for model_dir in _model_folders(serving_dir):
        published = [bundle.version for bundle in list_versions(model_dir)]
        if not published:
            continue
        given = (pins or {}).get(model_dir.name)
        own = read_pins(model_dir) if given is None else given
        served = served_of(own, published)
        base = f"{own.server_root or place}/{model_dir.name}"
        if base.lower().startswith(_UNREADABLE):
            continue  # `tessera sync` writes the one that a server reads
        named = bool(served.labels) or is_remote(place) or written_in_place(model_dir)
        add_model(plain, model_dir.name, base, served, named)
        if has_links(model_dir):
            add_model(scann, model_dir.name, f"{base}/{SCANN_TREE}", served, named)
    return {MODELS_CONFIG: plain, MODELS_SCANN_CONFIG: scann}


def write_configs(
    serving_dir: Path, configs: Mapping[str, model_server_config_pb2.ModelServerConfig]
) -> None:
    """Writes each configuration that has changed, in one atomic step each.

    Hold `components.bundle.lock.config_lock` from before `server_configs` until here.
    """
    for name, config in configs.items():
        text = _HEAD + text_format.MessageToString(config)
        path = serving_dir / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        with staged_file(path) as staging:
            staging.write_text(text, encoding="utf-8")


def read_config(serving_dir: Path) -> dict[str, Served | None]:
    """Returns what `models.config` says is served, by model; None: the newest number there is.

    Versions whose folders are not there are left out, as TensorFlow Serving does.

    Raises:
      BundleError: it is no such configuration.
    """
    path, config = serving_dir / MODELS_CONFIG, model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), config)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise BundleError(f"{path}: cannot be read as a configuration: {error}") from error
    found: dict[str, Served | None] = {}
    for model in config.model_config_list.config:
        policy, there = model.model_version_policy, numbered_folders(serving_dir / model.name)
        if not policy.HasField("specific"):
            found[model.name] = None
            continue
        versions = sorted(version for version in policy.specific.versions if version in there)
        labels = {k: v for k, v in sorted(model.version_labels.items()) if v in there}
        found[model.name] = Served(tuple(versions), labels)
    return found


def add_model(
    config: model_server_config_pb2.ModelServerConfig,
    name: str,
    base_path: str,
    served: Served,
    named: bool,
) -> None:
    """Adds a model to a configuration.

    Args:
      config: to be added to.
      name: of the model.
      base_path: folder of its versions, as the server sees it.
      served: versions and labels.
      named: name the versions; otherwise the server takes the largest number it sees.
    """
    model = config.model_config_list.config.add()
    model.name = name
    model.base_path = base_path
    model.model_platform = "tensorflow"
    if named:
        model.model_version_policy.specific.versions.extend(served.versions)
    else:
        model.model_version_policy.latest.num_versions = 1
    for label, version in served.labels.items():
        model.version_labels[label] = version


def _model_folders(serving_dir: Path) -> list[Path]:
    return [
        path
        for path in sorted(serving_dir.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    ]
