#!/usr/bin/env bash
# Names everything that the build needs and this machine lacks, with the way to get it.
#
#   tools/preflight.sh [PYTHON]
set -u
python=${1:-python3}
cd "$(dirname "$0")/.." || exit 1
missing=()

wanted=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
if ! command -v go >/dev/null; then
    missing+=("Go $wanted or later: install it from https://go.dev/dl/ and put \`go\` on PATH")
else
    found=$(go env GOVERSION 2>/dev/null)
    found=${found#go}
    major=${found%%.*} rest=${found#*.}
    minor=${rest%%[!0-9]*}
    if [ "$((major * 1000 + ${minor:-0}))" -lt "$((${wanted%.*} * 1000 + ${wanted#*.}))" ]; then
        missing+=("Go $wanted or later, not $found: https://go.dev/dl/")
    fi
fi
if ! command -v "${CC:-gcc}" >/dev/null && ! command -v cc >/dev/null; then
    missing+=("a C compiler (gcc or clang): on Debian or Ubuntu \`apt-get install build-essential\`")
fi
if ! command -v "$python" >/dev/null; then
    missing+=("Python 3.11 or later: https://www.python.org/downloads/ (or \`make PYTHON=/path/to/python3 ...\`)")
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    missing+=("Python 3.11 or later, not $("$python" -V 2>&1): name one with \`make PYTHON=/path/to/python3 ...\`")
else
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        missing+=("Python's venv module: on Debian or Ubuntu \`apt-get install python3-venv\`")
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
        missing+=("Python.h of $("$python" -V 2>&1): on Debian or Ubuntu \`apt-get install python3-dev\`")
fi

if [ ${#missing[@]} -gt 0 ]; then
    echo "se600m-go can't be built here. Missing:" >&2
    printf '  - %s\n' "${missing[@]}" >&2
    exit 1
fi
