# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the sample application's artifacts: the same label gives the same bytes, on any machine, on any day."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import sys
import tarfile

import layout

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\Z")
EPOCH = 1767225600  # 2026-01-01: old enough to be past, and no tar complains about it


def pack(label: str) -> bytes:
    contents = {"VERSION": label.encode() + b"\n"}
    for name in ("app.py", "app_streams.py"):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), "rb") as file:
            contents[name] = file.read()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(contents.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), EPOCH, 0o644
            tar.addfile(info, io.BytesIO(data))
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=EPOCH, compresslevel=9) as file:
        file.write(raw.getvalue())
    return packed.getvalue()


def _write(path: str, data: bytes) -> None:
    """In one step: a deploy may be reading the old file."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.rename(path + ".new", path)


def build(labels: list[str], directory: str = layout.ARTIFACTS) -> dict[str, str]:
    """Returns label → digest of what was built; SHA256SUMS names every artifact that lies there."""
    for label in labels:
        if not LABEL.match(label):
            layout.stop_with_sentence("RELEASES holds %r; a label is letters, digits, '.', '_', '+' and '-'" % label)
    os.makedirs(directory, exist_ok=True)
    digests = {}
    for label in labels:
        data = pack(label)
        digests[label] = hashlib.sha256(data).hexdigest()
        _write(os.path.join(directory, "shop-%s.tar.gz" % label), data)
    lines = []
    for name in sorted(os.listdir(directory)):
        if name.endswith(".tar.gz"):
            with open(os.path.join(directory, name), "rb") as file:
                lines.append("%s  %s\n" % (hashlib.sha256(file.read()).hexdigest(), name))
    _write(os.path.join(directory, "SHA256SUMS"), "".join(lines).encode())
    return digests


if __name__ == "__main__":
    for built, digest in build(sys.argv[1:]).items():
        print("%s  %s" % (digest, built))
