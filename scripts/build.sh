#!/usr/bin/env bash
# build.sh [--bin NAME] [--example NAME]...: builds them and prints the path of each executable, one a line.
#
# Says first what is missing to build at all. Where an executable ends up depends on CARGO_TARGET_DIR, on
# .cargo/config.toml and on the host, so cargo itself is asked.
set -euo pipefail
cd "$(dirname "$0")/.."

missing() {
    printf '%s: %s\n%s\n' "$(basename "$0")" "$1" "$2" >&2
    exit 1
}

command -v cargo >/dev/null || missing "cargo is missing" \
    "get it from https://rustup.rs, or as your distribution's package if that is 1.91 or newer"
version=$(cargo --version | cut -d' ' -f2)
oldest=$(printf '%s\n' 1.91 "$version" | sort --version-sort | head -n 1)
[ "$oldest" = 1.91 ] || missing "cargo $version is too old, 1.91 is the oldest that will do" "update it: rustup update stable"

# CXX may be two words, "ccache g++".
read -ra compiler <<<"${CXX:-c++}"
command -v "${compiler[0]}" >/dev/null || missing "a C++ compiler is missing (${compiler[0]})" \
    "get it: apt-get install g++  or  dnf install gcc-c++ glibc-static libstdc++-static"
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
printf '#include <string>\nint main(int n, char **) { return std::string(n, 0).size(); }\n' >"$probe/probe.cpp"
"${compiler[@]}" -static -o "$probe/probe" "$probe/probe.cpp" 2>"$probe/words" || missing \
    "the C++ compiler (${compiler[*]}) cannot make a static program: $(tail -n 1 "$probe/words")" \
    "get what it lacks: apt-get install g++  or  dnf install gcc-c++ glibc-static libstdc++-static"

echo "building; the first build compiles DuckDB from source, 78 CPU-minutes: 10 minutes on eight cores; later ones take a minute or two" >&2
cargo build --release --locked --message-format json-render-diagnostics "${@:---bin=toller}" |
    sed -n 's/.*"executable":"\(\([^"\\]\|\\.\)*\)".*/\1/p' | sed 's/\\\(.\)/\1/g'
