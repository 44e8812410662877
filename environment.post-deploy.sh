#!/usr/bin/env bash
# What fills the environment of environment.yml with the locked packages. Snakemake runs it where it makes that environment;
# by hand: conda activate manet-benchmark, then bash environment.post-deploy.sh, both in the folder of the clone.
set -euo pipefail
bash requirements/install.sh python
