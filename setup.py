"""Installs Tessera: packages, schemas and the `tessera` command.

The exact versions of everything it runs on are in `requirements.txt`.
"""

from pathlib import Path

from setuptools import find_packages, setup

# Neither the image's build nor what Beam packs for workers has it.
README = Path(__file__).with_name("README.md")

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
    "threadpoolctl",
    "werkzeug",
)

setup(
    name="tessera-retrieval",
    version="0.1.0",
    description="Multi-embedding retrieval for recommender systems as a TFX pipeline",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="The Tessera authors",
    license_expression="Apache-2.0",
    keywords=["recommender systems", "retrieval", "candidate generation", "TFX", "TensorFlow"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires="==3.10.*",
    packages=find_packages(include=[p for name in PACKAGES for p in (name, f"{name}.*")]),
    package_data={
        "schemas": ["*.pbtxt", "*.md"],
        "pipeline": ["report/*.j2", "report/*.css", "monitor/*.j2"],
        "research": ["experiment/*.j2", "results/*.json", "results/*.md"],
        "serving": ["page/static/*"],
        "tessera": ["py.typed"],
    },
    entry_points={"console_scripts": ["tessera = cli.main:main"]},
    # The client half of `import tessera` needs only these; `requirements.txt` is the whole lock.
    install_requires=["numpy"],
    extras_require={
        "client": ["grpcio", "pandas", "protobuf", "pyarrow"],
        "pipeline": [*PIPELINE],
    },
)
