# The environment of requirements.txt. The repository itself is mounted (docs/clusters.md).
# Debian 12, because its Python is 3.11.
FROM debian:bookworm-slim
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# git tells the commit that a result comes from. Debian keeps only the newest patch of a package, so none is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git python3.11 python3.11-venv \
    && rm -rf /var/lib/apt/lists/*

COPY requirements.txt /opt/requirements/
COPY profiles/slurm/requirements.txt /opt/requirements/slurm/
RUN python3.11 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -r /opt/requirements/requirements.txt \
        -r /opt/requirements/slurm/requirements.txt

# utility: nvidia-smi, which leases need. Caches: any user may be the container's. git: nor is the clone that user's.
ENV PATH=/opt/venv/bin:$PATH \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HOME=/tmp/home XDG_CACHE_HOME=/tmp/cache \
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*
CMD ["snakemake", "--help"]
