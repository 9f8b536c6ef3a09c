"""The steps that docs/serving.md gives for labels are ones that a running server accepts."""

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from components.bundle.labels import change, promoted, rolled_back
from components.bundle.model_config import MODELS_CONFIG
from components.pusher.push import push
from tests.components.bundle_fixtures import make_request


class ModelServer:
    """TensorFlow Serving's rules about labels (ServerCore::ReloadConfig).

    Labels are looked at before anything is loaded. With
    `allow_version_labels_for_unavailable_models` a new label may name any version; one that
    is in use moves only to a version that is loaded, or the whole configuration is refused.
    """

    def __init__(self):
        self.loaded, self.labels = set(), {}

    def poll(self, path):
        """Reads the configuration, as often as it likes; returns whether it was accepted."""
        config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
        (model,) = config.model_config_list.config
        for label, version in model.version_labels.items():
            moves = self.labels.get(label, version) != version
            if moves and version not in self.loaded:
                return False
        self.labels = dict(model.version_labels)
        self.loaded = set(model.model_version_policy.specific.versions)
        return True

    def answers(self, label):
        version = self.labels.get(label)
        return version if version in self.loaded else None


@pytest.fixture
def folder(tmp_path):
    """Three published versions, the first of them served as `stable`."""
    for content in ("one", "two", "three"):
        push(make_request(tmp_path, content), blessed=True)
    model_dir = tmp_path / "serving/demo"
    promote(model_dir, 1)
    return model_dir


def promote(model_dir, version, label="stable"):
    change(model_dir, lambda pins, found: promoted(pins, found, version, label))


def roll_back(model_dir, target=None):
    change(model_dir, lambda pins, found: rolled_back(pins, found, target))


def started(folder):
    server = ModelServer()
    assert server.poll(folder.parent / MODELS_CONFIG)
    return server


def steps(folder, server, *actions):
    """Takes each step; the server accepts it and `stable` never goes unanswered."""
    seen = []
    for action, *words in actions:
        action(folder, *words)
        assert server.poll(folder.parent / MODELS_CONFIG), (action.__name__, words)
        seen.append(server.answers("stable"))
    return seen


def test_a_version_that_is_not_loaded_can_not_take_over_a_label_in_use(folder):
    server = started(folder)
    promote(folder, 2)
    assert not server.poll(folder.parent / MODELS_CONFIG)
    assert not server.poll(folder.parent / MODELS_CONFIG)  # nor ever: it is never loaded
    assert server.answers("stable") == 1
    assert started(folder).answers("stable") == 2  # a server that is started anew takes it


def test_a_canary_is_promoted_without_a_gap(folder):
    server = started(folder)
    assert steps(folder, server, (promote, 2, "canary"), (promote, 2)) == [1, 2]


def test_a_canary_is_taken_back_without_a_gap(folder):
    server = started(folder)
    assert steps(folder, server, (promote, 2, "canary"), (roll_back,)) == [1, 1]
    assert server.loaded == {1}


def test_a_version_kept_as_previous_takes_over_at_once(folder):
    server = started(folder)
    actions = [(promote, 2, "canary"), (promote, 1, "previous"), (promote, 2)]
    assert steps(folder, server, *actions) == [1, 1, 2]
    assert server.loaded == {1, 2}
    assert steps(folder, server, (roll_back,)) == [1]
    assert server.loaded == {1}


def test_a_version_that_was_unloaded_is_loaded_before_the_label_moves(folder):
    server = started(folder)
    assert steps(folder, server, (promote, 3, "canary"), (promote, 3)) == [1, 3]
    assert server.loaded == {3}
    assert steps(folder, server, (promote, 1, "previous"), (roll_back, 1)) == [3, 1]
