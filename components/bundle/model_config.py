"""`models.config` and `models-scann.config`: what TensorFlow Serving is told.

Both lie in the serving folder, name every model published there and are derived from
each model's `pins.json`: without labels the server takes the newest version by itself;
with labels it gets exactly the labelled versions, and the labels.
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
from components.bundle.versions import list_versions
from core.files import staged_file

MODELS_CONFIG = "models.config"
MODELS_SCANN_CONFIG = "models-scann.config"
_HEAD = """\
# --model_config_file of TensorFlow Serving, derived from each model's pins.json.
# Do not edit: `tessera promote`, `tessera rollback` and every push write it anew.
"""


def server_configs(
    serving_dir: Path, pins: Mapping[str, Pins] | None = None
) -> dict[str, model_server_config_pb2.ModelServerConfig]:
    """Returns the configurations of the plain and of the ScaNN-enabled server.

    Args:
      serving_dir: folder of the models.
      pins: pins by name of the model that count instead of those on the disk.

    Raises:
      BundleError: the pins of a model can not be read.
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
        _add(plain, model_dir.name, base, served)
        if has_links(model_dir):
            _add(scann, model_dir.name, f"{base}/{SCANN_TREE}", served)
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


def _add(
    config: model_server_config_pb2.ModelServerConfig, name: str, base_path: str, served: Served
) -> None:
    model = config.model_config_list.config.add()
    model.name = name
    model.base_path = base_path
    model.model_platform = "tensorflow"
    if served.labels:
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
