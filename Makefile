# Every target sets up what it needs: a fresh clone is enough.
SHELL := /bin/bash
# Empty: the machine's python3.10, or else the one that uv fetches.
PYTHON ?=
VENV ?= .venv
PEER_PYTHON ?= python3.11
PEER_VENV ?= .venv-peers
BIN := $(VENV)/bin
# Two more than the cores it was tuned on: a test that waits for a process leaves its core free.
WORKERS ?= 4
# The order is that of tests/conftest.py: what takes longest first. Bytecode is written, so that
# neither a worker nor a process that a test starts compiles everything again.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder
# One core for less than a minute: `make test` has them run beside the tests.
TYPES = $(BIN)/mypy && $(BIN)/lint-imports
# A tag that never moves: what the image is built from.
REVISION ?= $(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
IMAGE ?= tessera:$(REVISION)
# Real counterparts for tests, built once with Go; see tests/seaweedfs.py.
TOOLS := $(or $(TESSERA_TOOLS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tessera/tools)
GO ?= go
WEED_MODULE := github.com/seaweedfs/seaweedfs
WEED_VERSION := v0.0.0-20261109003541-7506e5f91cd6
WEED := $(TOOLS)/weed-4.53
PRISM := $(TOOLS)/prism-2.74.0
export TF_USE_LEGACY_KERAS := 1
export TF_CPP_MIN_LOG_LEVEL := 3
export PYTHONWARNINGS := ignore

.PHONY: seaweedfs prism help setup setup-dev demo test test-fast test-all lint style types docs bench-example-gen bench-beam bench-scale bench-training bench-peers bench-serving bench-filters bench-load bench-shards bench-compiled bench-refresh image image-size lock clean

help:  ## Show the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

setup: $(VENV)/.runtime  ## Install the locked run-time packages and the `tessera` command.

setup-dev: $(VENV)/.dev  ## The same plus test, lint and type tools.

$(BIN)/python:
	@bash scripts/environment.sh $(VENV) $(PYTHON)

$(VENV)/.runtime: $(BIN)/python requirements.txt setup.py
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-dev.txt
	@touch $@

demo: setup  ## Run the main job on generated data and print one user's recommendations.
	@PATH="$(abspath $(BIN)):$$PATH" bash scripts/demo.sh

test: setup-dev style  ## Lint, types, import contract, unit tests and the end-to-end run.
	@said=$$(mktemp) && trap 'rm -f "$$said"' EXIT; \
	  { $(TYPES); } > "$$said" 2>&1 & types=$$!; \
	  $(PYTEST) -n $(WORKERS) --durations 25; tests=$$?; \
	  wait $$types; types=$$?; cat "$$said"; exit $$((tests || types))

test-fast: setup-dev  ## Unit tests only.
	$(PYTEST) -n $(WORKERS) -m "not slow and not nightly"

test-all: setup-dev  ## All of it: also what takes too long for every change, with many more generated examples.
	@$(MAKE) --no-print-directory lint
	TF_NUM_INTRAOP_THREADS=0 $(PYTEST) -n $(WORKERS) -m "" --hypothesis-profile deep --timeout 3600 --durations 50

lint: style types  ## ruff, mypy and the import contract.

style: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev
	$(TYPES)

docs: setup-dev  ## The guides as a site in site/; a broken link is an error.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html, or: $(BIN)/python -m http.server --directory site"

seaweedfs: $(WEED)  ## Build SeaweedFS for the tests of object stores: once, some minutes; needs Go.

prism: $(PRISM)  ## Build Prism, a Beam job server, for the tests of Beam: once, a minute; needs Go.

# Its `replace` lines keep `go install` from working, so a module of one's own requires it.
$(WEED):
	@command -v $(GO) >/dev/null || { echo "SeaweedFS is built with Go: install it or say make GO=/path/to/go" >&2; exit 2; }
	@mkdir -p $(TOOLS)
	work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && cd "$$work" \
	  && printf 'module weed\n\ngo 1.24\n\nrequire $(WEED_MODULE) $(WEED_VERSION)\n' > go.mod \
	  && nice -n 15 $(GO) build -mod=mod -o weed $(WEED_MODULE)/weed && mv weed $@

$(PRISM):
	@command -v $(GO) >/dev/null || { echo "Prism is built with Go: install it or say make GO=/path/to/go" >&2; exit 2; }
	@mkdir -p $(TOOLS)
	work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT \
	  && GOBIN="$$work" nice -n 15 $(GO) install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.74.0 && mv "$$work/prism" $@

bench-example-gen: setup-dev  ## Rows/s, CPU and memory of ExampleGen and Transform beside Polars.
	$(BIN)/python -m benchmarks.example_gen

bench-beam: setup-dev  ## ExampleGen and Transform in one process, in several and on Prism.
	$(BIN)/python -m benchmarks.beam $(BEAM_ARGS)

bench-scale: setup-dev  ## Cost of each step at several sizes, the constants of `tessera plan`, its errors.
	$(BIN)/python -m benchmarks.scale $(SCALE_ARGS)

bench-training: setup-dev  ## Training examples/s of the models in turn; PEER="cmd" adds another program.
	$(BIN)/python -m benchmarks.training $(if $(PEER),--peer "$(PEER)")

bench-peers: setup-dev $(PEER_VENV)/.ready  ## Accuracy and examples/s beside a PyTorch library's ComiRec-SA and MIND.
	$(BIN)/python -m benchmarks.peers --peer-python $(PEER_VENV)/bin/python $(PEER_ARGS)

bench-serving: $(VENV)/.bench-serving  ## Latency, throughput and recall of serving beside faiss, hnswlib and exact search.
	$(BIN)/python -m benchmarks.serving $(SERVING_ARGS)

bench-filters: $(VENV)/.bench-serving  ## Recall and latency of filtered search beside faiss's and hnswlib's.
	$(BIN)/python -m benchmarks.serving.filters $(FILTER_ARGS)

bench-load: setup-dev  ## Ten minutes of load on the local server, with a version swap and a rollback.
	$(BIN)/python -m benchmarks.load $(LOAD_ARGS)

bench-shards: setup-dev  ## Recall, memory and latency of an index in shards, in one process and in several.
	$(BIN)/python -m benchmarks.shards $(SHARD_ARGS)

bench-compiled: setup-dev  ## Seconds of the compiled pipeline, task by task, beside the local runner.
	$(BIN)/python -m benchmarks.compiled $(COMPILED_ARGS)

bench-refresh: setup-dev  ## Recall on unseen items after a refresh; a delta of a million items: seconds, recall.
	$(BIN)/python -m benchmarks.refresh $(REFRESH_ARGS)
	$(BIN)/python -m benchmarks.delta $(DELTA_ARGS)

$(VENV)/.bench-serving: $(VENV)/.dev benchmarks/requirements-serving.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/requirements-serving.txt
	@touch $@

$(PEER_VENV)/.ready: benchmarks/requirements-peers.txt
	@$(PEER_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null || \
	  { echo "The peers need Python 3.11 or later: say make PEER_PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PEER_PYTHON) -m venv $(PEER_VENV)
	$(PEER_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

image:  ## Build the pipeline image: IMAGE=name:tag, VARIANT=cpu|cuda, BASE and BUILD_BASE=python:...@sha256:...
	docker build $(if $(VARIANT),--build-arg VARIANT=$(VARIANT)) $(if $(BASE),--build-arg BASE=$(BASE)) $(if $(BUILD_BASE),--build-arg BUILD_BASE=$(BUILD_BASE)) \
	  --build-arg REVISION=$(REVISION) -t $(IMAGE) .

image-size: setup  ## The image's packages and their size beside the budget, from the lock.
	$(BIN)/python -m deploy.image.size

lock: setup-dev  ## Resolve requirements*.in anew.
	$(BIN)/uv pip compile --quiet --python-version 3.10 --generate-hashes --no-strip-extras requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --python-version 3.10 --generate-hashes --no-strip-extras requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --python-version 3.10 --generate-hashes --no-deps requirements-cuda.in -o requirements-cuda.txt
	$(BIN)/uv pip compile --quiet --python-version 3.10 --generate-hashes -c requirements-dev.txt benchmarks/requirements-serving.in -o benchmarks/requirements-serving.txt

clean:  ## Remove the virtual environment and the demo's output.
	rm -rf $(VENV) $(VENV)-uv runs/demo data/demo
