# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rig a driver: real parts, and the driver's module called as the collection or Ansible calls it.

A new driver joins the suite by adding a rig to ``RIGS``, and to ``SIDED_RIGS`` when it splits; the tests themselves know no technology.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

import calling
import haproxy_stage
import nginx_stage

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers

HERE = pathlib.Path(__file__).resolve().parent

# HAProxy's checks in the stages below: inter 100 ms, fall 2, rise 3.
INTER, FALL, RISE = 0.1, 2, 3
# A request that is under way while its member leaves. The drivers are told that none takes longer.
SLOW_MS, SLOWEST = 700, 0.9


class Rig:
    """What the suite needs to know about a driver and its real parts."""

    name = ""
    driver = ""
    members: t.Sequence[str] = ("app1", "app2", "app3")
    has_traffic = True
    knows_members = True
    holds_floor = True
    # How long at most the driver takes to drain an idle member.
    patience = 5.0
    # What may stand in drained_by.
    drained_by: t.Sequence[t.Optional[str]] = ("sessions",)

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        pass

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        return {}

    def call(self, members: t.Sequence[str], state: str, check: bool = False, start: calling.Start = calling.in_process,
             **options: t.Any) -> dict[str, t.Any]:
        """The driver's module on each of its hosts at the same time, as the facade does it, and one result of all."""
        module = _drivers.load(self.driver).module("members")
        given = [dict(arguments, state=state, **options) for arguments in self.arguments(members)]
        return self.merged([call.result() for call in [start(module, arguments, check) for arguments in given]])

    def arguments(self, members: t.Sequence[str]) -> list[dict[str, t.Any]]:
        """What the module gets on each host, out of C(deploy_traffic)."""
        return [self.arguments_from(self.traffic(), members, members)]

    def arguments_from(self, traffic: dict[str, t.Any], members: t.Sequence[str], moved: t.Sequence[str]) -> dict[str, t.Any]:
        driver = _drivers.load(self.driver)
        return dict(driver.member_args(_spec.check(traffic, driver.traffic_spec, "traffic."), list(members)), members=list(moved))

    def merged(self, results: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        (result,) = results
        return result

    def state(self) -> dict[str, str]:
        """Each member's state by a look from outside the collection."""
        return {}


class NoneRig(Rig):
    name = driver = "none"
    has_traffic = knows_members = holds_floor = False
    drained_by = (None,)


class BalancedRig(Rig):
    """Three members behind one real balancer, a HAProxy where nothing else is said."""

    # What the balancer says of a member that it sends requests to.
    serving = "UP"

    def __init__(self) -> None:
        self.stage: t.Any = self.make_stage()

    def make_stage(self) -> t.Any:
        return haproxy_stage.HaproxyStage({"shop": list(self.members)})

    def __enter__(self) -> Rig:
        self.stage.__enter__()
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self.stage.__exit__(*exc)

    def state(self) -> dict[str, str]:
        text = haproxy_stage.ask(self.stage.socket, "show stat -1 4 -1")
        rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
        return {row[1]: haproxy_stage.status_of(row[17]) for row in rows}

    def get(self, path: str = "/", timeout: float = 10.0) -> tuple[int, str]:
        """One request through the balancer on a fresh connection: status and member. 0 for any failure of transport."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stage.port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("x-member") or ""
        except (OSError, http.client.HTTPException) as exc:
            return 0, repr(exc)
        finally:
            connection.close()

    def slow_everywhere(self) -> list[concurrent.futures.Future[tuple[int, str]]]:
        """A slow request on every member; returns when all of them are under way, from when on they take C(SLOW_MS)."""
        futures = self.held_everywhere()
        timer = threading.Timer(SLOW_MS / 1000, self.let_go)
        timer.daemon = True
        timer.start()
        return futures

    def let_go(self, really: bool = True) -> None:
        """Have every member answer its ``/held`` requests."""
        for name in self.members:
            haproxy_stage.get(self.stage.app_url(name) + f"/ctl?let_go={really:d}")

    def held_everywhere(self) -> list[concurrent.futures.Future[tuple[int, str]]]:
        """A request on every member that is not answered before C(let_go); returns when all of them are under way."""
        self.let_go(False)
        pool = concurrent.futures.ThreadPoolExecutor(len(self.members))
        futures = [pool.submit(self.get, "/held", 60.0) for dummy in self.members]
        pool.shutdown(wait=False)

        def under_way() -> bool:
            return all(json.loads(haproxy_stage.get(self.stage.app_url(name) + "/in_flight")[1])["held"] >= 1 for name in self.members)

        haproxy_stage.wait_until(under_way, "a slow request on every member")
        return futures


class HaproxyRig(BalancedRig):
    name = driver = "haproxy"

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        return dict(balancers="lb", socket=self.stage.socket, master_socket=self.stage.master_socket, pools=[dict(name="shop", port=8000)])


class NginxRig(BalancedRig):
    name = driver = "nginx"
    drained_by = ("workers_exited",)
    serving = "up"

    def make_stage(self) -> nginx_stage.NginxStage:
        return nginx_stage.NginxStage({"shop": list(self.members)})

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        return dict(self.stage.options, balancers="lb", probe_path="/ready", slowest_request=5.0, pools=[dict(name="shop", port=8000)])

    def state(self) -> dict[str, str]:
        down = self.stage.down()
        return {name: "down" if name in down else self.serving for name in self.members}


class Elbv2Rig(BalancedRig):
    """Targets of a group, on the AWS stage."""

    name = driver = "elbv2"
    drained_by = ("deregistered",)
    serving = "healthy"
    pools: dict[str, list[str]] = {"shop": ["app1", "app2", "app3"]}

    def make_stage(self) -> t.Any:
        # Only who needs it pays for it.
        import members_stage  # pylint: disable=import-outside-toplevel

        return members_stage.MembersStage(self.pools)

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        return dict(self.stage.access(), pools=self.stage.groups())

    def state(self) -> dict[str, str]:
        return self.stage.states()


SIDES = {"shop_blue": ["b1", "b2"], "shop_green": ["g1", "g2"]}
SIDED = [dict(name="shop_blue", side="blue", port=8000), dict(name="shop_green", side="green", port=8001)]


class SidedRig(BalancedRig):
    """Two sides behind one balancer; blue has all of the requests."""

    members = ("b1", "b2", "g1", "g2")
    # What blue's pool is called.
    blue = "shop_blue"

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        return dict(super().traffic(member), pools=SIDED)

    def split(self, shares: dict[str, int] | None = None, check: bool = False, pools: t.Any = None, start: calling.Start = calling.in_process,
              **options: t.Any) -> dict[str, t.Any]:
        driver = _drivers.load(self.driver)
        assert driver.split_args is not None
        traffic = _spec.check(dict(self.traffic(), pools=pools or SIDED), driver.traffic_spec, "traffic.")
        return start(driver.module("split"), dict(driver.split_args(traffic, "shop"), shares=shares, **options), check).result()


class HaproxySides(SidedRig, HaproxyRig):
    def make_stage(self) -> haproxy_stage.HaproxyStage:
        stage = haproxy_stage.HaproxyStage(SIDES)
        path = stage.dir / "split.map"
        path.write_text("shop 0\n", encoding="ascii")
        stage.frontend_lines += [f"http-request set-var(txn.green) str(shop),map_str_int({path},0)", "http-request set-var(txn.draw) rand(100)",
                                 "use_backend shop_green if { var(txn.draw),sub(txn.green) -m int lt 0 }"]
        return stage


class NginxSides(SidedRig, NginxRig):
    def make_stage(self) -> nginx_stage.NginxStage:
        return nginx_stage.NginxStage(SIDES, split="shop")


class Elbv2Sides(SidedRig, Elbv2Rig):
    """The weights of a listener's forward action. The name of a target group has no underscore."""

    blue = "shop-blue"
    pools = {pool.replace("_", "-"): members for pool, members in SIDES.items()}

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        return dict(self.stage.access(), load_balancer="shop", pools=self.stage.groups(blue=dict(side="blue"), green=dict(side="green")))

    def split(self, shares: dict[str, int] | None = None, check: bool = False, pools: t.Any = None, start: calling.Start = calling.in_process,
              **options: t.Any) -> dict[str, t.Any]:
        given = [dict(pool, name=pool["name"].replace("_", "-")) for pool in pools or ()] or self.traffic()["pools"]
        return super().split(shares, check, given, start, **options)


SIDED_RIGS: dict[str, t.Callable[[], SidedRig]] = {rig.name: rig for rig in (HaproxySides, NginxSides, Elbv2Sides)}


class SwitchableStage(haproxy_stage.HaproxyStage):
    """Members whose readiness follows a file, and a read-only statistics page."""

    def __init__(self, pools: dict[str, list[str]]) -> None:
        self.stats_port = haproxy_stage.free_port()
        super().__init__(pools, extra=f"listen stats\n    bind 127.0.0.1:{self.stats_port}\n    stats enable\n    stats uri /stats\n")

    def off_file(self, name: str) -> str:
        return str(self.dir / f"{name}.off")

    def start_app(self, name: str, label: str = "1.0.0", wait: bool = True, warm_ms: float = 0) -> None:
        self.apps[name] = subprocess.Popen(
            [sys.executable, str(HERE / "switchable_app.py"), "--port", str(self.ports[name]), "--name", name, "--label", label,
             "--warm-ms", str(warm_ms)], stdin=subprocess.DEVNULL, env=dict(os.environ, OFF_FILE=self.off_file(name)))
        if wait:
            self.wait_app(name)


class HealthcheckRig(BalancedRig):
    driver = "healthcheck"
    stage: SwitchableStage

    def make_stage(self) -> SwitchableStage:
        return SwitchableStage({"shop": list(self.members)})

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        name = member if member in self.members else self.members[0]
        return dict(
            off_file=self.stage.off_file(name), check_url=self.stage.app_url(name) + "/ready", inter=INTER, fall=FALL, rise=RISE,
            slowest_request=SLOWEST, pools=[dict(name="shop", port=8000)])

    def arguments(self, members: t.Sequence[str]) -> list[dict[str, t.Any]]:
        """Each member's host moves its own member, and hears of the others."""
        return [self.arguments_from(self.traffic(member), members, [member]) for member in members]

    def merged(self, results: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        if len(results) == 1:
            return results[0]
        merged = dict(results[0])
        merged["changed"] = any(result.get("changed") for result in results)
        merged["members"] = [member for result in results for member in result.get("members", [])]
        merged["diff"] = dict(
            before=dict(members=[m for result in results if "diff" in result for m in result["diff"]["before"]["members"]]),
            after=dict(members=[m for result in results if "diff" in result for m in result["diff"]["after"]["members"]]))
        failed = [result["msg"] for result in results if result.get("failed")]
        if failed:
            merged.update(failed=True, msg="; ".join(failed))
        return merged


class StatsRig(HealthcheckRig):
    name = "healthcheck-stats"

    def __enter__(self) -> Rig:
        super().__enter__()
        # Statistics of a worker younger than the slowest request prove nothing; see the driver.
        time.sleep(SLOWEST + 1.2)
        return self

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        return dict(super().traffic(member), stats_url=[f"http://127.0.0.1:{self.stage.stats_port}/stats;csv"])


class GaugeRig(HealthcheckRig):
    """Switched by commands, which leave no file to look at."""

    name = "healthcheck-gauge"
    knows_members = holds_floor = False

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        traffic = super().traffic(member)
        path = traffic.pop("off_file")
        url = traffic["check_url"].rsplit("/", 1)[0] + "/in_flight"
        # Nothing shows when the balancer has noticed, so the driver is told more than it takes: HAProxy may stand still for a moment, too.
        return dict(traffic, inter=4 * INTER, off_command=["touch", path], on_command=f"rm -f {path}", in_flight=dict(url=url, field="in_flight"))


class WaitedRig(HealthcheckRig):
    name = "healthcheck-waited"
    knows_members = holds_floor = False
    drained_by = ("waited",)


RIGS: dict[str, t.Callable[[], Rig]] = {rig.name: rig for rig in (HaproxyRig, NginxRig, StatsRig, GaugeRig, WaitedRig, NoneRig, Elbv2Rig)}


def of_others() -> None:
    """Add the rigs that drivers of other collections bring along: their tests have a C(rig.py)."""
    import rig  # pylint: disable=import-outside-toplevel

    RIGS[rig.DeskRig.name] = rig.DeskRig


class Load:
    """Requests without pause on fresh connections while the block runs; every answer is kept."""

    def __init__(self, rig: BalancedRig) -> None:
        self.rig = rig
        self.answers: list[tuple[float, int, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            status, member = self.rig.get()
            self.answers.append((started, status, member))
            self._stop.wait(0.01)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def failures(self) -> list[tuple[float, int, str]]:
        return [answer for answer in self.answers if answer[1] != 200]

    def served_by(self, since: float) -> set[str]:
        return {member for started, status, member in self.answers if started >= since and status == 200}
