"""The Kubernetes files of an index in shards."""

import kubernetes_validate
import pytest

from tests.deploy.deployment_files import SERVING, documents

FOLDER = SERVING / "kubernetes/shards"
FILES = documents(FOLDER / "kustomization.yaml")[0]["resources"]


def one(name, kind):
    (found,) = [each for each in documents(FOLDER / name) if each["kind"] == kind]
    return found


def arguments(name):
    (container,) = one(name, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container["args"]


@pytest.mark.parametrize("name", FILES)
def test_kubernetes_accepts_them(name):
    for document in documents(FOLDER / name):
        for version in ("1.27", "1.37"):
            assert kubernetes_validate.validate(document, version, strict=True) == version


def test_the_shards_are_alike_but_for_their_numbers():
    first, second = (FOLDER / f"shard-{n}.yaml" for n in (0, 1))
    text = first.read_text().replace("hard-0", "hard-1").replace("shard 0", "shard 1")
    assert text.replace('--shard, "0"', '--shard, "1"') == second.read_text()


def test_the_router_asks_the_replicas_of_every_shard():
    shards = [name for name in FILES if name.startswith("shard-")]
    services = [one(name, "Service") for name in shards]
    assert all(each["spec"]["clusterIP"] == "None" for each in services)
    names = [f"--shard={each['metadata']['name']}:8500" for each in services]
    assert [each for each in arguments("router.yaml") if each.startswith("--shard")] == names


@pytest.mark.parametrize("name", FILES[1:])
def test_the_commands_take_their_arguments(name):
    from cli.route import route
    from cli.serve import serve

    command, *given = arguments(name)
    given = [word.replace("$(SERVING_URL)", "s3://bucket/serving") for word in given]
    chosen = {"serve": serve, "route": route}[command]
    context = chosen.make_context(command, given)
    assert context.params["host"] == "0.0.0.0"
