"""What the tests of publishing and of labels share."""

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from components.pusher.push import push
from tests.components.bundle_fixtures import (
    make_request,
    marked,
)

MODES = pytest.mark.parametrize("publish", ["rename", "ordered"])


def publish_marked(root, mark, **fields):
    return push(marked(make_request(root, mark, **fields), mark), blessed=True)


def three_versions(root, **fields):
    for mark in ("one", "two", "three"):
        publish_marked(root, mark, **fields)
    return root / "serving/demo"


def configured(model_dir, name="models.config"):
    """The entry of the model in a configuration, parsed as TensorFlow Serving parses it."""
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((model_dir.parent / name).read_text(), config)
    (entry,) = config.model_config_list.config
    return entry
