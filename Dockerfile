# The pipeline image: what every task of a compiled pipeline and every Beam worker runs in.
# Build:  make image IMAGE=NAME:TAG        (docs/kubeflow.md: what is in it, digests, size)
#
#   docker run --rm IMAGE run --conf conf/demo.yaml     the command line
#   python -m kubeflow_pipelines.task.entrypoint ...    a task: Kubeflow sets the command itself
#   python -m apache_beam.runners.worker.worker_pool_main --service_port=50000
#                                                       a Beam worker pool beside a task manager
#                                                       (deploy/image/Dockerfile.beam: where an engine starts it)
#
# Tags may move: releases give both bases by digest, NAME:TAG@sha256:... Both must be the same
# Python on the same Debian, because the first stage's packages run on the second one's.
ARG BUILD_BASE=python:3.10.19-bookworm
ARG BASE=python:3.10.19-slim-bookworm

# The full image, because pyfarmhash has no wheel and takes a C++ compiler. It stays here.
FROM ${BUILD_BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/tessera
COPY requirements.txt ./
# Six packages have no wheel. Isolated builds would fetch their build tools without a digest, so
# the locked ones come first.
RUN sed -n '/^\(setuptools\|wheel\)==/,/[^\\]$/p' requirements.txt > build-tools.txt \
    && /opt/tessera/bin/pip install --require-hashes --no-deps -r build-tools.txt
RUN /opt/tessera/bin/pip install --require-hashes --no-deps --no-build-isolation -r requirements.txt
# `cuda` adds the libraries of an NVIDIA GPU (about 3 GB more); the driver is the node's.
ARG VARIANT=cpu
COPY requirements-cuda.txt ./
RUN case "${VARIANT}" in cpu) ;; \
    cuda) /opt/tessera/bin/pip install --require-hashes --no-deps --no-build-isolation -r requirements-cuda.txt ;; \
    *) echo "VARIANT is cpu or cuda, not ${VARIANT}" >&2; exit 2 ;; esac
COPY setup.py pyproject.toml ./
COPY core ./core
COPY input_tables ./input_tables
COPY trainer ./trainer
COPY components ./components
COPY pipeline ./pipeline
COPY kubeflow_pipelines ./kubeflow_pipelines
COPY research ./research
COPY cli ./cli
COPY tessera ./tessera
COPY schemas ./schemas
COPY serving ./serving
RUN /opt/tessera/bin/pip install --no-deps --no-build-isolation .
COPY deploy/image/trim.py ./deploy/image/trim.py
# In this stage: what a later layer deletes still takes room. Nothing is installed any more.
RUN /opt/tessera/bin/pip uninstall --yes pip \
    && python deploy/image/trim.py /opt/tessera

FROM ${BASE}
ARG BASE
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tessera" \
      org.opencontainers.image.description="Multi-embedding retrieval as a TFX pipeline" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
# TensorFlow Recommenders needs Keras 2; set before anything imports TensorFlow.
ENV TF_USE_LEGACY_KERAS=1 \
    TF_CPP_MIN_LOG_LEVEL=3 \
    PYTHONWARNINGS=ignore \
    PYTHONUNBUFFERED=1 \
    HOME=/home/tessera \
    PATH=/opt/tessera/bin:$PATH
# TensorFlow 2.16 does not look beside itself for them (tensorflow/tensorflow#63362). Folders that
# the variant without CUDA lacks are passed over.
ENV NVIDIA=/opt/tessera/lib/python3.10/site-packages/nvidia
ENV LD_LIBRARY_PATH=${NVIDIA}/cublas/lib:${NVIDIA}/cuda_cupti/lib:${NVIDIA}/cuda_nvrtc/lib:${NVIDIA}/cuda_runtime/lib:${NVIDIA}/cudnn/lib:${NVIDIA}/cufft/lib:${NVIDIA}/curand/lib:${NVIDIA}/cusolver/lib:${NVIDIA}/cusparse/lib:${NVIDIA}/nccl/lib:${NVIDIA}/nvjitlink/lib
# Group 0 may write wherever the user may: clusters that choose a user id keep that group.
# Kubeflow before 2.3 mounts nothing where its launcher keeps artifacts (kubeflow/pipelines#10397).
RUN useradd --uid 1000 --gid 0 --home-dir /home/tessera --no-create-home tessera \
    && install -d -o 1000 -g 0 -m 0775 /home/tessera /gcs /minio /oci /s3
COPY --from=build /opt/tessera /opt/tessera
COPY conf /home/tessera/conf
# `tessera doctor` compares what is installed with the lock.
COPY requirements.txt /home/tessera/requirements.txt
USER 1000:0
WORKDIR /home/tessera
ENTRYPOINT ["tessera"]
CMD ["--help"]
