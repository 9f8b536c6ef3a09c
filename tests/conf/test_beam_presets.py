"""The presets of `conf/beam`: options that Beam knows, and everything that workers need."""

import argparse
import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import apache_beam
import pytest
import yaml
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.internal.apiclient import get_container_image_from_options
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.portability.stager import Stager
from apache_beam.runners.runner import create_runner

from components.example_gen.places import shared_url
from pipeline.config import load_config

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ast.literal_eval(
    re.search(r"^PACKAGES = (\(.*?\))$", (ROOT / "setup.py").read_text(), re.M | re.S)[1]
)
PRESETS = {path.stem: path for path in sorted((ROOT / "conf" / "beam").glob("*.yaml"))}
ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "my-project",
    "TESSERA_DATAFLOW_REGION": "europe-west1",
    "TESSERA_DATAFLOW_TEMP": "gs://bucket/temp",
    "TESSERA_BEAM_IMAGE": "registry.example/tessera-beam:1",
}
PORTABLE = ("flink", "spark")


@pytest.fixture(params=PRESETS)
def preset(request, tmp_path, monkeypatch):
    return request.param, args_of(request.param, tmp_path, monkeypatch)


def args_of(name, tmp_path, monkeypatch):
    """The options, as a run gets them that names the preset after `conf/local.yaml`."""
    for key, value in ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    path = tmp_path / f"{name}.yaml"
    path.write_text(
        yaml.safe_dump({"extends": [str(ROOT / "conf/local.yaml"), str(PRESETS[name])]})
    )
    return list(load_config(path).beam.args)


def parser():
    """Every option of Beam; what it leaves over, Beam itself drops with a warning."""
    found = argparse.ArgumentParser(allow_abbrev=False)
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(found)
    return found


def test_there_is_a_preset_for_every_engine():
    assert set(PRESETS) == {"in-memory", "multi-process", "flink", "spark", "dataflow"}


def test_a_preset_only_says_where_beam_runs(preset):
    tree = yaml.safe_load(PRESETS[preset[0]].read_text())
    assert list(tree) == ["beam"] and set(tree["beam"]) <= {"args", "only"}


def test_dataflow_gets_the_step_that_needs_no_folder_of_ours(tmp_path, monkeypatch):
    assert shared_url(args_of("dataflow", tmp_path, monkeypatch)) == "gs://bucket/temp"
    assert yaml.safe_load(PRESETS["dataflow"].read_text())["beam"]["only"] == [
        "RetrievalExampleGen"
    ]


def test_beam_knows_every_option(preset):
    _, unknown = parser().parse_known_args(preset[1])
    assert unknown == []
    assert parser().parse_known_args(["--no_such_option=1"])[1] == ["--no_such_option=1"]


def test_beam_finds_the_runner_and_no_fault_in_the_options(preset, monkeypatch):
    # It would ask Cloud Storage about the bucket.
    monkeypatch.setattr(
        GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda self, name: None
    )
    options = PipelineOptions(preset[1])
    runner = create_runner(options.get_all_options()["runner"])
    assert PipelineOptionsValidator(options, runner).validate() == []


def test_tfx_does_not_pack_itself_for_every_step(preset):
    from tfx.utils.dependency_utils import make_beam_dependency_flags

    assert make_beam_dependency_flags(list(preset[1])) == preset[1]


def test_nothing_of_the_main_program_is_sent(preset):
    assert not PipelineOptions(preset[1]).get_all_options()["save_main_session"]


@pytest.mark.parametrize("name", PORTABLE)
def test_portable_engines_use_the_worker_pool_beside_them(name, tmp_path, monkeypatch):
    options = PipelineOptions(args_of(name, tmp_path, monkeypatch))
    environment = PortableRunner._create_environment(options).to_runner_api(None)
    assert environment.urn == common_urns.environments.EXTERNAL.urn
    payload = beam_runner_api_pb2.ExternalPayload.FromString(environment.payload)
    assert payload.endpoint.url == "localhost:50000"
    assert "--service_port=50000" in PRESETS[name].read_text()


def test_dataflow_runs_our_image_as_it_is(tmp_path, monkeypatch):
    options = PipelineOptions(args_of("dataflow", tmp_path, monkeypatch))
    image = get_container_image_from_options(options)
    assert image == ENVIRONMENT["TESSERA_BEAM_IMAGE"]
    assert options.get_all_options()["sdk_location"] == "container"


@pytest.mark.parametrize("variable", ENVIRONMENT)
def test_what_only_the_user_knows_is_asked_for(variable, tmp_path, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    others = {key: value for key, value in ENVIRONMENT.items() if key != variable}
    monkeypatch.setattr(sys.modules[__name__], "ENVIRONMENT", others)
    with pytest.raises(Exception, match=f"{variable} is not set"):
        args_of("dataflow", tmp_path, monkeypatch)


def test_the_worker_image_has_the_boot_program_of_this_beam():
    text = (ROOT / "deploy/image/Dockerfile.beam").read_text()
    locked = re.search(
        r"^apache-beam\[?.*==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.M
    )
    assert re.search(r"beam_python3\.10_sdk:([\d.]+) AS beam", text)[1] == locked[1]
    assert apache_beam.__version__ == locked[1]
    assert "ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in text
    assert "RUN python -m ensurepip" in text
    assert 'ENTRYPOINT ["/opt/apache/beam/boot"]' in text
    # The worker pool starts `python`, and workers import TensorFlow Recommenders.
    base = (ROOT / "Dockerfile").read_text()
    assert "PATH=/opt/tessera/bin:$PATH" in base
    assert "TF_USE_LEGACY_KERAS=1" in base


def test_the_guide_names_every_preset_and_variable():
    guide = (ROOT / "docs" / "beam.md").read_text()
    for name, path in PRESETS.items():
        assert f"`{name}`" in guide
        for variable in re.findall(r"\$\{(\w+)", path.read_text()):
            assert f"`{variable}`" in guide


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What is committed or new of the packages, where building may leave files."""
    names = ("setup.py", "pyproject.toml", *PACKAGES)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *names], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    folder = tmp_path_factory.mktemp("checkout")
    files = [Path(name) for name in listed.split("\0") if name and (ROOT / name).exists()]
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes((ROOT / file).read_bytes())
    return folder, {str(file) for file in files if file.parts[0] in PACKAGES}


#: Files of the packages that run in other programs or are only for people.
NOT_INSTALLED = re.compile(r"serving/(docker|kubernetes|kserve|tf_serving)/|.*\.md$")


def missing(wanted, packed):
    return sorted(name for name in wanted - packed if not NOT_INSTALLED.match(name))


def test_the_wheel_holds_every_module_and_data_file(checkout, tmp_path):
    folder, wanted = checkout
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--quiet", "--disable-pip-version-check", "-w", str(tmp_path), "."]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert missing(wanted, set(zipfile.ZipFile(wheel).namelist())) == []


def test_what_beam_packs_of_a_setup_file_holds_them_too(checkout, tmp_path):
    """`--setup_file=./setup.py` sends this package to workers whose image is not ours."""
    folder, wanted = checkout
    artifacts = Stager.create_job_resources(
        PipelineOptions([f"--setup_file={folder / 'setup.py'}"]), str(tmp_path)
    )
    files = [
        beam_runner_api_pb2.ArtifactFilePayload.FromString(artifact.type_payload).path
        for artifact in artifacts
    ]
    (package,) = [file for file in files if file.endswith((".tar.gz", ".whl"))]
    with tarfile.open(package) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert missing(wanted, packed) == []
