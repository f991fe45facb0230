# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._driver.split import NotSet
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import config as _haproxy_config
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import split as _haproxy_split
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import Worker
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Snapshot

STAT = "# pxname,svname,qcur,scur,status,bck,throttle,tracked,check_status,check_code,addr,cookie"
STATE = ("1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_check_result srv_check_state "
         "srv_agent_state srv_port")
GREEN, BLUE = {"blue": 0, "green": 100}, {"blue": 100, "green": 0}


class Fake:
    """A balancer with a map in each worker; C(path) is the file that a new worker reads."""

    def __init__(self, path: t.Any) -> None:
        self.path = path
        self.pid = 100
        self.now = 0.0
        self.label = "socket /run/x"
        self.level = "admin"
        self.runtime = self
        self.map: list[str] = ["0"]
        self.old: dict[int, list[str]] = {}
        self.unreadable: list[int] = []
        self.checks = "L7OK"
        self.sent: list[str] = []
        self.refuses: list[t.Callable[[], None]] = []  # what happens at the next commands

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.checks = "L7OK"

    @staticmethod
    def shown(values: list[str]) -> str:
        return "\n".join(["0x1 other 7", *(f"0x2 shop {value}" for value in values)])

    def look(self, commands: t.Sequence[str], old_commands: t.Sequence[str] = ()) -> Snapshot:
        stat, state = STAT, STATE
        for pool in ("b", "g"):
            stat += f"\n{pool},s1,0,0,UP,0,,,{self.checks},200,10.0.0.1:80,"
            state += f"\n1 {pool} 1 s1 10.0.0.1 2 0 100 100 3 6 0 80"
        replies = [self.shown(self.map), stat, state, self.level]
        workers = [Worker(self.pid, True, 1), *(Worker(pid, False, 9) for pid in [*self.old, *self.unreadable])]
        return Snapshot(self.pid, {}, replies, workers, {pid: [self.shown(values)] for pid, values in self.old.items()}, list(self.unreadable))

    def command(self, commands: t.Sequence[str]) -> int:
        for command in commands:
            self.sent.append(command)
            if self.refuses:
                self.refuses.pop(0)()
            assert command.split()[:4] == [("set" if self.map else "add"), "map", "m.map", "shop"], command
            self.map = [command.split()[4]] * max(1, len(self.map))
        return self.pid

    def command_old(self, pid: int, command: str) -> str:
        self.sent.append(f"@{pid} {command}")
        self.old[pid] = [command.split()[4]]
        return ""

    def reload(self) -> None:
        self.old[self.pid] = self.map
        self.pid += 1
        self.map = [line.split()[1] for line in self.path.read_text().splitlines() if line.startswith("shop")]


@pytest.fixture
def fake(tmp_path):
    path = tmp_path / "m.map"
    path.write_text("shop 0\n")
    return Fake(path)


def splitter(fake: Fake, wanted: dict[str, int] | None, **options: t.Any) -> _haproxy_split.Splitter:
    place = _haproxy_split.Place("m.map", "shop", str(fake.path), 0, {"blue": ["b"], "green": ["g"]})
    return _haproxy_split.Splitter(fake, place, wanted, clock=fake.clock, sleep=fake.sleep, **options)  # type: ignore[arg-type]


@pytest.mark.claim("split-haproxy-file-and-worker")
def test_the_file_first_then_the_worker_then_read_again(fake):
    seen = []
    fake.refuses = [lambda: seen.append(fake.path.read_text())]
    result = splitter(fake, GREEN).run()
    assert seen == ["shop 100\n"] and fake.sent == ["set map m.map shop 100"]
    assert result["changed"] and result["found"] == BLUE and result["shares"] == GREEN
    assert not splitter(fake, GREEN).run()["changed"] and len(fake.sent) == 1


def test_every_entry_of_the_key_is_set_and_a_missing_one_added(fake):
    fake.map = ["100", "3"]
    assert splitter(fake, GREEN).run()["changed"] and fake.map == ["100", "100"]
    fake.map = []
    splitter(fake, GREEN).run()
    assert fake.sent[-1] == "add map m.map shop 100"


