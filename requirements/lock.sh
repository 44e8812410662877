#!/usr/bin/env bash
# Turn the lists that are kept by hand (*.in) into locks with hashes (*.txt): bash requirements/lock.sh uv
# Versions that stand in a lock stay as they are unless a list asks for others, or --upgrade is given.
set -euo pipefail
cd "$(dirname "$0")"
uv=$1
shift
for name in build run develop slurm; do
    written=$(mktemp)
    [ ! -f $name.txt ] || cp $name.txt "$written"
    "$uv" pip compile $name.in --quiet --python-version 3.11 --python-platform linux --generate-hashes --no-annotate \
        --no-header --no-emit-package torch --output-file "$written" "$@" >/dev/null
    # A package begins at the margin. What torch's build brings is not locked, nor is twice what run.txt has.
    brought='^(nvidia|cuda|triton)[a-z0-9-]*=='
    {
        echo "# Written by make lock from $name.in: do not edit."
        awk -v brought="$brought" -v name=$name '
            FILENAME == "run.txt" { if (name ~ /develop|slurm/ && /^[^ #]/) locked[$1]; next }
            /^[^ ]/ { skip = ($1 ~ brought && $1 !~ /^nvidia-ml-py==/) || $1 in locked || /^-/ }
            !skip' $( [ -f run.txt ] && echo run.txt ) "$written"
    } > $name.new
    mv $name.new $name.txt
    rm "$written"
done
