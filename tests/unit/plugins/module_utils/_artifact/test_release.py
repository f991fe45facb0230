# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Staging, activating, going back, pruning; services and their failures."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release
from ansible_collections.zero.downtime.plugins.module_utils._artifact import service as _service
from ansible_collections.zero.downtime.plugins.module_utils._artifact import store as _release_store
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

DEPLOY = "shop-1"


def defaults(spec):
    return {name: option.get("default") for name, option in spec.items()}


class Host:
    """A root and the artifacts for it; calls the logic as the module does."""

    def __init__(self, path):
        self.path, self.root = path, str(path / "srv")
        self.digests = {}
        self.commands = []
        self.answers = {}
        self.served = []
        self.time = time.time()
        self.world = _release.World(now=self._now, clock=self._clock, sleep=self._sleep, run=self._run, ask=self._ask, sync=lambda path: None)

    def _now(self):
        self.time += 1
        return self.time

    def _clock(self):
        return self.time

    def _sleep(self, seconds):
        self.time += seconds

    def _run(self, argv, timeout, env=None, cwd=None):
        self.commands.append(" ".join(argv))
        answer = self.answers.get(" ".join(argv), (0, ""))
        return answer(env) if callable(answer) else answer

    def _ask(self, url, header, timeout):
        answer = self.served.pop(0) if len(self.served) > 1 else self.served[0]
        if isinstance(answer, Exception):
            raise answer
        return 200, answer

    def artifact(self, label):
        path = self.path / f"shop-{label}.tar.gz"
        if not path.exists():
            with tarfile.open(path, "w:gz") as tar:
                info = tarfile.TarInfo("VERSION")
                info.size = len(label)
                tar.addfile(info, io.BytesIO(label.encode()))
            self.digests[label] = hashlib.sha256(path.read_bytes()).hexdigest()
            with open(self.path / "SHA256SUMS", "a", encoding="utf-8") as sums:
                sums.write(f"{self.digests[label]}  {path.name}\n")
        return {"src": str(path), "remote_src": True, "checksums": str(self.path / "SHA256SUMS")}

    def call(self, state, release=None, check=False, **options):
        params = defaults(_release.argument_spec())
        params.update(root=self.root, state=state, release=release)
        for name, spec in (("artifact", _release.artifact_spec()), ("service", _release.service_spec()), ("running", _release.running_spec())):
            if options.get(name) is not None:
                options[name] = dict(defaults(spec), **options[name])
        params.update(options)
        return _release.run(params, check, self.world)

    def stage(self, label, **options):
        return self.call("staged", label, artifact=self.artifact(label), **options)

    def activate(self, label, **options):
        return self.call("activated", label, **options)

    def tree(self):
        found = {}
        for folder, folders, files in os.walk(self.path):
            for name in folders + [name for name in files if not name.endswith(".lock")]:
                path = os.path.join(folder, name)
                found[path] = os.readlink(path) if os.path.islink(path) else os.stat(path).st_mtime_ns if os.path.isfile(path) else None
        return found

    def ledger(self):
        with open(os.path.join(self.root, ".releases", "ledger.jsonl"), encoding="utf-8") as handle:
            return [json.loads(line) for line in handle]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


# --- staging


@pytest.mark.claim("releases-live-by-digest")
def test_stage_then_nothing_to_do(host):
    result = host.stage("1.0.0")
    digest = host.digests["1.0.0"]
    assert result["changed"] and result["release"] == {"label": "1.0.0", "digest": digest}
    assert [one["label"] for one in result["staged"]] == ["1.0.0"]
    assert open(f"{host.root}/releases/{digest}/VERSION").read() == "1.0.0"
    before = host.tree()
    assert host.stage("1.0.0")["changed"] is False
    assert host.tree() == before
    assert os.listdir(f"{host.root}/.releases/tmp") == []


def test_staged_already_reads_neither_artifact_nor_checksums(host):
    host.stage("1.0.0")
    digest = host.digests["1.0.0"]
    artifact = {"url": "https://127.0.0.1:1/x.tar.gz", "checksums": "https://127.0.0.1:1/SUMS", "digest": digest}
    assert host.call("staged", "1.0.0", artifact=artifact)["changed"] is False
    assert host.call("staged", digest, artifact=dict(artifact, digest=None))["changed"] is False


