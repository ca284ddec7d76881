#!/usr/bin/env python3
"""image.py FILE TREE:TRIPLE...: makes FILE, an OCI archive with an image for each unpacked archive of release.sh.

An image is a tar of a tar and some JSON, so no daemon is needed, and the same trees give the same bytes: times are
SOURCE_DATE_EPOCH's. In it are the program, its licences, and an empty folder that belongs to the user it runs as, for a
volume: what `merge -` keeps for a moment goes there too, so that nothing else need be writable.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import time
import tomllib
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
USER = 65532
EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])


def tar(entries: list[tuple[str, bytes | None, int, int]]) -> bytes:
    """A tar of these: name, contents (none for a folder), mode, owner."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, contents, mode, owner in entries:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.uid, entry.gid, entry.mtime = mode, owner, owner, EPOCH
            entry.type = tarfile.DIRTYPE if contents is None else tarfile.REGTYPE
            entry.size = len(contents or b"")
            archive.addfile(entry, io.BytesIO(contents or b""))
    return out.getvalue()


class Layout:
    """An OCI image layout that grows."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def add(self, kind: str, blob: bytes | dict, **more: object) -> dict:
        """Puts a blob in and describes it."""
        if isinstance(blob, dict):
            blob = json.dumps(blob, separators=(",", ":")).encode()
        digest = hashlib.sha256(blob).hexdigest()
        self.blobs[digest] = blob
        kind = f"application/vnd.oci.image.{kind}"
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(blob), **more}

    def image(self, tree: Path, triple: str, labels: dict[str, str]) -> dict:
        licences = ["LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY.txt"]
        files = tar([
            ("bin", None, 0o755, 0),
            ("bin/toller", (tree / "toller").read_bytes(), 0o755, 0),
            ("data", None, 0o755, USER),
            ("licenses", None, 0o755, 0),
            *((f"licenses/{name}", (tree / name).read_bytes(), 0o644, 0) for name in licences),
        ])
        packed = io.BytesIO()
        with gzip.GzipFile("", "wb", 9, packed, 0) as out:
            out.write(files)
        layer = self.add("layer.v1.tar+gzip", packed.getvalue())
        platform = {"architecture": ARCHITECTURES[triple.split("-")[0]], "os": "linux"}
        config = {
            "created": labels["org.opencontainers.image.created"],
            **platform,
            "config": {
                "User": f"{USER}:{USER}",
                "Env": ["PATH=/bin", "TMPDIR=/data"],
                "Entrypoint": ["/bin/toller"],
                "WorkingDir": "/data",
                "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(files).hexdigest()}"]},
            "history": [{"created": labels["org.opencontainers.image.created"], "created_by": "toller image.py"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.add("config.v1+json", config),
            "layers": [layer],
        }
        return self.add("manifest.v1+json", manifest, platform=platform)


def main() -> None:
    about = tomllib.loads(Path("Cargo.toml").read_text())["package"]
    name, version = about["name"], about["version"]
    labels = {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.description": about["description"],
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": about["license"],
        "org.opencontainers.image.created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH)),
    }
    layout = Layout()
    images = [layout.image(Path(tree), triple, labels) for tree, triple in (arg.rsplit(":", 1) for arg in sys.argv[2:])]
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": images}
    # What docker and containerd call it, and what skopeo and podman do.
    names = {"io.containerd.image.name": f"docker.io/library/{name}:{version}", "org.opencontainers.image.ref.name": version}
    top = {"schemaVersion": 2, "manifests": [layout.add("index.v1+json", index, annotations=names)]}
    blobs = [(f"blobs/sha256/{digest}", blob, 0o644, 0) for digest, blob in sorted(layout.blobs.items())]
    folders = [("blobs", None, 0o755, 0), ("blobs/sha256", None, 0o755, 0)]
    first = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}', 0o644, 0), ("index.json", json.dumps(top).encode(), 0o644, 0)]
    Path(sys.argv[1]).write_bytes(tar([*first, *folders, *blobs]))


main()
