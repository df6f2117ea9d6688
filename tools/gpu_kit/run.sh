#!/bin/sh
# Joins the parts beside this file, checks them, unpacks them into a new folder, and runs doctor, tests and benchmark.
#
#     OUT=results sh run.sh [--dry] [--only doctor tests bench]
#
# PYTHON (python3.12) runs it, OUT (results) gets the results, WORK (a new folder in TMPDIR) what is unpacked.
# --dry runs all of it on the processor, to see that the kit is whole.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-python3.12}
OUT=${OUT:-results}
WORK=${WORK:-$(mktemp -d "${TMPDIR:-/tmp}/se600m-kit-XXXXXX")}
mkdir -p "$OUT" "$WORK"
OUT=$(cd "$OUT" && pwd)
(cd "$here" && sha256sum --check --strict --quiet SHA256SUMS) || {
    echo "a part is missing or damaged: copy it again" >&2
    exit 1
}
cat "$here"/kit.tar.xz.* | "$PYTHON" -c '
import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz").extractall(sys.argv[1], filter="data")' "$WORK"
exec "$PYTHON" "$WORK/tools/gpu_kit/run.py" "$OUT" "$@"
