#!/usr/bin/env bash
# package.sh [DIR]: makes DIR/toller_VERSION_ARCH.deb from the archive that release.sh left in DIR, or makes that
# first. The same archive gives the same package. DEBMAINTAINER ("Name <mail>") says who answers for it.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in dpkg-deb jq gzip; do
    command -v "$tool" >/dev/null || {
        echo "package.sh: $tool is missing" >&2
        exit 1
    }
done
umask 022
export LC_ALL=C

target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
dist=$(realpath -m "${1:-$target/dist}")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=toller-$version-${CARGO_BUILD_TARGET:-$(rustc --print host-tuple)}
[ -f "$dist/$name.tar.gz" ] || scripts/release.sh "$dist"
(cd "$dist" && sha256sum --quiet -c "$name.tar.gz.sha256")
case $name in
*-x86_64-*) arch=amd64 ;;
*-aarch64-*) arch=arm64 ;;
*)
    echo "package.sh: no name for the architecture of $name" >&2
    exit 1
    ;;
esac

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tar -xzf "$dist/$name.tar.gz" -C "$stage"
from=$stage/$name root=$stage/root
SOURCE_DATE_EPOCH=$(stat -c %Y "$from/toller")
export SOURCE_DATE_EPOCH
maintainer=${DEBMAINTAINER:-The toller authors <toller@example.org>}

# put MODE FROM TO: TO is below the root.
put() { install -D -m "$1" "$2" "$root/$3"; }
put 755 "$from/toller" usr/bin/toller
put 644 "$from/toller.1" usr/share/man/man1/toller.1
put 644 "$from/completions/toller.bash" usr/share/bash-completion/completions/toller
put 644 "$from/completions/_toller" usr/share/zsh/vendor-completions/_toller
put 644 "$from/completions/toller.fish" usr/share/fish/vendor_completions.d/toller.fish
put 644 scripts/packaging/systemd/toller@.service usr/lib/systemd/system/toller@.service
put 644 scripts/packaging/systemd/toller@.timer usr/lib/systemd/system/toller@.timer
put 644 scripts/packaging/systemd/toller.conf usr/lib/sysusers.d/toller.conf
put 644 "$from/README.md" usr/share/doc/toller/README.md
for page in "$from"/docs/*; do
    put 644 "$page" "usr/share/doc/toller/docs/$(basename "$page")"
done
put 644 scripts/packaging/systemd/NAME.env usr/share/doc/toller/examples/NAME.env
for script in scripts/examples/*; do
    put 755 "$script" "usr/share/doc/toller/examples/$(basename "$script")"
done
put 644 scripts/packaging/debian/lintian-overrides usr/share/lintian/overrides/toller
install -d -m 755 "$root/etc/toller"

{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: toller\n\n'
    printf 'Files: *\nCopyright: %s The toller authors\nLicense: MIT or Apache-2.0\n\nLicense: MIT\n' \
        "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y)"
    sed '1d; s/^$/./; s/^/ /' "$from/LICENSE-MIT"
    printf '\nLicense: Apache-2.0\n On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n'
    printf '\nComment: What is linked into the binary is in THIRD-PARTY.txt.gz beside this file.\n'
} >"$stage/copyright"
put 644 "$stage/copyright" usr/share/doc/toller/copyright
put 644 "$from/THIRD-PARTY.txt" usr/share/doc/toller/THIRD-PARTY.txt
printf 'toller (%s-1) unstable; urgency=medium\n\n  * Release %s.\n\n -- %s  %s\n' "$version" "$version" "$maintainer" \
    "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" >"$stage/changelog"
put 644 "$stage/changelog" usr/share/doc/toller/changelog.Debian
gzip -9n "$root/usr/share/man/man1/toller.1" "$root/usr/share/doc/toller/"{changelog.Debian,THIRD-PARTY.txt}

mkdir "$root/DEBIAN"
size=$(du -k --apparent-size -s "$root" | cut -f1)
sed "s/@VERSION@/$version-1/; s/@ARCH@/$arch/; s/@MAINTAINER@/$maintainer/; s/@SIZE@/$size/" \
    scripts/packaging/debian/control >"$root/DEBIAN/control"
install -m 755 scripts/packaging/debian/{postinst,prerm,postrm} "$root/DEBIAN/"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | sort | xargs -d '\n' md5sum >"$stage/md5sums")
install -m 644 "$stage/md5sums" "$root/DEBIAN/md5sums"

deb=$dist/toller_$version-1_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >&2
printf '%s\n' "$deb"
