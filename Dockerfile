# The environment of requirements/. The repository itself is mounted (docs/clusters.md).
# Debian 12, because its Python is 3.11.
FROM debian:bookworm-slim@sha256:96e378d7e6531ac9a15ad505478fcc2e69f371b10f5cdf87857c4b8188404716
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# git tells the commit that a result comes from; with the compiler torch compiles steps for a GPU. Debian keeps only the
# newest patch of a package, so none is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates gcc git libc6-dev python3.11 python3.11-dev python3.11-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 researcher

COPY requirements/ /opt/requirements/
RUN python3.11 -m venv /opt/venv \
    && PIP_NO_CACHE_DIR=1 bash /opt/requirements/install.sh /opt/venv/bin/python slurm

# utility: nvidia-smi, which leases need. Caches: any user may be the container's.
ENV PATH=/opt/venv/bin:$PATH \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HOME=/tmp/home XDG_CACHE_HOME=/tmp/cache
USER researcher
CMD ["snakemake", "--help"]
