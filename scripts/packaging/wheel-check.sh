#!/usr/bin/env bash
# wheel-check.sh WHEEL: installs WHEEL with everything that installs wheels and is here (pip, uv, uvx, pipx), each into
# a place of its own, and runs it; what twine and auditwheel say of it. Fails if pip takes 5 s, or if it is over 30 MB.
set -euo pipefail

wheel=$(realpath "${1:?which wheel}")
size=$(stat -c %s "$wheel")
printf '%s: %s bytes\n' "$(basename "$wheel")" "$size"
((size <= 30000000)) || { echo "wheel-check.sh: it is over 30 MB" >&2 && exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work UV_OFFLINE=1 PIP_NO_INDEX=1 UV_CACHE_DIR=$work/uv UV_TOOL_DIR=$work/tools UV_TOOL_BIN_DIR=$work/tools/bin \
    PIPX_HOME=$work/pipx PIPX_BIN_DIR=$work/pipx/bin PIPX_DEFAULT_PYTHON
PIPX_DEFAULT_PYTHON=$(command -v python3)
run() {
    printf '\n$ %s\n' "${*//$work/...}"
    "$@"
}
# there PROGRAM: whether it is installed; says so when it is not.
there() { command -v "$1" >/dev/null || { printf '\nwheel-check.sh: %s is not installed\n' "$1" && false; }; }
# A list that is told from an outcome shows that it reads, runs and writes.
used() {
    run "$@" --version
    rm -rf images.duckdb
    printf 'a\nb\n' | "$@" load --warehouse images.duckdb -
    [ "$("$@" pending --warehouse images.duckdb | tr '\n' ' ')" = "a b " ]
}

python3 -m venv "$work/venv"
start=$(date +%s%N)
run "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$wheel"
run "$work/venv/bin/toller" -V
took=$((($(date +%s%N) - start) / 1000000))
printf 'installed and started in %s ms\n' "$took"
((took < 5000)) || { echo "wheel-check.sh: that is too long" >&2 && exit 1; }
used "$work/venv/bin/toller"
used "$work/venv/bin/python" -m toller
code=0
"$work/venv/bin/python" -m toller fetch 2>/dev/null || code=$?
[ $code = 2 ] || { echo "wheel-check.sh: python -m toller hides the exit code: $code" >&2 && exit 1; }
run "$work/venv/bin/pip" uninstall --quiet --yes toller
[ ! -e "$work/venv/bin/toller" ]
run "$work/venv/bin/pip" install --quiet --disable-pip-version-check --target "$work/moved" "$wheel"
used env PYTHONPATH="$work/moved" "$work/venv/bin/python" -m toller

if there uv; then
    run uv tool install --quiet --python "$PIPX_DEFAULT_PYTHON" "$wheel"
    used "$work/tools/bin/toller"
    used uvx --quiet --python "$PIPX_DEFAULT_PYTHON" --from "$wheel" toller
fi
if there pipx; then
    # It brings its own pip up to date first.
    run env -u PIP_NO_INDEX pipx install --quiet "$wheel"
    used "$work/pipx/bin/toller"
fi
# Every system that the name promises it to takes it.
for platform in $(basename "$wheel" .whl | cut -d- -f5 | tr . ' '); do
    run "$work/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --platform "$platform" \
        --target "$work/$platform" "$wheel"
done
if there twine; then run twine check --strict "$wheel"; fi
if there auditwheel; then run auditwheel show "$wheel"; fi
echo
echo "wheel-check.sh: all as it should be"
