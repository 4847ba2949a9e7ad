#!/usr/bin/env bash
# Everything that a GPU can tell, in under nine minutes: see gpu_check.py.
#
#   benchmarks/gpu_check.sh [--emulate] [--out FOLDER] [--only STEP ...]
#
# Needs Python with triton, numpy, scipy, ml_dtypes, cuda-bindings, cuda-core and pytest; torch, if it
# is there, is the peer. Nothing is installed, neither tgrad: the checkout itself is run.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" benchmarks/gpu_check.py "$@"