def test_modes_do_not_depend_on_the_umask(host):
    before = os.umask(0o077)
    try:
        host.stage("1.0.0")
        host.activate("1.0.0")
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(os.stat(os.path.join(host.root, path)).st_mode)
             for path in (".", "releases", "current/.", "current/.release.json", ".releases", ".releases/ledger.jsonl", ".releases/tmp")}
    assert modes == {".": 0o755, "releases": 0o755, "current/.": 0o755, "current/.release.json": 0o644, ".releases": 0o755,
                     ".releases/ledger.jsonl": 0o644, ".releases/tmp": 0o700}


def test_known_digest_wins_and_another_artifact_is_refused(host):
    artifact = dict(host.artifact("1.0.0"), digest="a" * 64)
    with pytest.raises(DowntimeError, match=f"has the sha256 {host.digests['1.0.0']} .[0-9]+ bytes., but {'a' * 64} is expected"):
        host.call("staged", "1.0.0", artifact=artifact)
    assert os.listdir(f"{host.root}/releases") == [] and os.listdir(f"{host.root}/.releases/tmp") == []


def test_release_and_digest_that_disagree(host):
    with pytest.raises(DowntimeError, match="they name different releases"):
        host.call("staged", "b" * 64, artifact=dict(host.artifact("1.0.0"), digest="a" * 64))


def test_by_digest_alone_the_label_comes_from_the_checksum_file(host):
    artifact = host.artifact("1.0.0")
    digest = host.digests["1.0.0"]
    result = host.call("staged", digest, artifact=dict(artifact, src=artifact["src"].replace("1.0.0", digest)))
    assert result["release"] == {"label": "1.0.0", "digest": digest}


def test_second_label_of_the_same_release_is_noted_once(host):
    host.stage("1.0.0")
    artifact = {"digest": host.digests["1.0.0"]}
    assert host.call("staged", "stable", artifact=artifact)["changed"] is True
    assert host.call("staged", "stable", artifact=artifact)["changed"] is False
    assert host.call("staged", "1.0.0", artifact=artifact)["changed"] is False
    assert host.call("observed")["labels"] == {"1.0.0": host.digests["1.0.0"], "stable": host.digests["1.0.0"]}


def test_moved_label_is_told(host):
    host.stage("1.0.0")
    old = host.digests["1.0.0"]
    artifact = host.artifact("2.0.0")
    (host.path / "SHA256SUMS").write_text(f"{host.digests['2.0.0']}  shop-1.0.0.tar.gz\n")
    os.rename(host.path / "shop-2.0.0.tar.gz", host.path / "shop-1.0.0.tar.gz")
    result = host.call("staged", "1.0.0", artifact=dict(artifact, src=str(host.path / "shop-1.0.0.tar.gz")))
    assert result["changed"] and f"stood for {old}" in result["warnings"][0]


def test_check_mode_changes_nothing_and_tells(host):
    artifact = host.artifact("1.0.0")
    before = host.tree()
    result = host.call("staged", "1.0.0", check=True, artifact=artifact)
    assert result["changed"] and result["release"]["digest"] == host.digests["1.0.0"]
    assert result["diff"] == {"before": {"staged": []}, "after": {"staged": [f"1.0.0 ({host.digests['1.0.0'][:12]})"]}}
    assert host.tree() == before


def test_check_mode_finds_a_missing_artifact(host):
    artifact = host.artifact("1.0.0")
    os.unlink(artifact["src"])
    with pytest.raises(DowntimeError, match="artifact.src .*shop-1.0.0.tar.gz cannot be read"):
        host.call("staged", "1.0.0", check=True, artifact=artifact)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_disk_errors_leave_nothing_behind(host, number, monkeypatch):
    def full(tar, info, target):
        raise OSError(number, os.strerror(number), target)
    monkeypatch.setattr(_artifact, "_file", full)
    with pytest.raises(DowntimeError, match="Input/output error" if number == errno.EIO else "no space left on its file system .*free"):
        host.stage("1.0.0")
    assert os.listdir(f"{host.root}/releases") == [] and os.listdir(f"{host.root}/.releases/tmp") == []


