# syntax=docker/dockerfile:1

# Three images of one source: `api` (also migrate, dispatch and send), `worker`, `worker-gpu`.
#
#     docker build --target api .
#     docker build --target worker --build-arg TORCH_FIND_LINKS=PAGE_WITH_A_CPU_BUILD .
#     docker build --target worker-gpu .
#
# Packages come from requirements.lock with their hashes; torch from requirements-torch.txt, exact
# and without one, since its build differs from machine to machine. Nothing runs as root, and the
# root file system may be read-only: what is written lies in /var/lib/epsilon and /tmp.

ARG PYTHON=3.12-slim-bookworm
ARG NODE=22-bookworm-slim

# --- the web page -------------------------------------------------------------------------------
FROM node:${NODE} AS web
WORKDIR /source/frontend
COPY frontend/package.json frontend/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY frontend/ ./
RUN npm run build

# --- packages of the service, and its own wheel -------------------------------------------------
FROM python:${PYTHON} AS service-packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
WORKDIR /source
RUN python -m venv /opt/venv
COPY requirements.lock ./
COPY deploy/images/ deploy/images/
RUN python deploy/images/locked.py requirements.lock deploy/images/service.txt > /tmp/service.txt \
 && /opt/venv/bin/pip install --require-hashes --no-deps -r /tmp/service.txt
RUN python -m venv /opt/building \
 && python deploy/images/locked.py requirements.lock deploy/images/building.txt > /tmp/building.txt \
 && /opt/building/bin/pip install --require-hashes --no-deps -r /tmp/building.txt
COPY pyproject.toml README.md LICENSE THIRD-PARTY-NOTICES ./
COPY app/ app/
COPY workers/ workers/
COPY kernels/ kernels/
COPY migrations/ migrations/
COPY --from=web /source/app/web/ app/web/
RUN /opt/building/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/venv/bin/pip install --no-deps /tmp/wheel/*.whl

# --- packages of a worker: engines, torch, compiled kernels -------------------------------------
FROM service-packages AS worker-packages
ARG TORCH_FIND_LINKS=""
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
COPY requirements-torch.txt ./
RUN python deploy/images/locked.py requirements.lock deploy/images/worker.txt > /tmp/worker.txt \
 && /opt/venv/bin/pip install --require-hashes --no-deps -r /tmp/worker.txt \
 && /opt/venv/bin/pip install ${TORCH_FIND_LINKS:+--find-links ${TORCH_FIND_LINKS}} -r requirements-torch.txt
# every form that the processor may want is compiled, and chosen where it runs
RUN cd / && /opt/venv/bin/python -m kernels.native.compile

FROM service-packages AS worker-gpu-packages
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
COPY requirements-torch.txt ./
RUN python deploy/images/locked.py requirements.lock deploy/images/worker.txt > /tmp/worker.txt \
 && /opt/venv/bin/pip install --require-hashes --no-deps -r /tmp/worker.txt \
 && /opt/venv/bin/pip install -r requirements-torch.txt
RUN cd / && /opt/venv/bin/python -m kernels.native.compile

# --- what runs ----------------------------------------------------------------------------------
FROM python:${PYTHON} AS running
RUN groupadd --gid 10001 epsilon \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin epsilon \
 && install -d -o epsilon -g epsilon -m 0700 /var/lib/epsilon /var/lib/epsilon-witness
# PYTHONSAFEPATH: nothing is imported out of the folder that a program happens to start in
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    EPSILON_HOME=/var/lib/epsilon \
    EPSILON_WITNESS_DIR=/var/lib/epsilon-witness
WORKDIR /opt/venv
USER 10001:10001
STOPSIGNAL SIGTERM

FROM running AS worker
COPY --from=worker-packages /opt/venv /opt/venv
ENV REMAP_SIGTERM=SIGQUIT
CMD ["python", "-m", "celery", "--quiet", "-A", "workers.celery_app", "worker", "--pool", "prefork", "--concurrency", "1", "--queues", "cpu,reports", "--without-gossip", "--without-mingle", "--loglevel", "INFO"]

FROM running AS worker-gpu
COPY --from=worker-gpu-packages /opt/venv /opt/venv
ENV REMAP_SIGTERM=SIGQUIT
CMD ["python", "-m", "celery", "--quiet", "-A", "workers.celery_app", "worker", "--pool", "solo", "--queues", "gpu", "--hostname", "gpu0@%h", "--without-gossip", "--without-mingle", "--loglevel", "INFO"]

# last, so that a build which names no target is this one
FROM running AS api
COPY --from=service-packages /opt/venv /opt/venv
EXPOSE 8000
CMD ["python", "-m", "uvicorn", "app.main:from_environment", "--factory", "--host", "0.0.0.0", "--port", "8000", "--log-level", "info", "--timeout-graceful-shutdown", "3"]
