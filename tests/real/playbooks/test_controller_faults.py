# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong on the controller itself, in the middle of a deploy: its records are gone, its clock jumps."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import typing as t

import playing
import pytest
from sides import PASTED, version

HOOK = """
- name: {name}
  ansible.builtin.shell:
    cmd: "{command}"
  changed_when: true
  when: {when}
"""


def hook(path: pathlib.Path, name: str, command: str, when: str = "rolling_batch.n == 2") -> str:
    path.write_text(HOOK.format(name=name, command=command, when=when), encoding="utf-8")
    return str(path)


@pytest.mark.claim("records-gone")
def test_the_records_are_gone_in_the_middle(stage: t.Any, tmp_path: pathlib.Path) -> None:
    records = tmp_path / "records"
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_soak=0, deploy_batches=[2], deploy_records_dir=str(records), deploy_hooks={
        "before_drain": hook(tmp_path / "gone.yml", "Remove the records", f"mv {records} {records}.gone && : > {records}")})
    # What was measured is gone with them, so that nobody can say that nothing was lost: it fails, goes back, and says why.
    assert played.rc == 2, played.output
    assert "Traceback" not in played.output
    assert str(records) in played.sentence, played.sentence
    assert "4 of 4 members serve 1.0.0" in played.sentence
    assert version() == "1.0.0"
    again = stage.play("zero.downtime.deploy", deploy_release="1.0.0", deploy_soak=0, deploy_batches=[2])
    assert again.rc == 0 and version() == "1.0.0", again.output


@pytest.mark.claim("clock-jumps")
def test_the_clock_jumps_back_and_forward(stage: t.Any, tmp_path: pathlib.Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0", encoding="ascii")
    # An hour behind before the second batch, an hour ahead before the third. By a rename, so that nobody reads it half-written.
    jump = f"echo {{{{ {{2: -3600, 3: 3600}}[rolling_batch.n] }}}} > {clock}.new; mv {clock}.new {clock}"
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_soak=0, deploy_batches=[1, 1, 2], deploy_records_dir=str(tmp_path / "records"),
                        deploy_hooks={"before_drain": hook(tmp_path / "jump.yml", "Let the clock jump", jump, "rolling_batch.n > 1")},
                        env={"PYTHONPATH": str(pathlib.Path(__file__).parent / "clock"), "JUMPING_CLOCK": str(clock)})
    assert played.rc == 0, played.output
    assert "no request was lost" in played.sentence
    assert version() == "2.0.0"
    (record,) = (json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "records").glob("*.json"))
    assert record["result"] == "succeeded"
    assert clock.read_text(encoding="ascii").strip() == "3600"
    assert all(step["finished"] is not None for step in record["steps"])


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A disk of its own, of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    place = tmp_path / "state"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "small", str(place)], check=True, timeout=30)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=30)


@pytest.mark.claim("full-disk-keeps-nobody-out")
def test_the_state_directory_is_full_in_the_middle(stage: t.Any, tmp_path: pathlib.Path, small_disk: pathlib.Path) -> None:
    """The first batch is out when the disk fills. It comes back, and the room that was kept carries the deploy to its end; another one is refused."""
    fill = hook(tmp_path / "fill.yml", "Fill the disk", f"head -c 2M /dev/zero >> {small_disk}/filler || [ -s {small_disk}/filler ]", "rolling_batch.n == 1")
    own = {"deploy_state_dir": str(small_disk), "deploy_batches": [2]}
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", **own, deploy_hooks={"after_activate": fill})
    assert played.rc == 0 and "4 of 4 members were moved to 2.0.0; no request was lost" in played.sentence, played.output
    # And what a rollback has to know.
    assert {path.name for path in small_disk.iterdir()} == {"filler", "local-shop.last"}

    with (small_disk / "rest").open("wb", buffering=0) as rest, contextlib.suppress(OSError):
        while True:
            rest.write(bytes(4096))
    refused = stage.play("zero.downtime.deploy", deploy_release="1.0.0", **own)
    assert refused.rc == 2, refused.output
    assert f"deploy_state_dir is '{small_disk}', where there is no space left" in refused.sentence and "Nothing has been changed" in refused.sentence
    assert version() == "2.0.0" and {path.name for path in small_disk.iterdir()} == {"filler", "local-shop.last", "rest"}
    (small_disk / "filler").unlink()
    assert stage.play("zero.downtime.deploy", deploy_release="1.0.0", **own).rc == 0 and version() == "1.0.0"


@pytest.mark.claim("records-disk-full")
def test_the_disk_of_the_records_is_full_and_a_rollback_goes_on_with_the_command_that_is_named(
        stage: t.Any, tmp_path: pathlib.Path, small_disk: pathlib.Path) -> None:
    own = {"deploy_records_dir": str(small_disk / "records")}
    home = tmp_path / "home"
    home.mkdir()
    env = {"HOME": str(home)}
    assert stage.play("zero.downtime.deploy", deploy_release="2.0.0").rc == 0
    with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    before = stage.seen()
    why = f"deploy_records_dir is '{own['deploy_records_dir']}', where user root cannot write: no space left on device (of 1 MiB that a run needs)"
    doctor = stage.play("zero.downtime.doctor", **own, env=env)
    assert doctor.rc == 2 and why in doctor.output, doctor.output
    deploy = stage.play("zero.downtime.deploy", deploy_release="1.0.0", **own, env=env)
    assert deploy.rc == 2 and deploy.sentence.startswith(f"Deploy was refused: {why}; "), deploy.sentence
    refused = stage.play("zero.downtime.rollback", **own, env=env)
    command = f"ansible-playbook zero.downtime.rollback -e deploy_app=shop -e deploy_records_dir={home}/deploy-records"
    assert refused.rc == 2 and refused.sentence == f"Rollback was refused: {why}; {command} keeps its record there. Nothing has been changed."
    assert stage.seen() == before and {path.name for path in small_disk.iterdir()} == {"filler"}
    # As a person pastes it.
    pasted = subprocess.run(command, shell=True, cwd=playing.REPO, capture_output=True, text=True, check=False, timeout=300, env={**PASTED, **env})
    assert pasted.returncode == 0 and version() == "1.0.0", pasted.stdout + pasted.stderr
    assert [path.suffix for path in sorted((home / "deploy-records").glob("2*"))] == [".html", ".json"]


@pytest.mark.parametrize("signal, batches, serves", [
    pytest.param("KILL", [1, 1, 2], "1.0.0", id="killed between two batches"),
    pytest.param("STOP", [2], "2.0.0", id="stopped before the last batch")])
def test_a_deploy_without_its_probe_ends_on_one_release(stage: t.Any, tmp_path: pathlib.Path, signal: str, batches: list[int], serves: str) -> None:
    """Nobody can tell any more what users saw, so it fails; with more batches to come it goes back, and after the last one it stays."""
    records = tmp_path / "records"
    # In brackets, so that the shell itself is not meant.
    end = hook(tmp_path / "end.yml", "End the probe", f"pkill -{signal} -f '_evidence/[p]robe.py {records}/'")
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=batches, deploy_records_dir=str(records),
                        deploy_hooks={"before_drain": end})
    assert played.rc == 2 and "the probe " in played.sentence, played.output
    assert f"4 of 4 members serve {serves}" in played.sentence and version() == serves