@pytest.mark.claim("split-haproxy-refusal-is-undone")
def test_a_refusal_puts_the_file_back_and_says_so(fake):
    def refuse():
        raise DowntimeError("haproxy refused 'set map m.map shop 100': Permission denied")

    fake.refuses = [refuse]
    with pytest.raises(NotSet) as error:
        splitter(fake, GREEN).run()
    assert fake.path.read_text() == "shop 0\n" and error.value.details["shares"] == BLUE
    assert str(error.value) == (f"haproxy refused 'set map m.map shop 100': Permission denied; {fake.path} was put back to blue 100, green 0; "
                                "haproxy uses blue 100, green 0")


def test_what_was_told_before_the_failure_is_put_back_too(fake):
    def taken():
        fake.map = ["100"]
        raise DowntimeError("nobody knows what that was")

    fake.refuses = [taken]
    with pytest.raises(NotSet) as error:
        splitter(fake, GREEN).run()
    assert fake.map == ["0"] and error.value.details["shares"] == BLUE and fake.path.read_text() == "shop 0\n"


def test_a_connection_that_ends_is_tried_again_and_in_the_end_named(fake):
    def gone():
        raise NoAnswer("socket closed the connection")

    fake.refuses = [gone]
    assert splitter(fake, GREEN).run()["shares"] == GREEN
    fake.refuses = [gone] * 1000
    with pytest.raises(NotSet, match="socket closed the connection; .* was put back to blue 0, green 100"):
        splitter(fake, BLUE, timeout=1).run()


def test_a_reload_in_the_middle_is_named_and_all_of_it_looked_at_again(fake):
    def reload():
        fake.reload()
        fake.old[100] = ["0"]

    fake.refuses = [reload]
    result = splitter(fake, GREEN).run()
    assert result["notes"] == ["haproxy was reloaded meanwhile; worker 101 serves now, and was looked at again"]
    assert fake.map == ["100"] and fake.old == {100: ["100"]} and result["worker"]["pid"] == 101


def test_old_workers_are_told_or_named(fake):
    fake.old, fake.unreadable = {7: ["0"]}, [8]
    result = splitter(fake, GREEN).run()
    assert "@7 set map m.map shop 100" in fake.sent
    assert len(result["notes"]) == 1 and "live (8)" in result["notes"][0] and "without master_socket they cannot be told" in result["notes"][0]
    fake.old, fake.unreadable = {7: ["0"]}, []
    assert "(7) go by other shares" in splitter(fake, None).run()["notes"][0]


def test_disagreement_is_told_and_healed(fake):
    fake.map = ["100"]
    read = splitter(fake, None).run()
    assert read["shares"] == GREEN and read["kept"] == BLUE and "which a reload would bring" in read["notes"][0] and not read["changed"]
    healed = splitter(fake, GREEN).run()
    assert healed["changed"] and fake.sent == [] and fake.path.read_text() == "shop 100\n" and healed["diff"]["before"]["haproxy"] == GREEN


def test_a_worker_that_has_just_started_is_waited_for_before_it_is_judged(fake):
    fake.checks = "INI"
    assert splitter(fake, GREEN).run()["changed"] and fake.now > 0
    fake.checks = "INI"
    with pytest.raises(DowntimeError, match="only 0 serve at full weight"):
        splitter(fake, BLUE, timeout=0).run()


def test_a_level_below_admin_and_a_bad_floor_are_refused(fake):
    fake.level = "operator"
    with pytest.raises(DowntimeError, match="gives the level 'operator'"):
        splitter(fake, GREEN).run()
    with pytest.raises(DowntimeError, match="min_active is 'some'"):
        splitter(fake, GREEN, min_active="some").run()


@pytest.mark.parametrize("reply, sentence", [
    ("Unknown map identifier. Please use #<id> or <file>.", "haproxy has no map m.map"),
    ("Permission denied", "haproxy answered 'show map m.map' with: Permission denied"),
])
def test_other_replies_are_failures(reply, sentence):
    with pytest.raises(DowntimeError, match=sentence):
        _haproxy_split.Place("m.map", "shop", "/m.map").entries(reply)