def test_hostile_archive_leaves_nothing_behind(host):
    artifact = host.artifact("1.0.0")
    with tarfile.open(artifact["src"], "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("good"))
        tar.addfile(tarfile.TarInfo("../../../evil"))
    digest = _artifact.sha256_of(artifact["src"])
    with pytest.raises(DowntimeError, match="release 1.0.0 .*: the archive holds ../../../evil, a path with '..'; nothing of it was kept"):
        host.call("staged", "1.0.0", artifact=dict(artifact, digest=digest))
    assert os.listdir(f"{host.root}/releases") == [] and os.listdir(f"{host.root}/.releases/tmp") == []


def test_leftovers_are_told_and_removed_by_the_next_staging(host):
    host.stage("1.0.0")
    half = f"{host.root}/.releases/tmp/{'c' * 64}"
    os.makedirs(half + "/deep")
    os.chmod(half, 0o500)
    foreign = f"{host.root}/releases/{'d' * 64}"
    os.makedirs(foreign)
    assert host.call("observed")["leftovers"] == sorted([half, foreign])
    assert [one["label"] for one in host.call("observed")["staged"]] == ["1.0.0"]
    with pytest.raises(DowntimeError, match="is not staged"):
        host.activate("d" * 64)
    host.stage("2.0.0")
    assert host.call("observed")["leftovers"] == [foreign]
    assert host.call("pruned")["changed"] and not os.path.exists(foreign)
    assert host.call("pruned")["changed"] is False


def test_a_half_made_directory_gives_way_to_the_release(host):
    host.artifact("1.0.0")
    os.makedirs(f"{host.root}/releases/{host.digests['1.0.0']}/rubbish")
    assert host.stage("1.0.0")["changed"]
    assert sorted(os.listdir(f"{host.root}/releases/{host.digests['1.0.0']}")) == [".release.json", "VERSION"]


def test_asked_by_the_action_plugin(host):
    host.artifact("1.0.0")
    artifact = {"digest": host.digests["1.0.0"], "ask": True}
    assert host.call("staged", "1.0.0", artifact=artifact)["needed"] is True
    assert not os.path.exists(host.root)
    host.stage("1.0.0")
    result = host.call("staged", "1.0.0", artifact=artifact)
    assert "needed" not in result and result["changed"] is False


# --- activating


UNIT = {"unit": "shop.service"}


@pytest.mark.claim("releases-live-by-digest")
def test_activate_restarts_once(host):
    host.stage("1.0.0")
    result = host.activate("1.0.0", service=UNIT, deploy_id=DEPLOY)
    assert result["changed"] and result["restarted"] and result["active"] is None
    assert os.readlink(f"{host.root}/current") == "releases/" + host.digests["1.0.0"]
    assert host.commands == ["systemctl restart shop.service", "systemctl is-failed shop.service"]
    assert [(one["event"], one.get("deploy_id")) for one in host.ledger()] == [("staged", None), ("switched", DEPLOY), ("activated", DEPLOY)]
    host.commands.clear()
    host.answers["systemctl is-active shop.service"] = (0, "active\n")
    before = host.tree()
    result = host.activate("1.0.0", service=UNIT)
    assert not result["changed"] and not result["restarted"] and host.commands == ["systemctl is-active shop.service"]
    assert host.tree() == before


def test_restart_on_request_and_of_what_is_active(host):
    host.stage("1.0.0")
    host.activate("1.0.0", service=UNIT)
    result = host.call("activated", service=UNIT, restart=True)
    assert result["changed"] and result["restarted"] and result["release"]["label"] == "1.0.0"


def test_activate_nothing(host):
    with pytest.raises(DowntimeError, match="release is missing and slot current .* runs none"):
        host.call("activated")


def test_a_dead_unit_is_started(host):
    host.stage("1.0.0")
    host.activate("1.0.0", service=UNIT)
    host.answers["systemctl is-active shop.service"] = (3, "inactive\n")
    assert host.activate("1.0.0", service=UNIT)["restarted"]


def test_activate_stages_when_told_where_from(host):
    result = host.call("activated", "1.0.0", artifact=host.artifact("1.0.0"))
    assert result["changed"] and result["slots"]["current"]["active"]["label"] == "1.0.0"


def test_unknown_release_lists_what_is_known(host):
    host.stage("1.0.0")
    host.stage("2.0.0")
    with pytest.raises(DowntimeError, match=r"release 9 is unknown: staged under .*srv are 1\.0\.0 \(.{12}\), 2\.0\.0 \(.{12}\)$"):
        host.activate("9")


def test_activate_check_mode(host):
    host.stage("1.0.0")
    host.stage("2.0.0")
    host.activate("1.0.0")
    before = host.tree()
    result = host.activate("2.0.0", check=True, service={"command": "svc restart"})
    assert result["changed"] and result["restarted"] and host.commands == [] and host.tree() == before
    assert [side["current"][:5] for side in (result["diff"]["before"], result["diff"]["after"])] == ["1.0.0", "2.0.0"]


def test_a_directory_in_the_slot_is_not_touched(host):
    host.stage("1.0.0")
    os.mkdir(f"{host.root}/current")
    with pytest.raises(DowntimeError, match="is no link but a directory"):
        host.activate("1.0.0")


def test_adopting_a_link_made_by_others(host):
    host.stage("1.0.0")
    os.mkdir(f"{host.root}/old")
    os.symlink("old", f"{host.root}/current")
    result = host.activate("1.0.0")
    assert "pointed at old, which is no release" in result["warnings"][0]
    assert os.readlink(f"{host.root}/current") == "releases/" + host.digests["1.0.0"]


def test_failing_restart_tells_code_lines_and_link(host):
    host.stage("1.0.0")
    host.stage("2.0.0")
    host.activate("1.0.0", service=UNIT)
    host.answers["systemctl restart shop.service"] = (1, "Job for shop.service failed.\n")
    host.answers["systemctl status --no-pager --full --lines=12 shop.service"] = (3, "shop: cannot bind\n")
    with pytest.raises(_service.ActivationError) as caught:
        host.activate("2.0.0", service=UNIT)
    text = str(caught.value)
    assert "systemctl restart shop.service failed with rc 1" in text and "cannot bind" in text
    assert "slot current pointed at 2.0.0 (" in text and ") by then, before at 1.0.0 (" in text and caught.value.details["rc"] == 1
    # The link is right, the service is not: the next call restarts it.
    host.answers.clear()
    host.answers["systemctl is-active shop.service"] = (0, "active\n")
    assert host.call("observed")["slots"]["current"]["settled"] is None
    result = host.activate("2.0.0", service=UNIT)
    assert result["restarted"] and host.call("observed")["slots"]["current"]["settled"] == "activated"


def test_unit_that_dies_at_once(host):
    host.stage("1.0.0")
    host.answers["systemctl is-failed shop.service"] = (0, "failed\n")
    with pytest.raises(DowntimeError, match="failed right after its restart"):
        host.activate("1.0.0", service=UNIT)


def test_running_release_is_read_back(host):
    host.stage("1.0.0")
    digest = host.digests["1.0.0"]
    host.served = [OSError("Connection refused"), "f" * 64, digest]
    result = host.activate("1.0.0", service=UNIT, running={"url": "http://127.0.0.1:1/"})
    assert result["running"]["digest"] == digest and result["running"]["waited"] == pytest.approx(0.2)
    # A rollback to it may ask for that again.
    assert host.call("observed")["told"] == {digest: "x-release"}


@pytest.mark.claim("running-release-read-back")
def test_running_release_is_another(host):
    host.stage("1.0.0")
    host.served = ["f" * 64]
    sentence = r"release 1.0.0 .* does not run: http://127.0.0.1:1/ answered 'status 200, x-release: f{64}' last, 3 s after the restart"
    with pytest.raises(DowntimeError, match=sentence):
        host.activate("1.0.0", service=UNIT, running={"url": "http://127.0.0.1:1/", "timeout": 3})


def test_a_release_that_runs_without_the_header_is_not_said_not_to_run(host):
    """The old one sends it: then an answer without it is the new one's, and nobody has to wait for the end of the time."""
    host.stage("1.0.0")
    host.served = ["f" * 64, None]
    running = {"url": "http://127.0.0.1:1/ready?token=secret", "timeout": 60}
    sentence = (r"release 1.0.0 .* is not proven to run: http://127.0.0.1:1/ready answers with status 200, but without the header x-release, so which "
                "release answers is unproven; slot current pointed at 1.0.0 .* (by then|as before)")
    for proof, least, most in (("seen", 5, 10), ("needed", 60, 65)):
        begun = host._clock()
        with pytest.raises(DowntimeError, match=sentence) as caught:
            host.activate("1.0.0", service=UNIT, restart=True, running={**running, "proof": proof})
        assert least <= host._clock() - begun < most and "secret" not in str(caught.value)
    done = host.activate("1.0.0", service=UNIT, restart=True, running={**running, "proof": "optional"})
    assert done["restarted"] and done["running"]["bare"] and host.call("observed")["told"] == {}
    # It runs: nothing is restarted for the header that it lacks.
    host.answers["systemctl is-active shop.service"] = (0, "active\n")
    assert host.activate("1.0.0", service=UNIT, running={**running, "proof": "optional"})["changed"] is False


def test_running_release_decides_about_a_restart(host):
    host.stage("1.0.0")
    host.served = [host.digests["1.0.0"]]
    options = {"service": {"command": ["svc", "restart"]}, "running": {"url": "http://127.0.0.1:1/"}}
    host.activate("1.0.0", **options)
    assert host.activate("1.0.0", **options)["changed"] is False
    host.served = ["f" * 64, host.digests["1.0.0"]]
    assert host.activate("1.0.0", **options)["restarted"]


# --- start and stop


COMMANDS = {"start": "svc up", "stop": "svc down"}


@pytest.mark.claim("service-start-and-stop")
def test_start_and_stop(host):
    host.stage("1.0.0")
    host.stage("2.0.0")
    host.activate("1.0.0", service=COMMANDS)
    assert host.commands == ["svc up"]
    host.activate("2.0.0", service=COMMANDS)
    assert host.commands == ["svc up", "svc down", "svc up"]
    assert host.call("stopped", service=COMMANDS)["changed"] is True
    assert host.call("stopped", service=COMMANDS)["changed"] is False
    host.commands.clear()
    assert host.call("activated", service=COMMANDS)["changed"] is True
    assert host.commands == ["svc up"]
    host.commands.clear()
    host.call("stopped", service=COMMANDS)
    host.activate("1.0.0", service=COMMANDS)
    assert host.commands == ["svc down", "svc up"]


@pytest.mark.claim("workers-end-their-last-job")
def test_the_link_moves_between_stop_and_start(host):
    """A worker at its last job opens files by the slot's link: until it has ended, these are the old release's."""
    for label in ("1.0.0", "2.0.0"):
        host.stage(label)
    host.activate("1.0.0", service=COMMANDS)
    seen = {}

    def note(what):
        def answer(env):
            seen[what] = (os.path.basename(os.readlink(os.path.join(host.root, "current"))), env["RELEASE_LABEL"])
            return (0, "")
        return answer

    host.answers.update({"svc down": note("stop"), "svc up": note("start")})
    host.activate("2.0.0", service=COMMANDS)
    assert seen == {"stop": (host.digests["1.0.0"], "1.0.0"), "start": (host.digests["2.0.0"], "2.0.0")}


def test_what_cannot_be_stopped_keeps_its_link(host):
    for label in ("1.0.0", "2.0.0"):
        host.stage(label)
    host.activate("1.0.0", service=COMMANDS)
    host.answers["svc down"] = (1, "busy\n")
    with pytest.raises(DowntimeError, match="svc down failed with rc 1, its last lines: busy; slot current still points at 1.0.0"):
        host.activate("2.0.0", service=COMMANDS)
    assert os.path.basename(os.readlink(os.path.join(host.root, "current"))) == host.digests["1.0.0"]


def test_status_command_decides(host):
    host.stage("1.0.0")
    service = dict(COMMANDS, status="svc status")
    host.answers["svc status"] = (1, "")
    host.activate("1.0.0", service=service)
    assert "svc down" not in host.commands
    assert host.call("stopped", service=service)["changed"] is False
    host.answers["svc status"] = (0, "")
    assert host.call("stopped", service=service, check=True)["changed"] is True
    assert "svc down" not in host.commands


def test_stopping_late_does_not_stop_what_was_activated_meanwhile(host):
    for label in ("1.0.0", "2.0.0"):
        host.stage(label)
    host.activate("1.0.0", service=COMMANDS)

    def activated_first(env):
        # Between the look and the lock, as a module that outlives its controller may find it.
        if not host.commands.count("svc down"):
            host.activate("2.0.0", service=COMMANDS)
        return (0, "")

    host.answers["svc status"] = activated_first
    with pytest.raises(DowntimeError, match="slot current of .* was activated by somebody else meanwhile; nothing was stopped"):
        host.call("stopped", service=dict(COMMANDS, status="svc status"))
    assert host.commands[-1] == "svc up"


def test_two_that_stop_a_slot_stop_it_once(host):
    host.stage("1.0.0")
    host.activate("1.0.0", service=COMMANDS)

    def stopped_first(env):
        if not host.commands.count("svc down"):
            host.call("stopped", service=COMMANDS)
        return (0, "")

    host.answers["svc status"] = stopped_first
    assert host.call("stopped", service=dict(COMMANDS, status="svc status"))["changed"] is False
    assert host.commands.count("svc down") == 1


def test_failed_stop(host):
    host.answers["systemctl is-active shop.service"] = (0, "active\n")
    host.answers["systemctl stop shop.service"] = (None, "")
    with pytest.raises(DowntimeError, match=r"systemctl stop shop.service did not end within 120 s \(service.timeout\)"):
        host.call("stopped", service=UNIT)


def test_commands_get_the_release(host):
    host.stage("1.0.0")
    seen = {}
    host.answers["svc up"] = lambda env: (seen.update(env), (0, ""))[1]
    host.activate("1.0.0", service=COMMANDS, slot="blue")
    assert seen == {"RELEASE_ROOT": host.root, "RELEASE_SLOT": "blue", "RELEASE_DIGEST": host.digests["1.0.0"], "RELEASE_LABEL": "1.0.0"}


def test_daemon_that_keeps_the_output_open_is_not_waited_for():
    rc, output = _service.default_run(["sh", "-c", "sleep 600 & echo $!; exit 7"], 20)
    daemon = int(output)
    os.kill(daemon, signal.SIGKILL)     # which fails where it has ended
    assert rc == 7


@pytest.mark.claim("service-timeout")
def test_command_that_hangs_is_killed():
    assert _service.default_run(["sh", "-c", "echo half; sleep 60"], 0.3) == (None, "half\n")


def test_command_that_does_not_exist(host):
    host.world = _release.World()
    host.stage("1.0.0")
    with pytest.raises(DowntimeError, match="the command /no/such cannot be run: No such file or directory; slot current pointed at 1.0.0 .* by then"):
        host.activate("1.0.0", service={"command": "/no/such thing"})


# --- going back


def previous(host, slot="current"):
    found = host.call("observed", slot=slot)["previous"]
    return found and found["label"]


@pytest.fixture
def three(host):
    for label in ("1", "2", "3"):
        host.stage(label)
        host.activate(label, deploy_id="up-" + label)
    return host


def test_back_twice_leads_further_back(three):
    assert previous(three) == "2"
    result = three.activate("previous", service=UNIT)
    assert result["release"]["label"] == "2" and result["restarted"]
    assert previous(three) == "1"
    three.activate("previous")
    unknown = "release previous is unknown: slot current .* runs 1 .*, and has run none before it but 2 .*, which it has gone back from; staged"
    with pytest.raises(DowntimeError, match=unknown):
        three.activate("previous")
    assert three.call("observed")["left"]["label"] == "2"
    # Forward once more: then nothing was gone back from.
    three.activate("2")
    assert three.call("observed")["left"] is None and previous(three) == "1"


@pytest.mark.claim("rollback-to-a-named-release")
def test_back_to_a_named_release(three):
    three.activate("1", going_back=True, deploy_id="down")
    assert previous(three) is None
    three.activate("3", deploy_id="again")
    assert previous(three) == "1"


def test_named_without_going_back_is_a_step_forward(three):
    three.activate("1", deploy_id="other")
    assert previous(three) == "3"


def test_a_deploy_that_undoes_its_move(three):
    three.stage("4-bad")
    three.activate("4-bad", deploy_id="D")
    assert previous(three) == "3"
    three.activate("3", deploy_id="D")
    assert previous(three) == "2"


def test_a_rollback_that_undoes_its_move(three):
    three.activate("previous", deploy_id="R")
    assert previous(three) == "1"
    three.activate("3", deploy_id="R")
    assert previous(three) == "2"


def test_previous_is_the_slots_own(three):
    three.activate("1", slot="green")
    assert previous(three, "green") is None and previous(three) == "2"


def test_link_moved_by_hand_is_the_truth(three):
    os.unlink(f"{three.root}/current")
    os.symlink("releases/" + three.digests["1"], f"{three.root}/current")
    found = three.call("observed")
    assert found["active"]["label"] == "1" and found["previous"]["label"] == "3" and found["slots"]["current"]["settled"] is None


def test_torn_ledger_line(three):
    with open(f"{three.root}/.releases/ledger.jsonl", "ab") as handle:
        handle.write(b'{"event": "swit')
    found = three.call("observed")
    assert "torn" in found["warnings"][0] and found["previous"]["label"] == "2"
    three.activate("2")
    assert three.call("observed")["previous"]["label"] == "3"


def test_lost_ledger(three):
    os.unlink(f"{three.root}/.releases/ledger.jsonl")
    found = three.call("observed")
    assert found["active"]["label"] == "3" and found["previous"] is None and set(found["labels"]) == {"1", "2", "3"}


# --- pruning


def labels(result, key="staged"):
    return [one["label"] for one in result[key]]


@pytest.mark.claim("never-removes-what-is-needed")
def test_prune_looks_at_every_slot(host):
    for label in "123456789":
        host.stage(label)
    host.activate("1", slot="green")
    host.activate("2", slot="green")
    host.activate("3")
    for label in "6789":
        host.call("staged", label, artifact=host.artifact(label))
    check = host.call("pruned", keep=1, pinned=["4", host.digests["5"]], check=True)
    assert labels(check, "pruned") == ["6", "7", "8", "9"] and len(check["staged"]) == 9
    result = host.call("pruned", keep=1, pinned=["4", host.digests["5"]])
    assert labels(result, "pruned") == ["6", "7", "8", "9"] and sorted(labels(result)) == ["1", "2", "3", "4", "5"]
    assert host.call("pruned", keep=1, pinned=["4", host.digests["5"]])["changed"] is False
    assert os.listdir(f"{host.root}/.releases/tmp") == []


@pytest.mark.claim("keeps-releases")
def test_prune_keeps_the_newest(host):
    for label in "12345":
        host.stage(label)
    assert labels(host.call("pruned", keep=2)) == ["4", "5"]
    with pytest.raises(DowntimeError, match=r"release 1 is unknown \(it was staged once and pruned since"):
        host.activate("1")


def test_unknown_pin(host):
    host.stage("1")
    with pytest.raises(DowntimeError, match="pinned holds '7'"):
        host.call("pruned", pinned=["7"])


@pytest.mark.claim("status-changes-nothing")
def test_observed_changes_nothing(three):
    before = three.tree()
    three.call("observed", "1")
    assert three.tree() == before


def test_observed_without_a_root(host):
    result = host.call("observed")
    assert not result["changed"] and result["staged"] == [] and result["slots"] == {} and not os.path.exists(host.root)


# --- bad input


@pytest.mark.parametrize("options, sentence", [
    ({"root": "srv/shop"}, "root is 'srv/shop'; an absolute path is accepted"),
    ({"root": "/"}, "root is /"),
    ({"root": __file__}, "is no directory"),
    ({"slot": "../x"}, "slot is '../x'"),
    ({"slot": "releases"}, "slot is 'releases'"),
    ({"slot": ""}, "slot is ''"),
    ({"release": ""}, "release is empty"),
    ({"release": "  "}, "release is empty"),
    ({"release": "a\nb"}, "without surrounding blanks and control characters"),
    ({"state": "staged", "release": None}, "release is missing; state staged needs"),
    ({"release": "1", "state": "staged"}, "staged under .* are none; artifact.checksums or artifact.digest would tell"),
    ({"state": "staged", "release": "a" * 64}, "artifact names no url or src"),
    ({"artifact": {"url": "http://a/b", "src": "/c"}}, "artifact.url and artifact.src are both given"),
    ({"artifact": {"digest": "abc"}}, "artifact.digest is 'abc'"),
    ({"artifact": {"url": "s3://bucket/x"}}, "artifact.url is s3://bucket/x; an http or https URL"),
    ({"artifact": {"timeout": 0.0}}, "artifact.timeout is 0"),
    ({"artifact": {"strip_components": -1}}, "strip_components is -1"),
    ({"keep": -1}, "keep is -1"),
    ({"service": {}}, "service names nothing to run"),
    ({"service": {"unit": "a b"}}, "service.unit is 'a b'"),
    ({"service": {"unit": "a", "command": "b"}}, "service.unit and service.command are both given"),
    ({"service": {"start": "a", "command": "b"}}, "service.command and service.start are both given"),
    ({"service": {"command": "it's"}}, "service.command is .*cannot be split"),
    ({"service": {"command": []}}, "service.command is empty"),
    ({"service": {"command": {"a": 1}}}, "a text or a list of words is accepted"),
    ({"running": {"url": "localhost:80"}}, "running.url is 'localhost:80'"),
    ({"state": "stopped", "service": {"command": "x"}}, "service is missing what stops it"),
    ({"state": "stopped"}, "service is missing what stops it"),
])
def test_bad_input(host, options, sentence):
    before = host.tree()
    options = dict({"state": "activated", "release": "1"}, **options)
    with pytest.raises(DowntimeError, match=sentence):
        host.call(**options)
    assert host.tree() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_that_is_not_writable_names_user_and_mode(host):
    artifact = host.artifact("1.0.0")
    os.mkdir(host.root, 0o755)
    for path in [host.path, *host.path.parents]:
        if str(path).startswith("/tmp/"):
            os.chmod(path, 0o755)
    # Imported first: the other user may not be allowed to read this Python.
    code = ("import os, sys; sys.path[:0] = sys.argv[4:]\n"
            "from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "params = {k: v.get('default') for k, v in _release.argument_spec().items()}\n"
            "artifact = {k: v.get('default') for k, v in _release.artifact_spec().items()}\n"
            "artifact.update(src=sys.argv[2], digest=sys.argv[3])\n"
            "params.update(root=sys.argv[1], state='staged', release='1.0.0', artifact=artifact)\n"
            "for check in (True, False):\n"
            "    try:\n        _release.run(params, check)\n"
            "    except Exception as error:\n        print(error)\n")
    done = subprocess.run([sys.executable, "-c", code, host.root, artifact["src"], host.digests["1.0.0"], *sys.path],
                          capture_output=True, text=True, check=False)
    line = f"root {host.root} is not usable for user nobody: {host.root} belongs to root:root with mode 0755"
    assert [text.startswith(line) for text in done.stdout.splitlines()] == [True, True], done


# --- other processes


@pytest.mark.claim("activation-is-atomic")
def test_readers_never_miss_the_link(host):
    host.stage("1")
    host.stage("2")
    host.activate("1")
    stop, errors, reads = threading.Event(), [], [0]

    def read():
        while not stop.is_set():
            try:
                with open(f"{host.root}/current/VERSION") as handle:
                    assert handle.read() in ("1", "2")
                reads[0] += 1
            except Exception as error:
                errors.append(error)
    readers = [threading.Thread(target=read) for number in range(3)]
    for reader in readers:
        reader.start()
    for number in range(60):
        host.activate("12"[number % 2], restart=True)
    stop.set()
    for reader in readers:
        reader.join()
    assert errors == [] and reads[0] > 100


KILLED = """
import os, sys
sys.path[:0] = sys.argv[4:]
from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact, release as _release
from ansible_collections.zero.downtime.plugins.module_utils._artifact import service as _service, store as _release_store
params = {k: v.get('default') for k, v in _release.argument_spec().items()}
artifact = {k: v.get('default') for k, v in _release.artifact_spec().items()}
artifact.update(src=sys.argv[2], digest=sys.argv[3])
params.update(root=sys.argv[1], state='staged', release='1', artifact=artifact)
real = _artifact._file
def slow(tar, member, path):
    real(tar, member, path)
    print('unpacking', flush=True)
    sys.stdin.read()
_artifact._file = slow
_release.run(params)
"""


@pytest.mark.claim("half-staged-is-never-activatable")
def test_kill_9_in_the_middle_of_unpacking(host):
    artifact = host.artifact("1")
    digest = host.digests["1"]
    with subprocess.Popen([sys.executable, "-c", KILLED, host.root, artifact["src"], digest, *sys.path],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"unpacking\n"
        # While it lives, nobody cleans its work away.
        with pytest.raises(DowntimeError, match=f"is busy: process {process.pid} has held the lock .*stage.lock for longer than 0.1 s"):
            host.call("staged", "1", artifact=artifact, lock_timeout=0.1)
        process.send_signal(signal.SIGKILL)
    found = host.call("observed")
    assert found["staged"] == [] and len(found["leftovers"]) == 2
    with pytest.raises(DowntimeError, match="is not staged"):
        host.activate(digest)
    assert host.call("staged", "1", artifact=artifact)["changed"]
    assert host.call("observed")["leftovers"] == []
    assert open(f"{host.root}/releases/{digest}/VERSION").read() == "1"


def test_activation_does_not_wait_for_a_staging(host):
    host.stage("1")
    with _release_store.Store(host.root, 0).lock("stage"):
        assert host.activate("1", lock_timeout=0)["changed"]


def test_crash_between_link_and_ledger(three):
    store = _release_store.Store(three.root, 0)
    store.link("current", three.digests["1"])
    found = three.call("observed")
    assert found["active"]["label"] == "1" and found["previous"]["label"] == "3"
    result = three.activate("1", service=UNIT)
    assert result["restarted"] and three.call("observed")["slots"]["current"]["settled"] == "activated"


def test_history_of_an_empty_ledger():
    assert _release_store.walked([]) == ([], None)


def test_sync_tree_works_here(tmp_path):
    _release_store.sync_tree(str(tmp_path))
