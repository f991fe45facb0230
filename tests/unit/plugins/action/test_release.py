# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller settles, and how many calls it costs."""

from __future__ import annotations

import hashlib
import re
import types
import typing as t

import pytest

from ansible.errors import AnsibleError
from ansible_collections.zero.downtime.plugins.action import release
from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.plugin_utils import _artifact_transfer


class Controller:
    """The action without Ansible around it; the host answers as scripted."""

    def __init__(self, path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.calls: list[dict[str, t.Any]] = []
        self.sent: list[str] = []
        self.staged = False
        (path / "local_tmp").mkdir()
        monkeypatch.setattr(_artifact_transfer.C, "DEFAULT_LOCAL_TMP", str(path / "local_tmp"), raising=False)
        monkeypatch.setattr(release._payload, "execute", lambda action, name, args, task_vars: action._execute_module(name, args, task_vars))
        monkeypatch.setattr(release.ActionBase, "run", lambda action, tmp=None, task_vars=None: {})
        (path / "shop-1.0.0.tar.gz").write_bytes(b"one")
        self.digest = hashlib.sha256(b"one").hexdigest()
        (path / "SUMS").write_text(f"{self.digest}  shop-1.0.0.tar.gz\n{'b' * 64}  shop-2.0.0.tar.gz\n")
        self.src, self.sums = str(path / "shop-1.0.0.tar.gz"), str(path / "SUMS")

    def run(self, check_mode: bool = False, **args: t.Any) -> dict[str, t.Any]:
        action = release.ActionModule.__new__(release.ActionModule)
        action._task = types.SimpleNamespace(args=args, check_mode=check_mode)
        shell = types.SimpleNamespace(tmpdir=None, join_path=lambda *parts: "/".join(parts))
        action._connection = types.SimpleNamespace(_shell=shell)
        action._make_tmp_path = lambda: setattr(shell, "tmpdir", "/remote")
        action._remove_tmp_path = lambda path: self.sent.append(f"removed {path}")
        action._fixup_perms2 = lambda paths: None
        action._transfer_file = lambda local, remote: self.sent.append(f"{local} to {remote}")
        action._find_needle = self.find
        action._execute_module = self.execute
        return action.run(task_vars={})

    def find(self, folder: str, name: str) -> str:
        path = self.path / name
        if not path.exists():
            raise AnsibleError("not found")
        return str(path)

    def execute(self, module_name: str, module_args: dict[str, t.Any], task_vars: t.Any) -> dict[str, t.Any]:
        assert module_name == "zero.downtime.release"
        self.calls.append(module_args)
        artifact = module_args.get("artifact")
        asked = isinstance(artifact, dict) and artifact.get("ask")
        return {"changed": not self.staged, "needed": True} if asked and not self.staged else {"changed": not self.staged}


@pytest.fixture
def controller(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> Controller:
    return Controller(tmp_path, monkeypatch)


@pytest.mark.claim("artifact-from-the-controller")
def test_an_artifact_of_the_controller_is_copied_to_a_host_that_lacks_it(controller: Controller) -> None:
    result = controller.run(root="/srv", state="staged", release="1.0.0", artifact={"src": controller.src, "checksums": controller.sums})
    assert result == {"changed": True}
    assert [call["artifact"] for call in controller.calls] == [
        {"digest": controller.digest, "ask": True}, {"digest": controller.digest, "src": "/remote/artifact", "remote_src": True}]
    assert controller.sent == [f"{controller.src} to /remote/artifact", "removed /remote"]


def test_a_host_that_has_it_costs_one_call(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    controller.staged = True
    monkeypatch.setattr(_artifact, "sha256_of", lambda path: pytest.fail("hashed for nothing"))
    assert controller.run(root="/srv", state="staged", release="1.0.0", artifact={"src": controller.src, "checksums": controller.sums}) == {"changed": False}
    assert len(controller.calls) == 1 and controller.sent == []


def test_check_mode_verifies_and_copies_nothing(controller: Controller) -> None:
    assert controller.run(True, root="/srv", state="staged", release="1.0.0", artifact={"src": controller.src, "checksums": controller.sums})["changed"]
    assert len(controller.calls) == 1 and controller.sent == []


def test_the_digest_is_worked_out_once_for_all_hosts(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    real, hashed = _artifact.sha256_of, []
    monkeypatch.setattr(_artifact, "sha256_of", lambda path: hashed.append(path) or real(path))
    for dummy in range(3):
        controller.run(root="/srv", state="staged", release="1.0.0", artifact={"src": controller.src})
    assert hashed == [controller.src] and controller.calls[0]["artifact"]["digest"] == controller.digest


def test_another_file_than_expected_does_not_travel(controller: Controller) -> None:
    for check in (True, False):
        result = controller.run(check, root="/srv", state="staged", release="1.0.0", artifact={"src": controller.src, "digest": "c" * 64})
        assert result["failed"] and f"has the sha256 {controller.digest}, but {'c' * 64} is expected: it was not copied" in result["msg"]
    assert not [one for one in controller.sent if " to " in one]


def test_a_release_named_by_digest(controller: Controller) -> None:
    src = controller.src.replace("1.0.0", controller.digest)
    controller.run(root="/srv", state="staged", release=controller.digest, artifact={"src": src, "checksums": controller.sums})
    assert controller.calls[0]["release"] == "1.0.0" and controller.sent[0].startswith(controller.src)


def test_checksums_of_the_controller_for_a_url(controller: Controller) -> None:
    controller.run(root="/srv", state="staged", release="1.0.0", artifact={"url": "https://a/shop-1.0.0.tar.gz", "checksums": controller.sums})
    assert [call["artifact"] for call in controller.calls] == [{"url": "https://a/shop-1.0.0.tar.gz", "digest": controller.digest}]


@pytest.mark.parametrize("state, artifact", [
    ("staged", {"src": "/on/host", "remote_src": True, "checksums": "/on/host/too"}),
    ("staged", {"url": "https://a/b", "checksums": "https://a/SUMS"}),
    ("staged", {"src": "/x", "remote_src": "perhaps"}),
    ("staged", "no mapping"),
    ("pruned", None),
])
def test_what_is_the_modules_business_passes_unchanged(controller: Controller, state: str, artifact: t.Any) -> None:
    args = {"root": "/srv", "state": state, "release": "1.0.0"}
    if artifact is not None:
        args["artifact"] = artifact
    controller.run(**args)
    assert controller.calls == [args]


@pytest.mark.claim("rollback-downloads-nothing")
def test_previous_needs_no_artifact(controller: Controller) -> None:
    controller.run(root="/srv", state="activated", release="previous", artifact={"src": "/gone.tar.gz", "checksums": "/gone"})
    assert controller.calls == [{"root": "/srv", "state": "activated", "release": "previous"}]


@pytest.mark.parametrize("release_, artifact, sentence", [
    ("7", {"src": "shop-7.tar.gz", "checksums": "SUMS"}, "release 7 is unknown: .* it knows 1.0.0, 2.0.0"),
    ("1.0.0", {"src": "gone.tar.gz"}, "artifact.src gone.tar.gz is no file on the controller"),
    ("1.0.0", {"src": "x", "checksums": "gone"}, "artifact.checksums gone is no file on the controller"),
    ("1.0.0", {"src": "https://a/b"}, "artifact.src is https://a/b; a path is accepted"),
    ("1.0.0", {"src": "x", "checksums": "https://a/SUMS"}, "artifact.checksums is a URL, which the host reads"),
])
def test_bad_input(controller: Controller, release_: str, artifact: dict[str, t.Any], sentence: str) -> None:
    result = controller.run(root="/srv", state="staged", release=release_, artifact=artifact)
    assert result["failed"]
    assert re.search(sentence, result["msg"]), result["msg"]
    assert controller.calls == []