# -- where it is -----------------------------------------------------------------------------------------------------------

TOPOLOGY = """
frontend {key}
    http-request set-var(txn.green) str({key}),map_str_int(maps/{file},3)
    http-request set-var(txn.draw) rand(100)
    use_backend {key}_green if {{ var(txn.draw),sub(txn.green) -m int lt 0 }}
    default_backend {key}_blue
"""


def config(*texts: str) -> _haproxy_config.Config:
    return _haproxy_config.Config(["/etc/haproxy/haproxy.cfg"], [section for text in texts for section in _haproxy_config.parse(text)])


def locate(found, wanted=None, sides=None, app=None, pools=()):
    return _haproxy_split.locate(found, "it cannot be read", wanted or {}, sides, app, lambda path: "/proxy/" + path, pools)


def test_the_topology_says_where_it_is():
    two = config(TOPOLOGY.format(key="shop", file="a.map"), TOPOLOGY.format(key="api", file="a.map"))
    place = locate(two, app="shop")
    assert (place.map, place.key, place.path, place.default) == ("maps/a.map", "shop", "/proxy/maps/a.map", 3)
    assert place.pools == {"blue": ["shop_blue"], "green": ["shop_green"]}
    assert locate(two, sides={"green": ["api_green"]}).key == "api" and locate(two, pools=["api_blue"]).key == "api"
    assert locate(two, {"key": "api"}).key == "api"
    with pytest.raises(DowntimeError, match="has 2 splits that could be meant .key shop in maps/a.map; key api in maps/a.map.; one of them as split_map and"):
        locate(two)


def test_sides_that_are_the_other_way_round_are_refused():
    with pytest.raises(DowntimeError, match="the side blue is pool shop_green by deploy_traffic, but key shop of maps/a.map sends it to shop_blue"):
        locate(config(TOPOLOGY.format(key="shop", file="a.map")), sides={"blue": ["shop_green"], "green": ["shop_blue"]})


def test_what_was_looked_for_is_said_with_the_lines_to_add():
    with pytest.raises(DowntimeError) as error:
        locate(config("frontend f\n mode http\n default_backend shop\n"), app="shop")
    assert "no split was found: looked for map_str_int(FILE,0) of str(shop)" in str(error.value)
    assert "in /etc/haproxy/haproxy.cfg. These lines add the second side: file /etc/haproxy/split.map: shop 0 | " in str(error.value)
    assert "frontend f: use_backend shop_green if { var(txn.draw),sub(txn.green) -m int lt 0 }" in str(error.value)
    for wanted, missing in (({"key": "other"}, r"FILE,0\) of str\(other\)"), ({"map": "/nowhere"}, r"/nowhere,0\)")):
        with pytest.raises(DowntimeError, match=r"no split was found: looked for map_str_int\(" + missing):
            locate(config(TOPOLOGY.format(key="shop", file="a.map")), wanted, app="shop")
    with pytest.raises(DowntimeError, match="but it cannot be read; split_map, split_key and the pools of both sides are accepted in its place"):
        locate(None, app="shop")
    given = locate(None, {"map": "/etc/s.map"}, {"blue": ["b"], "green": ["g"]}, "shop")
    assert (given.map, given.key, given.pools) == ("/etc/s.map", "shop", {"blue": ["b"], "green": ["g"]})


@pytest.mark.parametrize("wanted, sentence", [
    ({"key": "a b"}, "split_key is 'a b'; a text without blanks"), ({"map": "/a;x"}, "split_map is '/a;x'"),
])
def test_words_that_would_be_other_commands_are_refused(wanted, sentence):
    with pytest.raises(DowntimeError, match=sentence):
        locate(config(), wanted)


def test_a_map_without_a_file_is_refused():
    text = TOPOLOGY.format(key="shop", file="a.map").replace("maps/a.map", "virt@shop")
    with pytest.raises(DowntimeError, match="virt@shop of haproxy.cfg is kept in no file"):
        locate(config(text))
