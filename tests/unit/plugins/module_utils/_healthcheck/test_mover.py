# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._health import request as _request
from ansible_collections.zero.downtime.plugins.module_utils._healthcheck import mover as _healthcheck
from ansible_collections.zero.downtime.plugins.module_utils._healthcheck.driver import DRIVER

CHECK = "http://127.0.0.1:8000/ready"
STATS = "http://lb1:8404/stats;csv"
GAUGE = "http://127.0.0.1:8000/in_flight"
OFF = "/run/shop/off"


class World(_healthcheck.World):
    """A member, its application and a balancer, all simulated on one clock."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(self._run, clock=lambda: self.now, wall=lambda: 5000.0 + self.now, sleep=self._sleep)
        self.files: dict[str, float] = {}
        self.commands: list[list[str]] = []
        self.command_code = 0
        self.off_by_command = False
        self.heeds = True
        self.alive = True
        self.warm_from = 0.0
        self.request_until = 0.0
        self.uptime = 86400
        self.status: str | None = None
        self.throttle = ""
        self.others = {"app2": "UP", "app3": "UP", "app4": "UP"}
        self.directory_fault: str | None = None
        self.asked: list[str] = []
        self._changed_at = -100.0
        self._was_ready = True

    # what the collection does to it
    def _sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += max(seconds, 0.001)

    def _run(self, argv: list[str]) -> tuple[int, str, str]:
        self.commands.append(argv)
        if self.command_code == 0:
            self.off_by_command = argv[0] == "off"
            self._note()
        return self.command_code, "", "first line\nno such thing\n"

    def age(self, path: str) -> float | None:
        return self.wall() - self.files[path] if path in self.files else None

    def fault_of_directory(self, path: str) -> str | None:
        return self.directory_fault

    def create(self, path: str) -> None:
        assert path not in self.files
        self.files[path] = self.wall()
        self._note()

    def remove(self, path: str) -> None:
        del self.files[path]
        self._note()

    # what it is
    @property
    def ready(self) -> bool:
        off = self.heeds and (bool(self.files) or self.off_by_command)
        return self.alive and not off and self.now >= self.warm_from

    def _note(self) -> None:
        self._changed_at = self.now

    def balancer_status(self) -> str:
        if self.status is not None:
            return self.status
        since = self.now - max(self._changed_at, self.warm_from if self.ready else -100.0)
        if self.ready:
            return "UP" if since >= 2 * 2 or self._changed_at < 0 else "DOWN 1/2"
        return "DOWN" if since >= 2 * 3 or self._changed_at < 0 else "UP 1/3"

    def get(self, url: str, connect_timeout: float, read_timeout: float, headers: t.Mapping[str, str]) -> _request.Answer:
        self.asked.append(url)
        busy = int(self.now < self.request_until)
        if url == CHECK:
            return _request.Answer(200 if self.ready else 503) if self.alive else _request.Answer(error="127.0.0.1:8000 refused the connection")
        if url == GAUGE:
            return _request.Answer(200, body='{"http": {"open": %d}}' % busy)
        if url == STATS:
            lines = ["# pxname,svname,qcur,scur,status,weight,check_status,throttle,type,addr,"]
            lines.append("front,FRONTEND,,9,OPEN,,,,0,,")
            servers = {"app1": (self.balancer_status(), busy), **{name: (status, 0) for name, status in self.others.items()}}
            for name, (status, scur) in servers.items():
                lines.append(f"shop,{name},0,{scur},{status},100,L7OK,{self.throttle if name == 'app1' else ''},2,10.0.0.1:80,")
            lines.append("shop,BACKEND,0,9,UP,300,,,1,,")
            return _request.Answer(200, body="\n".join(lines) + "\n")
        if url == "http://lb1:8404/stats":
            minutes, seconds = divmod(self.uptime, 60)
            return _request.Answer(200, body=f"<b>uptime = </b> 0d {minutes // 60}h{minutes % 60:02d}m{seconds:02d}s<br>")
        raise AssertionError(f"an unplanned request: {url}")


def params(state: str, **options: t.Any) -> dict[str, t.Any]:
    given = {name: option.get("default") for name, option in _healthcheck.argument_spec().items()}
    given.update(members=["app1"], state=state, off_file=OFF, check_url=CHECK, slowest_request=10.0)
    given.update(options)
    return given


def call(world: World, state: str, check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
    return _healthcheck.Mover(params(state, **options), world, check_mode).run()


STATS_GIVEN: dict[str, t.Any] = dict(stats_url=[STATS], pools=[dict(name="shop", server=None, port=8000, side="blue")])
GAUGE_GIVEN: dict[str, t.Any] = dict(in_flight=dict(url=GAUGE, field="http.open"))
COMMANDS: dict[str, t.Any] = dict(off_file=None, off_command="off 'the member'", on_command=["on", 1])


@pytest.fixture
def world() -> World:
    return World()


def only(result: dict[str, t.Any]) -> dict[str, t.Any]:
    assert len(result["members"]) == 1
    return result["members"][0]


# --- the ladder of proof ---


@pytest.mark.claim("hc-statistics-prove")
def test_statistics_prove_a_drain(world: World) -> None:
    world.request_until = 8.0
    result = call(world, "drained", **STATS_GIVEN)
    assert only(result) == dict(name="app1", pool="shop", address="10.0.0.1:80", state="drained", weight=100, in_flight=0, drained_by="sessions", cut=0)
    assert (result["proof"], result["floor"], result["changed"]) == ("stats", "enforced", True)
    assert 8.0 < result["waited"] < 9.0
    assert OFF in world.files


def test_statistics_on_the_way_down_do_not_count_as_out(world: World) -> None:
    world.status = "UP 1/3"
    with pytest.raises(_healthcheck.NotReached, match=r"not drained after 20 s: pool shop says UP 1/3 with 0 requests in flight; it stays out") as caught:
        call(world, "drained", timeout=20, **STATS_GIVEN)
    assert caught.value.details["until_back"] == "; it stays out of traffic"


# 10 s told may be a little more than 9 s lived.
@pytest.mark.claim("hc-young-workers-prove-nothing")
@pytest.mark.parametrize("uptime", [0, 3, 10])
def test_statistics_of_a_young_worker_prove_nothing(world: World, uptime: int) -> None:
    # A reload a moment ago: an old worker may still carry a request that this one knows nothing of.
    world.uptime = uptime
    result = call(world, "drained", **STATS_GIVEN)
    assert only(result)["drained_by"] == "waited"
    assert result["proof"] is None
    assert result["waited"] >= 10.0


def test_statistics_of_a_worker_that_is_old_enough_prove_it(world: World) -> None:
    world.uptime = 11
    assert only(call(world, "drained", **STATS_GIVEN))["drained_by"] == "sessions"


def test_statistics_of_a_young_worker_with_the_gauge_prove_it(world: World) -> None:
    world.uptime = 3
    world.request_until = 7.0
    result = call(world, "drained", **STATS_GIVEN, **GAUGE_GIVEN)
    assert (only(result)["drained_by"], result["proof"]) == ("sessions", "gauge")
    assert 7.0 < result["waited"] < 8.0


@pytest.mark.claim("hc-gauge-proves")
def test_the_gauge_counts_once_the_balancer_has_noticed(world: World) -> None:
    result = call(world, "drained", **GAUGE_GIVEN)
    assert (only(result)["drained_by"], only(result)["in_flight"], result["proof"]) == ("sessions", 0, "gauge")
    assert 6.0 <= result["waited"] < 7.0
    assert result["floor"] == "unenforced"


def test_the_gauge_waits_for_the_last_request(world: World) -> None:
    world.request_until = 30.0
    assert 30.0 < call(world, "drained", **GAUGE_GIVEN)["waited"] < 31.0
    world = World()
    world.request_until = 30.0
    with pytest.raises(_healthcheck.NotReached, match="not drained after 20 s: the application says 1 request in flight") as caught:
        call(world, "drained", timeout=20, **GAUGE_GIVEN)
    assert caught.value.details["members"][0]["drained_by"] is None
    assert caught.value.details["members"][0]["in_flight"] == 1
    assert caught.value.details["changed"] is True


@pytest.mark.claim("hc-time-is-waited")
def test_without_either_time_is_waited_and_said_so(world: World) -> None:
    result = call(world, "drained")
    assert only(result)["drained_by"] == "waited"
    assert only(result)["in_flight"] is None
    assert result["proof"] is None
    assert 16.0 <= result["waited"] < 16.5


def test_time_that_has_passed_since_the_file_was_made_counts(world: World) -> None:
    call(world, "drained", wait=False)
    world.now += 10
    second = call(world, "drained")
    assert second["changed"] is False
    assert 6.0 <= second["waited"] < 6.5
    third = call(world, "drained")
    assert third["waited"] < 0.5
    assert third["diff"]["before"] == third["diff"]["after"]


def test_time_does_not_count_while_the_application_had_not_heeded_the_file(world: World) -> None:
    world.files[OFF] = world.wall() - 1000
    world.heeds = False
    world.sleep = lambda seconds: (setattr(world, "now", world.now + seconds), setattr(world, "heeds", True))  # type: ignore[method-assign]
    assert call(world, "drained")["waited"] >= 16.0


# --- taking out ---


def test_an_application_that_does_not_heed_the_switch_is_found_out(world: World) -> None:
    world.heeds = False
    with pytest.raises(_healthcheck.NotReached, match=r"app1 still answered 200 at .* after 20 s although /run/shop/off exists"):
        call(world, "drained", timeout=20)


def test_a_member_that_becomes_ready_again_is_not_drained(world: World) -> None:
    world.sleep = lambda seconds: (setattr(world, "now", world.now + seconds), world.files.clear() if world.now > 5 else None)  # type: ignore[method-assign]
    with pytest.raises(_healthcheck.NotReached, match="became ready again while it was drained"):
        call(world, "drained")


def test_a_dead_application_counts_as_failing(world: World) -> None:
    world.alive = False
    assert only(call(world, "drained"))["state"] == "drained"
    assert OFF in world.files


def test_down_does_not_wait_for_what_is_in_flight(world: World) -> None:
    world.request_until = 100.0
    result = call(world, "down", **STATS_GIVEN)
    assert only(result)["state"] == "down"
    assert only(result)["in_flight"] == 1
    assert result["waited"] < 0.5


def test_without_waiting_only_statistics_say_drained(world: World) -> None:
    begun = call(world, "drained", wait=False, **STATS_GIVEN)
    assert (only(begun)["state"], begun["changed"], begun["waited"]) == ("draining", True, 0.0)
    world.now += 20
    assert only(call(world, "drained", wait=False, **STATS_GIVEN))["state"] == "drained"
    assert only(call(world, "drained", wait=False))["state"] == "draining"
    assert only(call(world, "down", wait=False))["state"] == "down"


@pytest.mark.claim("hc-commands-in-place-of-the-file")
def test_commands_switch_where_there_is_no_file(world: World) -> None:
    first = call(world, "drained", **COMMANDS, **GAUGE_GIVEN)
    assert world.commands == [["off", "the member"]]
    assert first["changed"] is True
    assert call(world, "drained", **COMMANDS, **GAUGE_GIVEN)["changed"] is False
    back = call(world, "active", **COMMANDS, **GAUGE_GIVEN)
    assert world.commands == [["off", "the member"], ["on", "1"]]
    assert back["changed"] is True
    assert call(world, "active", **COMMANDS, **GAUGE_GIVEN)["changed"] is False


def test_a_failing_command_is_told_without_its_arguments(world: World) -> None:
    world.command_code = 3
    with pytest.raises(DowntimeError) as caught:
        call(world, "drained", **COMMANDS)
    assert str(caught.value) == "off_command (off) ended with 3: no such thing; accepted: a command that ends with 0"


# --- bringing back ---


def test_active_waits_for_the_balancer(world: World) -> None:
    call(world, "drained", **STATS_GIVEN)
    begun = world.now
    result = call(world, "active", **STATS_GIVEN)
    assert (only(result)["state"], result["proof"], result["changed"]) == ("active", "stats", True)
    assert 4.0 <= world.now - begun < 5.0
    assert result["diff"] == dict(before=dict(members=[dict(name="app1", state="drained")]), after=dict(members=[dict(name="app1", state="active")]))


@pytest.mark.claim("hc-back-when-up-and-warm")
def test_active_waits_for_slow_start_to_be_over(world: World) -> None:
    world.throttle = "19"
    with pytest.raises(_healthcheck.NotReached, match=r"does not serve after 10 s: pool shop says UP at 19 % of its weight"):
        call(world, "active", timeout=10, **STATS_GIVEN)
    world.throttle = "100"
    call(world, "active", timeout=10, **STATS_GIVEN)


@pytest.mark.claim("hc-back-without-statistics")
def test_active_without_statistics_wants_readiness_without_a_break(world: World) -> None:
    world.files[OFF] = world.wall()
    world.warm_from = 5.0
    result = call(world, "active")
    assert 9.0 <= result["waited"] < 9.5
    assert result["proof"] is None


def test_active_that_never_becomes_ready_fails(world: World) -> None:
    world.warm_from = 1000.0
    with pytest.raises(_healthcheck.NotReached, match=r"app1 does not serve after 20 s: http://127.0.0.1:8000/ready says: answered 503"):
        call(world, "active", timeout=20)


@pytest.mark.claim("hc-maintenance-is-left")
@pytest.mark.parametrize("status", ["MAINT", "MAINT (via shop/app2)", "DRAIN"])
def test_a_member_that_somebody_else_took_out_is_left_out(world: World, status: str) -> None:
    world.files[OFF] = world.wall()
    world.status = status
    with pytest.raises(DowntimeError, match="somebody took it out at the balancer"):
        call(world, "active", **STATS_GIVEN)
    assert OFF in world.files


# --- the floor ---


@pytest.mark.parametrize("min_active, together, fits", [
    ("3", ["app1"], True),
    ("4", ["app1"], False),
    ("75%", ["app1"], True),
    ("76%", ["app1"], False),
    ("3", ["app1", "app2"], False),
    ("2", ["app1", "app2"], True),
])
def test_floor_counts_the_whole_batch(world: World, min_active: str, together: list[str], fits: bool) -> None:
    options = dict(STATS_GIVEN, min_active=min_active, together=together)
    if fits:
        call(world, "drained", **options)
    else:
        with pytest.raises(DowntimeError, match=f"min_active is {min_active}"):
            call(world, "drained", **options)
        assert world.files == {}


def test_floor_does_not_keep_a_dead_member_in(world: World) -> None:
    world.status = "DOWN"
    call(world, "drained", min_active="4", **STATS_GIVEN)


def test_floor_does_not_count_members_that_are_not_up_for_good(world: World) -> None:
    world.others["app2"] = "UP 1/3"
    with pytest.raises(DowntimeError, match="2 would be left"):
        call(world, "drained", min_active="3", **STATS_GIVEN)


# --- check mode ---


@pytest.mark.claim("check-counts-who-comes-back")
def test_in_check_mode_the_floor_counts_whom_earlier_moves_would_have_brought_back(world: World) -> None:
    world.others["app2"] = "DOWN"
    options = dict(STATS_GIVEN, min_active="3", restored=["app2"])
    assert call(world, "drained", check_mode=True, **options)["changed"]
    with pytest.raises(DowntimeError, match="2 would be left"):
        call(world, "drained", **options)


@pytest.mark.parametrize("options", [STATS_GIVEN, GAUGE_GIVEN, COMMANDS])
def test_check_mode_looks_and_changes_nothing(world: World, options: dict[str, t.Any]) -> None:
    told = call(world, "drained", check_mode=True, **options)
    assert (told["changed"], only(told)["state"], told["waited"]) == (True, "drained", 0.0)
    assert CHECK in world.asked
    assert (world.files, world.commands) == ({}, [])


def test_check_mode_holds_the_floor_and_foretells_a_directory_that_is_not_there(world: World) -> None:
    with pytest.raises(DowntimeError, match="min_active"):
        call(world, "drained", check_mode=True, min_active="4", **STATS_GIVEN)
    world.directory_fault = "does not exist"
    with pytest.raises(DowntimeError, match="lies in a directory that does not exist"):
        call(world, "drained", check_mode=True)


# --- bad input ---


@pytest.mark.claim("hc-bad-times-refused")
@pytest.mark.parametrize("options, words", [
    (dict(members=[]), "members names 0 members"),
    (dict(members=["app1", "app2"]), "exactly one"),
    (dict(weight=10), "weight is 10"),
    (dict(timeout_action="cut"), "timeout_action is 'cut'; accepted: fail"),
    (dict(streams="leave"), "streams is 'leave'; accepted: wait, since this driver cannot tell streams from requests"),
    (dict(timeout=0), "timeout is 0"),
    (dict(fall=0), "fall is 0"),
    (dict(inter=0.0), "inter is 0"),
    (dict(slowest_request=-1.0), "slowest_request is -1"),
    (dict(off_file=None), "nothing says how readiness is failed"),
    (dict(off_file=None, off_command="off"), "off_command with on_command"),
    (dict(on_command="on"), "off_file and on_command are both given"),
    (dict(off_file="off"), "off_file is 'off'; accepted: an absolute path"),
    (dict(off_file=None, off_command="off 'x", on_command="on"), "cannot be split"),
    (dict(off_file=None, off_command={"a": 1}, on_command="on"), "off_command is a dict"),
    (dict(check_url="http://127.0.0.1:8000"), "has no path"),
    (dict(in_flight=dict(url="nowhere", field=None)), "in_flight.url"),
    (dict(stats_url=["lb1/stats;csv"]), "stats_url 'lb1/stats;csv'"),
    (dict(stats_url=[STATS]), "stats_url is given without pools"),
    (dict(min_active="some"), "min_active is 'some'"),
    (dict(timeout=16), "timeout is 16 s; accepted: more than the 16 s of inter × fall + slowest_request"),
    (dict(timeout=6, **GAUGE_GIVEN), "more than the 6 s of inter × fall,"),
])
def test_bad_input_is_one_sentence_and_changes_nothing(world: World, options: dict[str, t.Any], words: str) -> None:
    with pytest.raises(DowntimeError) as caught:
        call(world, "drained", **options)
    assert words in str(caught.value)
    assert "accepted" in str(caught.value)
    assert (world.files, world.commands) == ({}, [])


@pytest.mark.parametrize("pool, server, words", [
    ("shop", "app9", "members names 'app9', which pool shop at http://lb1:8404/stats;csv does not have; accepted: app1, app2, app3, app4"),
    ("blog", None, "pools names 'blog', which http://lb1:8404/stats;csv does not have; accepted: shop"),
])
def test_what_the_balancer_does_not_know_is_refused(world: World, pool: str, server: str | None, words: str) -> None:
    with pytest.raises(DowntimeError, match=words):
        call(world, "drained", stats_url=[STATS], pools=[dict(name=pool, server=server)])
    assert world.files == {}


def test_an_unchecked_server_is_refused(world: World) -> None:
    world.status = "no check"
    with pytest.raises(DowntimeError, match="has no health check"):
        call(world, "drained", **STATS_GIVEN)


@pytest.mark.parametrize("answer, words", [
    (_request.Answer(error="lb1:8404 refused the connection"), "cannot be read: lb1:8404 refused the connection"),
    (_request.Answer(401), "cannot be read: it answered 401"),
    (_request.Answer(200, body="<html>"), "does not answer with HAProxy's CSV"),
])
def test_statistics_that_cannot_be_read_are_told(world: World, answer: _request.Answer, words: str) -> None:
    real = world.get
    world.get = lambda url, *rest: answer if url == STATS else real(url, *rest)  # type: ignore[method-assign]
    with pytest.raises(DowntimeError, match=words):
        call(world, "drained", **STATS_GIVEN)
    assert world.files == {}


@pytest.mark.parametrize("body", ["{}", '{"http": {"open": "3"}}', '{"http": {"open": true}}', '{"http": {"open": -1}}', "none"])
def test_a_gauge_that_is_no_number_is_told(world: World, body: str) -> None:
    real = world.get
    world.get = lambda url, *rest: _request.Answer(200, body=body) if url == GAUGE else real(url, *rest)  # type: ignore[method-assign]
    with pytest.raises(DowntimeError, match="is no number"):
        call(world, "drained", **GAUGE_GIVEN)


# --- files ---


def test_the_file_is_readable_by_the_application(tmp_path: t.Any) -> None:
    real = _healthcheck.World(lambda argv: (0, "", ""))
    path = str(tmp_path / "off")
    assert real.age(path) is None
    assert real.fault_of_directory(path) is None
    assert real.fault_of_directory(str(tmp_path / "nowhere" / "off")) == "does not exist"
    real.create(path)
    assert (tmp_path / "off").stat().st_mode & 0o777 == 0o644
    assert 0 <= (real.age(path) or 0.0) < 5
    with pytest.raises(DowntimeError, match="cannot be created"):
        real.create(path)
    real.remove(path)
    with pytest.raises(DowntimeError, match="cannot be removed"):
        real.remove(path)


# --- the driver ---


def test_driver_hands_on_what_deploy_traffic_says() -> None:
    traffic = {name: option.get("default") for name, option in DRIVER.traffic_spec.items()}
    traffic.update(off_file=OFF, check_url=CHECK)
    args = DRIVER.member_args(traffic, ["app1", "app2"])
    assert args["off_file"] == OFF
    assert args["together"] == ["app1", "app2"]
    assert "off_command" not in args
    assert set(args) <= set(_healthcheck.argument_spec())


@pytest.mark.claim("hc-gate-needs-another-path")
@pytest.mark.parametrize("health, pools, refused", [
    (dict(path="/ready"), [dict(name="shop", port=8000)], True),
    (dict(path="/ready"), [], True),
    (dict(path="/ready", port=8000), [dict(name="shop", port=80)], True),
    (dict(path="/ready", port=9000), [dict(name="shop", port=8000)], False),
    (dict(path="/health"), [dict(name="shop", port=8000)], False),
    (dict(), [], False),
])
def test_a_gate_on_the_check_that_is_made_to_fail_is_refused(health: dict[str, t.Any], pools: list[dict[str, t.Any]], refused: bool) -> None:
    traffic = dict(check_url=CHECK, pools=pools)
    if refused:
        with pytest.raises(DowntimeError, match="deploy_health.path is '/ready'"):
            DRIVER.check(traffic, health)
    else:
        DRIVER.check(traffic, health)
