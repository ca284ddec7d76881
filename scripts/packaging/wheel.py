#!/usr/bin/env python3
"""wheel.py TREE TRIPLE DIR: makes DIR/toller-VERSION-py3-none-….whl of an unpacked archive of release.sh, and prints its path.

As the binary distribution format says: the program goes where scripts go, so no Python stands between a shell and it. The
program needs no libc, so one wheel is for glibc and for musl. The same tree gives the same bytes: times are SOURCE_DATE_EPOCH's.
"""

import base64
import hashlib
import os
import sys
import time
import tomllib
import zipfile
from pathlib import Path

# What pip of any age and uv look for: PEP 600, its name from before that, and PEP 656.
TAGS = ["manylinux_2_17_{}", "manylinux2014_{}", "musllinux_1_1_{}"]


def contents(tree: Path, about: dict, tags: list[str]) -> dict[str, tuple[bytes, int]]:
    """What is in the wheel, by name: bytes and mode. Its RECORD comes last, and has the digests of the others."""
    licences = ["LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY.txt"]
    metadata = [
        "Metadata-Version: 2.4",
        f"Name: {about['name']}",
        f"Version: {about['version']}",
        f"Summary: {about['description']}",
        f"Keywords: {','.join(about['keywords'])}",
        f"License-Expression: {about['license']}",
        *(f"License-File: {licence}" for licence in licences),
        "Classifier: Environment :: Console",
        "Classifier: Operating System :: POSIX :: Linux",
        "Classifier: Programming Language :: Rust",
        "Requires-Python: >=3.8",
        "Description-Content-Type: text/markdown",
        "",
        (tree / "README.md").read_text(),
    ]
    wheel = ["Wheel-Version: 1.0", "Generator: toller wheel.py", "Root-Is-Purelib: false", *(f"Tag: {tag}" for tag in tags), ""]
    name = f"toller-{about['version']}"
    info = f"{name}.dist-info"
    module = Path(__file__).with_name("python") / "toller"
    files = {
        "toller/__init__.py": ((module / "__init__.py").read_bytes(), 0o644),
        "toller/__main__.py": ((module / "__main__.py").read_bytes(), 0o644),
        f"{name}.data/scripts/toller": ((tree / "toller").read_bytes(), 0o755),
        **{f"{info}/licenses/{licence}": ((tree / licence).read_bytes(), 0o644) for licence in licences},
        f"{info}/METADATA": ("\n".join(metadata).encode(), 0o644),
        f"{info}/WHEEL": ("\n".join(wheel).encode(), 0o644),
    }
    lines = [f"{file},sha256={digest(bytes_)},{len(bytes_)}\n" for file, (bytes_, _) in files.items()]
    files[f"{info}/RECORD"] = ("".join([*lines, f"{info}/RECORD,,\n"]).encode(), 0o644)
    return files


def digest(bytes_: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(bytes_).digest()).rstrip(b"=").decode()


def main() -> None:
    tree, triple, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    about = tomllib.loads(Path("Cargo.toml").read_text())["package"]
    platforms = [tag.format(triple.split("-")[0]) for tag in TAGS]
    files = contents(tree, about, [f"py3-none-{platform}" for platform in platforms])
    path = folder / f"toller-{about['version']}-py3-none-{'.'.join(platforms)}.whl"
    when = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    with zipfile.ZipFile(path, "w") as wheel:
        for name, (bytes_, mode) in files.items():
            entry = zipfile.ZipInfo(name, when)
            entry.create_system, entry.external_attr = 3, (0o100000 | mode) << 16
            wheel.writestr(entry, bytes_, zipfile.ZIP_DEFLATED, 9)
    print(path)


main()
