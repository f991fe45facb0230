# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._shadow import replay as _replay
from ansible_collections.zero.downtime.plugins.module_utils._shadow import shadow as _shadow


def options(**given):
    return _spec.check(given, _shadow.OPTIONS, "deploy_shadow.")


def checked(driver="haproxy", strategy="blue_green", **given):
    return _shadow.check(options(**given), _drivers.load(driver), strategy)


@pytest.mark.parametrize("driver, given, method", [
    ("haproxy", {"log": "/l"}, "replay"),
    ("nginx", {"log": "/l"}, "replay"),
    ("nginx", {}, "mirror"),
    ("nginx", {"share": 5, "duration": 60}, "mirror"),
    ("nginx", {"method": "replay", "log": "/l"}, "replay"),
])
def test_the_method_follows_from_driver_and_log(driver, given, method):
    assert checked(driver, **given)["method"] == method


@pytest.mark.claim("shadow-other-drivers-refused")
@pytest.mark.parametrize("driver, strategy, given, sentence", [
    ("haproxy", "rolling", {"log": "/l"}, "deploy_strategy is 'rolling', which has no idle side; with it works blue_green"),
    ("none", "blue_green", {"log": "/l"}, "driver none can neither mirror requests nor has it a log to replay them from; it works with haproxy (replay), "
                                          "nginx (mirror, replay)"),
    ("haproxy", "blue_green", {"method": "mirror"}, "deploy_shadow.method is 'mirror', which driver haproxy cannot do; with it works replay"),
    ("haproxy", "blue_green", {}, "deploy_shadow.log is missing"),
    ("haproxy", "blue_green", {"log": "/l", "share": 5}, "deploy_shadow.share is 5, which has no effect with deploy_shadow.method replay"),
    ("nginx", "blue_green", {"rate": 5}, "deploy_shadow.rate is 5.0, which has no effect with deploy_shadow.method mirror"),
    ("nginx", "blue_green", {"share": 0}, "deploy_shadow.share is 0; a whole percentage from 1 to 100"),
    ("haproxy", "blue_green", {"log": "/l", "pace": 0}, "deploy_shadow.pace is 0; times the recorded pace above 0"),
    ("haproxy", "blue_green", {"log": "/l", "exclude": ["("]}, "deploy_shadow.exclude has '('"),
])
def test_what_cannot_work_is_refused(driver, strategy, given, sentence):
    with pytest.raises(DowntimeError) as error:
        checked(driver, strategy, **given)
    assert sentence in str(error.value)


def test_unknown_options_are_named():
    with pytest.raises(DowntimeError, match="deploy_shadow.sharee is no known option.*did you mean share"):
        options(sharee=1)


def entry(name, address, full=True, state="active"):
    return {"name": name, "address": address, "full": full, "state": state}


TOLD = {
    "lb1": {"pools": [{"name": "b", "members": [entry("one", "192.0.2.1:1"), entry("two", "192.0.2.2:1"), entry("three", "192.0.2.3:1", state="drained")]},
                      {"name": "g", "members": [entry("one", "192.0.2.1:2", full=False), entry("two", "192.0.2.2:2"), entry("three", "192.0.2.3:2")]}]},
}
TOLD["lb2"] = TOLD["lb1"]
HOSTS = {"app1": {"server": "one"}, "app2": {"server": "two"}, "app3": {"server": "three"}}


def shadow(**given):
    return {**checked(log="/l", **given), "targets": _shadow.targets(TOLD, ("b", HOSTS), ("g", HOSTS)), "backends": ["b", "g"], "release_header": "x-release"}


def test_members_are_asked_where_the_balancer_reaches_them():
    assert _shadow.targets(TOLD, ("b", HOSTS), ("g", HOSTS))["lb2"] == {
        "live": {"app1": "192.0.2.1:1", "app2": "192.0.2.2:1"},
        "idle": {"app1": "192.0.2.1:2", "app2": "192.0.2.2:2", "app3": "192.0.2.3:2"}}


def test_each_balancer_asks_others_and_takes_its_part_of_the_rate():
    first, second = (_shadow.replay_args(shadow(rate=20), name) for name in ("lb1", "lb2"))
    assert (first["primary"], first["secondary"], first["candidate"], first["rate"]) == ("192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:2", 10)
    assert (second["primary"], second["secondary"], second["candidate"]) == ("192.0.2.2:1", "192.0.2.1:1", "192.0.2.2:2")
    assert set(first) <= set(_replay.argument_spec()) and first["release_header"] == "x-release" and "host" not in first
    assert _shadow.replay_args(shadow(), "lb1", ["app1", "app2"])["candidate"] == "192.0.2.3:2"


def test_a_single_live_member_is_asked_twice():
    found = shadow()
    found["targets"]["lb1"]["live"] = {"app1": "192.0.2.1:1"}
    args = _shadow.replay_args(found, "lb1")
    assert args["primary"] == args["secondary"] == "192.0.2.1:1"


def test_nobody_to_ask_is_refused():
    with pytest.raises(DowntimeError, match="no member of the idle side can be asked: app1, app2, app3"):
        _shadow.replay_args(shadow(), "lb1", list(HOSTS))
    dead = {"lb1": {"pools": [{"name": "b", "members": [entry("one", "x:1", full=False)]}, {"name": "g", "members": [entry("one", "x:2")]}]}}
    with pytest.raises(DowntimeError, match="no member of pool b serves on balancer lb1"):
        _shadow.targets(dead, ("b", {"app1": {"server": "one"}}), ("g", {"app1": {"server": "one"}}))
    with pytest.raises(DowntimeError, match="no balancer can tell its members"):
        _shadow.targets({}, ("b", HOSTS), ("g", HOSTS))


def counted(raw, compared=100):
    return {"requests": compared, "compared": compared, "planned": compared, "late": 1,
            "fields": [{"field": f"body.f{number}", "raw": raw, "noise": 0, "how": "changed", "path": "/"} for number in range(60)]}


def test_the_report_of_all_balancers():
    found = _shadow.report(shadow(), {"lb1": counted(1), "lb2": counted(2)})
    assert (found["method"], found["requests"], found["compared"], found["late"], found["differences"]) == ("replay", 200, 200, 2, 60)
    assert len(found["fields"]) == 50 and found["fields"][0]["raw"] == 3 and found["verdict"] == "different"
    assert _shadow.report(shadow(max_differences=60), {"lb1": counted(1)})["verdict"] == "same"


@pytest.mark.parametrize("statuses, verdict, words", [
    ({"200": 90, "404": 10}, "same", "answered 100 copies without an error"),
    ({"200": 90, "500": 8, "504": 2}, "different", "answered 10 of 100 copies with an error (8 times 500, 2 times 504)"),
    ({"200": 1, "0": 1}, "different", "1 times 0"),
    ({}, "nothing", "no request was copied"),
])
def test_the_report_of_a_mirror(statuses, verdict, words):
    found = _shadow.of_mirror(checked("nginx"), statuses)
    assert found["verdict"] == verdict and words in found["sentence"] and found["requests"] == sum(statuses.values())


def test_the_report_is_kept_for_the_record(tmp_path):
    assert _events.load(str(tmp_path), _events.SHADOW) is None
    _shadow.keep(str(tmp_path), {"verdict": "same"})
    _shadow.keep(None, {"verdict": "same"})
    assert _events.load(str(tmp_path), _events.SHADOW) == {"verdict": "same"}
