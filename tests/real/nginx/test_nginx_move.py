# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One move at a time on a real nginx: what is written, what is believed, and what is refused."""

from __future__ import annotations

import concurrent.futures
import os
import socket
import stat

import pytest
from haproxy_stage import get, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory

POOL = {"shop": ["app1", "app2", "app3"]}


def states(result):
    return {member["name"]: member["state"] for member in result["members"]}


def served(balancer, count=12):
    """Who answers, on a fresh connection each."""
    found = set()
    for dummy in range(count):
        status, body = get(balancer.url + "/")
        assert status == 200
        found.add(body.decode().partition('"name": "')[2].partition('"')[0])
    return found


def memory(out=None):
    noted = []
    return Memory(dict(out or {}), {}, noted.append), noted


@pytest.mark.claim("nginx-conf-is-never-written")
def test_the_teams_own_lines_stay_and_a_second_run_changes_nothing(stage, move):
    balancer = stage(POOL, upstream_lines=["keepalive 8;", "# ours"])
    path = balancer.upstream_file("shop")
    before, config = path.read_text(encoding="utf-8"), balancer.config.read_bytes()
    os.chmod(path, 0o640)
    out = move(balancer, ["app1"], "drained", min_active="2")
    assert out["changed"] is True
    assert balancer.down() == {"app1"} and served(balancer) == {"app2", "app3"}
    again = move(balancer, ["app1"], "drained")
    assert again["changed"] is False and again["diff"]["before"] == again["diff"]["after"] and again["revision"] == out["revision"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert move(balancer, ["app1"], "active")["changed"] is True
    assert move(balancer, ["app1"], "active")["changed"] is False
    assert path.read_text(encoding="utf-8") == before and served(balancer) == {"app1", "app2", "app3"}
    assert balancer.config.read_bytes() == config, "nginx's own configuration is the team's"
    assert stat.S_IMODE((balancer.upstreams / "revision.conf").stat().st_mode) == 0o644


def test_weight_is_written_and_read_back(stage, move, info):
    balancer = stage(POOL)
    assert move(balancer, ["app1"], "active", weight=5)["changed"] is True
    assert move(balancer, ["app1"], "active", weight=5)["changed"] is False
    assert [member["weight"] for member in info(balancer)["pools"][0]["members"]] == [5, 1, 1]
    assert move(balancer, ["app1"], "drained")["members"][0]["weight"] == 5


@pytest.mark.claim("nginx-first-file")
def test_the_first_file_is_written_from_the_members_addresses(stage, move, info):
    """Nothing is there but the include line; members come into the file as they come into traffic."""
    balancer = stage({"other": ["app1"]})
    pools = [{"name": "shop", "members": {"app1": f"127.0.0.1:{balancer.ports['app1']}", "app2": "127.0.0.1:1"}}]
    known = info(balancer, pools=pools)
    assert [(member["name"], member["state"]) for member in known["pools"][0]["members"]] == [("app1", "down"), ("app2", "down")]
    assert not [finding for finding in known["findings"] if finding["level"] == "error"]
    out = move(balancer, ["app1"], "drained", pools=pools)
    assert out["changed"] is False and states(out) == {"app1": "drained"}
    assert not balancer.upstream_file("shop").exists()
    assert move(balancer, ["app1"], "active", pools=pools)["changed"] is True
    assert balancer.upstream_file("shop").read_text(encoding="utf-8").splitlines()[-3:] == [
        "upstream shop {", f"    server 127.0.0.1:{balancer.ports['app1']}; # app1", "}"]
    # The one that does not answer is never written.
    with pytest.raises(DowntimeError, match="after 1 s not active: shop/app2 .127.0.0.1:1.: 127.0.0.1:1 refused the connection; app2 stayed out"):
        move(balancer, ["app2"], "active", pools=pools, timeout=1)
    assert [member["state"] for member in info(balancer, pools=pools)["pools"][0]["members"]] == ["active", "down"]


@pytest.mark.claim("nginx-refused-file-is-put-back")
def test_what_nginx_refuses_is_put_back_and_told_in_its_own_words(stage, move, tmp_path):
    balancer = stage(POOL)
    before = balancer.upstream_file("shop").read_text(encoding="utf-8")
    # The configuration breaks between the first look and the check of the new file.
    command = tmp_path / "nginx"
    command.write_text(f'#!/bin/sh\ncase "$*" in *" -t "*) echo "bogus on;" >> {balancer.config};; esac\n'
                       f'exec {" ".join(balancer.options["nginx_command"])} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    with pytest.raises(DowntimeError) as caught:
        move(balancer, ["app1"], "drained", nginx_command=[str(command), "-q"])
    assert str(caught.value).startswith('nginx refuses the new configuration, so the old one was put back: [emerg] unknown directive "bogus" in ')
    assert balancer.upstream_file("shop").read_text(encoding="utf-8") == before
    assert not (balancer.upstreams / "revision.conf").exists() and sorted(os.listdir(balancer.upstreams)) == [".lock", "shop.upstream.conf"]
    assert served(balancer) == {"app1", "app2", "app3"}
    # From now on it is broken before anything is written.
    with pytest.raises(DowntimeError, match="nginx refuses the configuration that is there, before anything was changed: .emerg. unknown directive"):
        move(balancer, ["app1"], "drained")


@pytest.mark.claim("nginx-reload-is-seen")
def test_a_reload_that_does_not_happen_is_seen(stage, move):
    """With a port that is taken, nginx -t passes and the reload's exit code is 0; the old configuration goes on."""
    balancer = stage(POOL)
    move(balancer, ["app1"], "active", weight=2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = balancer.config.read_text(encoding="utf-8")
        balancer.config.write_text(text.replace("http {", f"http {{ server {{ listen 127.0.0.1:{taken.getsockname()[1]}; }}"), encoding="utf-8")
        before = balancer.upstream_file("shop").read_text(encoding="utf-8")
        with pytest.raises(DowntimeError, match="was told to reload and passed its own check, but 1 s later it does not run the new configuration .it still "
                                                "serves revision"):
            move(balancer, ["app1"], "drained", reload_timeout=1.0)
    assert balancer.upstream_file("shop").read_text(encoding="utf-8") == before
    assert served(balancer) == {"app1", "app2", "app3"}
    balancer.config.write_text(text, encoding="utf-8")
    assert move(balancer, ["app1"], "drained")["changed"]


def test_a_reload_command_that_fails_is_told(stage, move):
    balancer = stage(POOL)
    with pytest.raises(DowntimeError, match="reload_command 'sh -c echo no >&2; exit 3' ended with 3: no"):
        move(balancer, ["app1"], "drained", reload_command=["sh", "-c", "echo no >&2; exit 3"])
    assert balancer.down() == set()
    assert move(balancer, ["app1"], "drained", reload_command=["kill", "-HUP", str(balancer.process.pid)])["changed"]


@pytest.mark.claim("nginx-drain-limit", "nginx-cut-is-counted")
def test_the_drain_limit_fails_or_cuts(stage, move):
    balancer = stage(POOL)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = [pool.submit(get, balancer.url + "/held", 60) for dummy in range(3)]
        wait_until(lambda: balancer.in_flight() == 3, "all are in flight")
        with pytest.raises(DowntimeError, match="after 1 s not drained: nginx's workers from before the change .* and app1 get no new requests until"):
            move(balancer, ["app1"], "drained", timeout=1)
        for name in POOL["shop"]:
            get(balancer.app_url(name) + "/ctl?let_go=1")
        assert balancer.down() == {"app1"}
        assert [answer.result()[0] for answer in slow] == [200] * 3
    move(balancer, ["app1"], "active")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = [pool.submit(get, balancer.url + "/slow?ms=9000") for dummy in range(3)]
        wait_until(lambda: balancer.in_flight() == 3, "all are in flight")
        out = move(balancer, ["app1"], "drained", timeout=1, timeout_action="cut")
        # The old workers end with all that they hold, also for the other members.
        assert out["members"][0]["cut"] == 3 and states(out) == {"app1": "drained"} and 1 <= out["waited"] < 8
        assert all(answer.exception() is not None for answer in slow)


@pytest.mark.claim("nginx-drains-by-workers-exit")
def test_a_worker_of_an_earlier_reload_is_waited_for(stage, move):
    balancer = stage(POOL)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        held = [pool.submit(get, balancer.url + "/held") for dummy in range(3)]
        wait_until(lambda: balancer.in_flight() == 3, "all are in flight")
        balancer.reload()
        out = move(balancer, ["app1"], "drained", wait=False)
        assert states(out) == {"app1": "draining"} and not any(answer.done() for answer in held)
        for name in POOL["shop"]:
            get(balancer.app_url(name) + "/ctl?let_go=1")
        out = move(balancer, ["app1"], "drained")
        assert out["changed"] is False and states(out) == {"app1": "drained"}
        balancer.kill("app1")
        assert [answer.result()[0] for answer in held] == [200] * 3


@pytest.mark.claim("nginx-worker-shutdown-timeout")
def test_timings_that_lose_requests_are_refused(stage, move, info):
    balancer = stage(POOL, main_lines=["worker_shutdown_timeout 5s;"])
    with pytest.raises(DowntimeError, match="worker_shutdown_timeout is 5 s, and a request may take 10 s: .*; nothing was moved"):
        move(balancer, ["app1"], "active")
    assert [finding["setting"] for finding in info(balancer)["findings"] if finding["level"] == "error"] == ["worker_shutdown_timeout"]
    assert not [finding for finding in info(balancer, slowest_request=5.0)["findings"] if finding["level"] == "error"]
    with pytest.raises(DowntimeError, match="a request may take 6 s"):
        move(balancer, ["app1"], "drained", slowest_request=2.0, timeout=6)
    assert move(balancer, ["app1"], "drained", slowest_request=2.0, timeout=5)["changed"]


@pytest.mark.claim("nginx-persons-down-stays")
def test_somebody_elses_hand_is_respected(stage, move):
    balancer = stage(POOL)
    path = balancer.upstream_file("shop")
    by_hand = path.read_text(encoding="utf-8").replace("; # app2", " down; # app2")
    path.write_text(by_hand, encoding="utf-8")
    mine, noted = memory()
    out = move(balancer, ["app1", "app2"], "drained", memory=mine)
    assert out["theirs"] == ["app2"] and noted == [{"theirs": {"app2": ["shop/app2"]}}]
    assert mine.done["worker"] == {"revision": out["revision"]}
    again, dummy = memory({"app1": mine.done["worker"], "app2": mine.done["worker"]})
    again.theirs.update(mine.theirs)
    back = move(balancer, ["app1", "app2"], "active", memory=again)
    assert states(back) == {"app1": "active", "app2": "drained"} and balancer.down() == {"app2"}
    assert any("app2 was taken out of traffic by somebody else" in note for note in back["notes"])
    # And one that they bring back while a deploy has it out.
    out = move(balancer, ["app1"], "drained")
    path.write_text(path.read_text(encoding="utf-8").replace(" down; # app1", "; # app1"), encoding="utf-8")
    with pytest.raises(DowntimeError, match="app1 was brought back into traffic by somebody else while this deploy had it out"):
        move(balancer, ["app1"], "drained", memory=memory({"app1": out["worker"]})[0])


@pytest.mark.claim("nginx-edited-file-is-loaded-first")
def test_a_file_edited_by_hand_is_loaded_before_anything_is_believed(stage, move, info):
    balancer = stage(POOL)
    move(balancer, ["app1"], "drained")
    move(balancer, ["app1"], "active")
    path = balancer.upstream_file("shop")
    path.write_text(path.read_text(encoding="utf-8").replace("; # app2", " down; # app2"), encoding="utf-8")
    assert "edited since" in {finding["setting"]: finding["text"] for finding in info(balancer)["findings"]}["revision"]
    # It says down and nginx has not read it: that nobody is told that nothing is to be done.
    out = move(balancer, ["app2"], "drained")
    assert out["changed"] is True and states(out) == {"app2": "drained"} and served(balancer) == {"app1", "app3"}
    assert move(balancer, ["app2"], "drained")["changed"] is False


def test_check_mode_writes_nothing(stage, move):
    balancer = stage(POOL)
    before = sorted(os.listdir(balancer.upstreams))
    told = move(balancer, ["app1"], "drained", check_mode=True)
    assert told["changed"] and sorted(os.listdir(balancer.upstreams)) == before and balancer.down() == set()
    assert move(balancer, ["app1"], "drained")["diff"] == told["diff"]


@pytest.mark.claim("nginx-applications-share")
def test_two_applications_move_on_one_nginx_at_the_same_time(stage, move):
    balancer = stage({"shop": ["app1", "app2"], "api": ["app3", "app4"]})
    with concurrent.futures.ThreadPoolExecutor() as pool:
        moves = [pool.submit(move, balancer, [name], "drained") for name in ("app1", "app3")]
        assert [states(found.result()) for found in moves] == [{"app1": "drained"}, {"app3": "drained"}]
    assert balancer.down("shop") == {"app1"} and balancer.down("api") == {"app3"}


@pytest.mark.claim("nginx-binary-upgrade")
def test_an_nginx_that_does_not_run_or_is_being_upgraded(stage, move, info):
    balancer = stage(POOL)
    # nginx ignores the signal for an upgrade while its starter lives, as here; the file is what it leaves beside the pid file for that time.
    old = balancer.dir / "nginx.pid.oldbin"
    old.write_text(f"{balancer.process.pid}\n", encoding="ascii")
    with pytest.raises(DowntimeError, match="nginx's binary is being upgraded: the old master"):
        move(balancer, ["app1"], "drained")
    assert balancer.down() == set()
    old.unlink()
    move(balancer, ["app1"], "drained")
    balancer.process.terminate()
    balancer.process.wait(5)
    with pytest.raises(NoAnswer, match="pid_file is .*, which does not exist: nginx does not run"):
        info(balancer)


@pytest.mark.claim("nginx-doctor-tells-missing-lines")
def test_without_the_include_line_nothing_is_written(stage, move, info):
    balancer = stage(POOL)
    elsewhere = str(balancer.dir / "nowhere")
    pools = [{"name": "shop", "members": {"app1": f"127.0.0.1:{balancer.ports['app1']}"}}]
    with pytest.raises(DowntimeError, match=f"nginx does not read {elsewhere}; 'include {elsewhere}/\\*.conf;' in its http block is needed"):
        move(balancer, ["app1"], "active", upstreams_dir=elsewhere, pools=pools)
    assert not os.path.exists(elsewhere)
    told = {finding["setting"]: finding for finding in info(balancer, upstreams_dir=elsewhere, pools=pools)["findings"] if finding["level"] == "error"}
    assert told["include"]["lines"] == [f"http {{ include {elsewhere}/*.conf; }}"]
    assert "is in " + str(balancer.upstream_file("shop")) in told["upstream"]["text"]


@pytest.mark.claim("each-loss-names-its-member")
def test_a_request_for_which_no_server_is_left_is_no_members(stage, move, info):
    """nginx writes the upstream's own name in the place of a server's address."""
    balancer = stage({"shop": ["app1", "app2"]}, workers=1)
    move(balancer, ["app1", "app2"], "down")
    assert [get(balancer.url + "/")[0] for _request in range(3)] == [502] * 3
    assert [line.rpartition("|")[2] for line in balancer.log.read_text(encoding="utf-8").splitlines()[-3:]] == ["shop"] * 3
    pool = info(balancer)["counters"][0]["pools"]["shop"]
    assert pool["errors"] == 3 and set(pool["members"]) <= {"app1", "app2"} and not any(own.get("faults") for own in pool["members"].values()), pool
