# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the suite is made of: sections that people name, and the pieces of each, which can run beside others.

A piece that starts servers gets a network, processes and directories of its own (tests/bin/isolated), so that two of them never meet: neither at
the local stage's ports nor at those that a test took for free. A piece is as large as what its tests share: a stage that is started once, a set of
containers.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys

import cores

REPO = pathlib.Path(__file__).resolve().parents[2]
PYTHON = sys.executable
STAGE = ("stage", "artifacts", "records")


@dataclasses.dataclass(frozen=True)
class Piece:
    """Something that runs by itself."""

    section: str
    part: str
    argv: tuple[str, ...]
    minutes: int
    # Directories of build/ that it has for itself, and with them a network and processes; None where it starts no server.
    own: tuple[str, ...] | None = None
    # It is only for `make test-all`.
    nightly: bool = False
    memory_mb: int = 400
    needs_root: bool = False
    # The ansible-core that it runs on, in place of the usual one.
    core: str = ""

    @property
    def name(self) -> str:
        return "%s/%s" % (self.section, self.part) if self.part else self.section

    @property
    def paths(self) -> list[str]:
        """The files and directories of tests that pytest is given."""
        return [word for word in self.argv if word.startswith(("tests/", "extensions/"))] if self.is_pytest else []

    @property
    def is_pytest(self) -> bool:
        return self.argv[1:3] == ("-m", "pytest")


def pytest(*arguments: str) -> tuple[str, ...]:
    return (PYTHON, "-m", "pytest", "-q", *arguments)


def _files(room: str, *names: str) -> tuple[str, ...]:
    return pytest(*("tests/real/%s/test_%s.py" % (room, name) for name in names))


def _stage(part: str, *names: str) -> Piece:
    return Piece("playbooks", part, _files("playbooks", *names), 30, STAGE)


# The scenarios, in two sets of containers that can be up at the same time.
SCENARIOS = {
    "hosts": ("lost_host", "haproxy_reload", "healthcheck_drain", "naive_loses"),
    "services": ("nginx", "rolling", "process_swap", "network_cut"),
}


def _molecule(part: str) -> Piece:
    return Piece("molecule", part, ("tests/bin/molecule", *SCENARIOS[part]), 60, ("molecule",), memory_mb=2500, needs_root=True)


def _debian(suite: str, part: str) -> Piece:
    """The same scenarios on hosts of another Debian, with its haproxy, nginx and gunicorn."""
    piece = _molecule(part)
    return dataclasses.replace(piece, part="%s-%s" % (suite, part), argv=("env", "MOLECULE_DEBIAN_SUITE=" + suite, *piece.argv), nightly=True)


# What a core can break: all else in the unit tests is arithmetic and text of our own.
MEET_ANSIBLE = (
    "tests/unit/inventories", "tests/unit/playbooks", "tests/unit/plugins/action", "tests/unit/plugins/modules",
    "tests/unit/plugins/plugin_utils",
    "tests/unit/plugins/module_utils/_judge/test_prometheus.py", "tests/unit/plugins/module_utils/test__spec.py")


def _on_core(core: str) -> list[Piece]:
    """Each strategy, a resumed deploy and what meets Ansible in the unit tests, on one more ansible-core: `make test CORE=…` runs all."""
    return [
        Piece("cores", core + "-unit", pytest(*MEET_ANSIBLE), 20, core=core),
        Piece("cores", core + "-deploys", (PYTHON, "tests/stage/demo.py", "--strategies"), 30, (*STAGE, "demo"), core=core),
        Piece("cores", core + "-resume", (PYTHON, "tests/chaos/sweep.py", "deploy, batch 1: drain in the journal"), 30, (*STAGE, "chaos"), core=core),
    ]


PIECES = [
    *(_molecule(part) for part in SCENARIOS),
    *(_debian("trixie", part) for part in SCENARIOS),
    _stage("sides", "blue_green", "gates", "shadow"),
    _stage("canary", "adoption", "canary", "rollback", "way_back"),
    _stage("faults", "controller_faults", "late_losses", "lock", "losses", "noise", "secrets", "wrong_answers"),
    _stage("lost", "lost_balancer", "lost_host", "two_balancers"),
    _stage("site", "bad_input", "check_mode", "doctor", "several_applications", "site_playbook"),
    _stage("elbv2", "elbv2"),
    _stage("streams", "state_hosts", "streams", "third_party", "third_party_push"),
    Piece("playbooks", "stage", pytest("tests/real/stage"), 20, STAGE),
    Piece("real", "haproxy", pytest("tests/real/haproxy", "tests/real/health"), 30, ()),
    Piece("real", "nginx", pytest("tests/real/nginx"), 30, ()),
    Piece("real", "bind", pytest("tests/real/bind"), 30, ()),
    Piece("real", "aws", pytest("tests/real/aws"), 20, ()),
    Piece("real", "evidence", (
        *_files("evidence", "planted_losses", "probe_http2", "probe_process", "wrong_answers"), "tests/real/load", "tests/real/prometheus"), 30, ()),
    Piece("real", "zoo", pytest("tests/real/evidence/zoo"), 30, ()),
    Piece("real", "release", pytest("tests/real/release", "tests/real/process_swap", "tests/real/package", "tests/real/release_header"), 30, ()),
    Piece("real", "report", pytest("tests/real/report"), 20, ()),
    Piece("real", "tutorial", pytest("tests/real/tutorial"), 30, (), memory_mb=800),
    Piece("real", "inventories", pytest("tests/real/inventories"), 40, (), memory_mb=800),
    Piece("conformance", "members", pytest("tests/conformance/test_members.py"), 30, ()),
    Piece("conformance", "split", pytest("tests/conformance/test_split.py"), 30, ()),
    Piece("integration", "", (PYTHON, "tests/bin/integration.py"), 40, (*STAGE, "integration")),
    Piece("demo", "", (PYTHON, "tests/stage/demo.py", "--short"), 30, ("stage", "artifacts")),
    Piece("demo", "whole", (PYTHON, "tests/stage/demo.py"), 30, ("stage", "artifacts"), nightly=True),
    Piece("chaos", "", (PYTHON, "tests/chaos/sweep.py", "--short"), 30, (*STAGE, "chaos")),
    Piece("chaos", "whole", (PYTHON, "tests/chaos/sweep.py"), 120, (*STAGE, "chaos"), nightly=True),
    Piece("sanity", "", ("tests/bin/sanity",), 30),
    Piece("sanity", "pythons", ("tests/bin/sanity", "--pythons"), 30, nightly=True),
    Piece("lint", "", ("tests/bin/lint",), 25),
    Piece("unit", "", pytest("tests/unit"), 20),
    *_on_core(cores.known()[0]),
    *_on_core(cores.known()[-1]),
]
