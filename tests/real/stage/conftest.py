# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local stage, freshly started for these tests: there is one on a machine, since its ports are fixed."""

from __future__ import annotations

import os
import sys
import tarfile

import pytest

STAGE_CODE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", "stage"))
if STAGE_CODE not in sys.path:
    sys.path.insert(0, STAGE_CODE)

import artifacts  # noqa: E402  pylint: disable=wrong-import-position
import layout  # noqa: E402  pylint: disable=wrong-import-position
import stage  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture
def running_stage():
    stage.down()
    stage.up(["1.0.0", "2.0.0"])
    yield stage
    stage.down()


@pytest.fixture
def install():
    """Puts a release into a slot as a deploy would, without one."""

    def put(label: str, member: str, slot: str) -> str:
        digest = artifacts.build([label])[label]
        root = os.path.join(layout.HOSTS, member, "srv")
        release = os.path.join(root, "releases", digest)
        os.makedirs(release, exist_ok=True)
        with tarfile.open(os.path.join(layout.ARTIFACTS, "shop-%s.tar.gz" % label)) as tar:
            tar.extractall(release)
        link = os.path.join(root, slot)
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(os.path.join("releases", digest), link)
        return digest

    return put
