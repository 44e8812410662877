#!/usr/bin/env bash
# Install the locked packages: bash requirements/install.sh PYTHON [--cuda] [develop] [slurm]
# PYTHON is that of the environment to fill. Every file that arrives must have a hash of the lock, but for torch and what
# its build brings (torch.txt). Options for pip go through its own variables, e.g. PIP_INDEX_URL for a mirror.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$1
shift
cuda=
if [ "${1:-}" = --cuda ]; then cuda=yes && shift; fi
install() { "$python" -m pip install --disable-pip-version-check --progress-bar off -qq "$@"; }
locked() { install --require-hashes --no-deps "$@"; }
say() { echo "installing $*" >&2; }

say "the build tool of the one package without a wheel"
locked --only-binary :all: --requirement "$here/build.txt"
for name in run "$@"; do
    say "$(grep -c '==' "$here/$name.txt") packages of requirements/$name.txt"
    # Without isolation pip builds with what was installed above, instead of whatever is newest.
    locked --no-build-isolation --requirement "$here/$name.txt"
done
say "torch, the largest: up to 3 GB with CUDA"
if [ "$cuda" ]; then
    # === compares as text, where == takes 1.0+cpu for a newer 1.0.
    install "$(sed -n 's/^torch==\([^ ]*\).*/torch===\1/p' "$here/torch.txt")"
else
    install --requirement "$here/torch.txt"
fi
"$python" -m pip check --disable-pip-version-check
