#!/bin/sh
# Writes what the image installs, with the SHA-256 of every file of each version, into a file for each of its layers. To
# run after a change of constraints.txt or pyproject.toml; needs uv and a package index. x86-64 and Arm need the same.
set -eu
cd "$(dirname "$0")"
lock=$(uv pip compile ../../../pyproject.toml buckets.in --constraint ../../../constraints.txt --override overrides.in \
    --python-version 3.11 --python-platform linux --only-binary :all: --generate-hashes \
    --no-emit-index-url --no-annotate --no-header --quiet)
printf '%s\n' "$lock" | awk '
    /^[a-z]/ {
        file = "others.txt"
        if (/^(cuda|nvidia|triton)/) file = "cuda.txt"
        if (/^torch/) file = "torch.txt"
        if (/^setuptools/) file = "setuptools.txt"
    }
    { print > file }'
