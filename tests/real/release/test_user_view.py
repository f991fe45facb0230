# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The integration target, played as a user would."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parents[3]


def test_integration_target(tmp_path: pathlib.Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(f"- hosts: localhost\n  gather_facts: false\n  roles: [{{role: {REPO}/tests/integration/targets/release}}]\n")
    done = subprocess.run([os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "localhost,", "-c", "local", "-e",
                           f"ansible_python_interpreter={sys.executable}", str(play)],
                          cwd=REPO, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
