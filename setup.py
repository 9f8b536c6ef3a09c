"""Installs Tessera: packages, schemas and the `tessera` command.

The exact versions of everything it runs on are in `requirements.txt`.
"""

from setuptools import find_packages, setup

PACKAGES = (
    "core",
    "input_tables",
    "trainer",
    "components",
    "serving",
    "pipeline",
    "kubeflow_pipelines",
    "research",
    "cli",
    "tessera",
    "schemas",
)

PIPELINE = (
    "apache-beam",
    "click",
    "dill",
    "fsspec",
    "gcsfs",
    "grpcio",
    "implicit",
    "jinja2",
    "kfp",
    "matplotlib",
    "prometheus-client",
    "psutil",
    "pydantic>=2",
    "PyYAML",
    "rich",
    "s3fs",
    "scann",
    "scipy",
    "setuptools<82",
    "tensorboard",
    "tensorflow==2.16.*",
    "tensorflow-recommenders",
    "tensorflow-serving-api==2.16.*",
    "tf-keras==2.16.*",
    "tfx==1.16.*",
    "werkzeug",
)

setup(
    name="tessera-retrieval",
    version="0.1.0",
    description="Multi-embedding retrieval for recommender systems as a TFX pipeline",
    python_requires="==3.10.*",
    packages=find_packages(include=[p for name in PACKAGES for p in (name, f"{name}.*")]),
    package_data={
        "schemas": ["*.pbtxt", "*.md"],
        "pipeline": ["report/*.j2", "report/*.css"],
        "research": ["experiment/*.j2", "results/*.json", "results/*.md"],
        "serving": ["page/static/*"],
    },
    entry_points={"console_scripts": ["tessera = cli.main:main"]},
    # The client half of `import tessera` needs only these; `requirements.txt` is the whole lock.
    install_requires=["numpy"],
    extras_require={
        "client": ["grpcio", "pandas", "protobuf", "pyarrow"],
        "pipeline": [*PIPELINE],
    },
)
