# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate for shop.example, made when a test asks for it."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import typing as t

import pytest


class Certificate(t.NamedTuple):
    """For shop.example, which nobody has signed but itself."""

    path: str
    key: str
    both: str


def self_signed(directory: pathlib.Path) -> Certificate:
    """A new one, in three files of a directory."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    made = Certificate(*(str(directory / ("shop." + name)) for name in ("crt", "key", "pem")))
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", made.key, "-out", made.path]
    whose = ["-days", "2", "-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example"]
    subprocess.run(["openssl", "req", "-x509", *kind, *whose], check=True, capture_output=True)
    parts = [pathlib.Path(part).read_text(encoding="ascii") for part in (made.path, made.key)]
    pathlib.Path(made.both).write_text("".join(parts), encoding="ascii")
    return made
