# The pipeline image: what every component and Beam worker runs in.
# Build:  docker build -t tessera .
FROM python:3.10-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/tessera
COPY requirements.txt ./
RUN /opt/tessera/bin/pip install --no-deps -r requirements.txt
COPY setup.py pyproject.toml ./
COPY core ./core
COPY tables ./tables
COPY trainer ./trainer
COPY components ./components
COPY pipeline ./pipeline
COPY schemas ./schemas
COPY serving ./serving
RUN /opt/tessera/bin/pip install --no-deps --no-build-isolation .

FROM python:3.10-slim-bookworm
# TensorFlow Recommenders needs Keras 2; set before anything imports TensorFlow.
ENV TF_USE_LEGACY_KERAS=1 \
    TF_CPP_MIN_LOG_LEVEL=3 \
    PYTHONWARNINGS=ignore \
    PYTHONUNBUFFERED=1 \
    PATH=/opt/tessera/bin:$PATH
RUN useradd --create-home --uid 1000 tessera
COPY --from=build /opt/tessera /opt/tessera
COPY conf /home/tessera/conf
# `tessera doctor` compares what is installed with the lock.
COPY requirements.txt /home/tessera/requirements.txt
USER 1000
WORKDIR /home/tessera
ENTRYPOINT ["tessera"]
CMD ["--help"]
