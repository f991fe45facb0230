# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver's modules on real BIND servers: what is set, when it is effective, and what is refused beforehand."""

from __future__ import annotations

import concurrent.futures
import time
import typing as t

import calling
import dns.message
import dns.query
import pytest
from bind_stage import BindStage
from zone_name import BLUE, GREEN, Zone

from ansible_collections.zero.downtime.plugins.module_utils._rfc2136 import lock, options, place, split
from ansible_collections.zero.downtime.plugins.module_utils._spec import check
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Taken

ELSEWHERE = "192.0.2.99"
# Rights that a deploy has lost, or never had.
APP = "production-shop"


def ok(result: dict[str, t.Any]) -> dict[str, t.Any]:
    assert not result.get("failed"), result["msg"]
    return result


def refused(result: dict[str, t.Any]) -> str:
    assert result.get("failed"), result
    return str(result["msg"])


# -- what is set, and when it is effective -----------------------------------------------------------------------------
@pytest.mark.claim("dns-set-and-effective")
def test_a_split_is_set_then_effective_on_every_server_then_settled(zone: Zone) -> None:
    began = time.time()
    predicted = ok(zone.split(GREEN, check=True))
    assert predicted["changed"] and zone.stage.answers("www") == zone.options["blue"]
    done = ok(zone.split(GREEN))
    assert [zone.stage.answers("www", server=server) for server in zone.stage.serve] == [zone.options["green"]] * 2
    assert done["changed"] and done["diff"] == predicted["diff"] and (done["found"], done["shares"]) == (BLUE, GREEN)
    # What was told before is kept for the time that it was told with.
    assert began < done["set_at"] <= done["effective_at"] and done["settled_at"] == done["effective_at"] + 3
    again = ok(zone.split(GREEN))
    assert not again["changed"] and ok(zone.split())["shares"] == GREEN
    told = ok(zone.call("info"))
    assert (
        told["split"] == {**GREEN, "kept": GREEN}
        and told["findings"] == []
        and told["records"] == {"A": zone.options["green"]}
    )
    assert [server["problem"] for server in told["servers"]] == [None] * len(told["servers"]) and len(
        told["servers"]
    ) == 2


def test_the_time_to_live_is_lowered_waited_out_and_raised_again(zone: Zone) -> None:
    lowered = ok(zone.split(BLUE, hold="short"))
    assert lowered["changed"] and lowered["shares"] == BLUE and zone.stage.ttl("www") == 1
    assert lowered["settled_at"] == lowered["effective_at"] + 3
    # A second one cannot know when the first one was.
    assert ok(zone.split(BLUE, hold="short"))["settled_at"] >= lowered["settled_at"]
    switched = ok(zone.split(GREEN, hold="short", not_before=lowered["settled_at"], until="settled"))
    assert switched["set_at"] >= lowered["settled_at"] and switched["settled_at"] == switched["effective_at"] + 1
    assert time.time() >= switched["settled_at"] and zone.stage.ttl("www") == 1
    assert ok(zone.split(GREEN, hold="usual"))["ttl"] == 3 == zone.stage.ttl("www")


@pytest.mark.parametrize(
    "blue, green, kinds",
    [
        (["192.0.2.1", "2001:db8::1"], ["192.0.2.2"], {"A": ["192.0.2.2"], "AAAA": []}),
        (["192.0.2.1", "192.0.2.3"], ["2001:DB8:0::2"], {"A": [], "AAAA": ["2001:db8::2"]}),
        (
            ["blue.shop.example"],
            ["Green.Shop.example."],
            {"CNAME": ["green.shop.example."], "A": ["green.shop.example."]},
        ),
    ],
)
def test_addresses_of_both_kinds_and_other_names(
    zone: Zone, blue: list[str], green: list[str], kinds: dict[str, list[str]]
) -> None:
    sides: dict[str, t.Any] = {"name": "other", "blue": blue, "green": green}
    assert zone.stage.update(("delete", "other")) == "NOERROR"
    first = ok(zone.split(BLUE, **sides))
    assert (
        first["changed"]
        and first["found"] == BLUE
        and first["ttl"] == 3
        and not ok(zone.split(BLUE, **sides))["changed"]
    )
    assert ok(zone.split(GREEN, **sides))["shares"] == GREEN
    assert {kind: zone.stage.answers("other", kind) for kind in kinds} == kinds
    assert ok(zone.split(BLUE, **sides))["shares"] == BLUE


@pytest.mark.claim("dns-never-effective-goes-back")
def test_one_server_of_two_out_of_reach_is_never_effective_and_goes_back(zone: Zone) -> None:
    zone.stage.stop("secondary")
    message = refused(failed := zone.split(GREEN, effective_timeout=1, query_timeout=0.5))
    assert "did not become effective within 1 s" in message and "secondary.shop.test" in message
    assert (
        "it was put back to A " in message
        and failed["shares"] == BLUE
        and zone.stage.answers("www") == zone.options["blue"]
    )
    # Before it is tried, it is told; and who goes back is held up by nobody who is not there.
    (finding,) = ok(zone.call("info", query_timeout=0.5))["findings"]
    assert (finding["level"], finding["setting"]) == (
        "error",
        "forward",
    ) and "no change of www.shop.test would be effective" in finding["text"]
    zone.stage.set("www", *zone.options["green"])
    back = ok(zone.split(BLUE, going_back=True, effective_timeout=1, query_timeout=0.5))
    assert back["shares"] == BLUE and back["changed"]
    # So for a time to live that is only raised.
    raised = ok(zone.split(BLUE, hold="usual", ttl=4, effective_timeout=1, query_timeout=0.5))
    assert raised["ttl"] == 4 and raised["notes"]
    assert "it follows the primary when it is there again" in back["notes"][0]
    zone.stage.start("secondary")
    assert ok(zone.split(GREEN))["shares"] == GREEN


@pytest.mark.claim("dns-set-and-effective")
def test_a_resolver_that_was_named_has_to_answer_so_too() -> None:
    with BindStage(serve=("primary", "resolver")) as stage:
        zone = Zone(stage)
        stage.set("www", *zone.options["blue"], ttl=3)
        asked = dns.message.make_query("www.shop.test", "A")
        address, port = stage.places["resolver"]
        # It keeps what it was told.
        assert dns.query.udp(asked, address, 20, port=port).answer[0].ttl == 3
        known = time.time()
        done = ok(zone.split(GREEN, resolvers=[stage.server("resolver")]))
        assert done["effective_at"] > known + 2 and done["shares"] == GREEN
        told = ok(zone.call("info", resolvers=[stage.server("resolver")]))["servers"]
        assert len(told) == 2 and {server["problem"] for server in told} == {None}


# -- what is refused ---------------------------------------------------------------------------------------------------
WRONG_KEYS = {
    "unknown": ({"key_name": "nobody"}, "does not accept key nobody (hmac-sha256): it has no such key (BADKEY)"),
    "algorithm": ({"key_algorithm": "hmac-sha512"}, "does not accept key deploy (hmac-sha512)"),
    "secret": (
        {"key_secret": "c29tZXRoaW5nIGVsc2U="},
        "does not accept key deploy (hmac-sha256): the secret is another one there (BADSIG)",
    ),
    "no base64": (
        {"key_secret": "not base64!"},
        "key_secret of key deploy is not shown, since it is secret; base64, as tsig-keygen prints it",
    ),
}


@pytest.mark.claim("dns-key-refused-without-its-secret")
@pytest.mark.parametrize("wrong", WRONG_KEYS)
def test_a_key_that_is_refused_is_named_and_its_secret_is_not(zone: Zone, wrong: str) -> None:
    given, sentence = WRONG_KEYS[wrong]
    for result in (zone.split(GREEN, **given), zone.call("info", **given), zone.lock("observed", **given)):
        assert sentence in refused(result) and given.get("key_secret", zone.stage.secret) not in str(result)
    assert zone.stage.answers("www") == zone.options["blue"]


def test_a_key_that_may_only_read_is_told_so(zone: Zone) -> None:
    reader = {"key_name": "reader", "key_secret": zone.stage.other_secret}
    assert "key reader (hmac-sha256) may not change it; allow-update" in refused(zone.split(GREEN, **reader))
    (entry,) = ok(zone.lock("examined", **reader))["checks"]
    assert not entry["ok"] and "REFUSED" in entry["text"] and "allow-update { key reader; };" in entry["mend"][0]
    assert (
        "REFUSED" in refused(zone.lock("acquired", "d1", **reader))
        and zone.stage.answers("_zero-downtime.www", "TXT") == []
    )


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"zone": "other.test"}, "does not serve zone other.test"),
        ({"zone": "www.shop.test", "name": "@"}, "zone is 'www.shop.test', which is no zone on name server"),
        ({"name": "www.other.test."}, "name is 'www.other.test.', which is no name of zone shop.test"),
        ({"server": "127.0.0.1:1"}, "name server 127.0.0.1:1 "),
        ({"server": "ns1:many"}, "server is 'ns1:many'; a name or an address, with a port behind a colon if need be"),
        ({"server": "no-such-host.invalid"}, "name server no-such-host.invalid has no address"),
        ({"green": []}, "green is []; IPv4 and IPv6 addresses, or one name (for a CNAME), are accepted"),
        ({"green": ["192.0.2.2", "green.shop.example"]}, "or one name (for a CNAME), are accepted"),
        ({"blue": ["192.0.2.1"], "green": ["192.0.2.1"]}, "for both sides; each side needs records of its own"),
        (
            {"name": "@", "green": ["green.shop.example"]},
            "the zone itself, which has other records, so it cannot be a CNAME",
        ),
        ({"ttl": -1}, "ttl is -1; seconds from 0 on are accepted"),
        ({"query_timeout": 0}, "query_timeout is 0; seconds above 0 are accepted"),
        (
            {"shares": {"blue": 95, "green": 5}},
            "a name in DNS is one of the sides for everybody who asks; {blue: 100} and {green: 100} are accepted",
        ),
        ({"shares": {"blue": 5}}, "adds up to 5"),
        ({"lock": APP}, "deploy_id is missing; with lock"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(zone: Zone, given: dict[str, t.Any], sentence: str) -> None:
    assert sentence in refused(zone.call("split", **{"shares": GREEN, **given}))
    assert zone.stage.answers("www") == zone.options["blue"]


@pytest.mark.claim("dns-record-in-the-way")
def test_records_that_are_of_neither_side_or_in_the_way_are_left_alone(zone: Zone) -> None:
    stage = zone.stage
    stage.set("www", ELSEWHERE)
    assert f"www.shop.test has A {ELSEWHERE}, which is of neither side; blue is A " in refused(zone.split(GREEN))
    assert stage.answers("www") == [ELSEWHERE]
    # A name that is both gives every resolver a bit of both.
    stage.set("www", *zone.options["blue"], *zone.options["green"])
    assert ok(zone.call("info"))["split"]["green"] == 50
    assert stage.update(("delete", "www"), ("add", "www", 3, "CNAME", "elsewhere.example.")) == "NOERROR"
    assert "www.shop.test is a CNAME elsewhere.example., and the sides are addresses" in refused(zone.split(GREEN))
    assert stage.update(("delete", "www"), ("add", "www", 3, "MX", "10 mail.example.")) == "NOERROR"
    message = refused(zone.split(GREEN, blue=["blue.example"], green=["green.example"]))
    assert "www.shop.test has records of the type MX, and a side is a CNAME, which stands alone" in message
    assert stage.answers("www", "MX") == ["10 mail.example."]
    # Beside addresses it may stay.
    ok(zone.split(GREEN))
    assert stage.answers("www", "MX") == ["10 mail.example."] and stage.answers("www") == zone.options["green"]


def test_a_time_to_live_longer_than_is_known_is_told_before_anything_moves(zone: Zone) -> None:
    zone.stage.set("www", *zone.options["blue"], ttl=600)
    found = [finding["text"] for finding in ok(zone.call("info"))["findings"] if finding["setting"] == "ttl"]
    assert found == [
        "www.shop.test has the time to live 600, and deploy_traffic.ttl is 3; 600 or more is accepted, since resolvers "
        "may keep an answer for so long"
    ]


# -- the lock in the zone ----------------------------------------------------------------------------------------------
def mover(zone: Zone, deploy_id: str, key: str) -> split.Split:
    """The module's work, as far as it can be stopped in the middle."""
    given = {
        **zone.stage.access(),
        **zone.options,
        "shares": GREEN,
        "lock": APP,
        "deploy_id": deploy_id,
        "lock_key": key,
    }
    params = check(given, options.split_spec())
    return split.Split(params, place.Place(params))


@pytest.mark.claim("dns-late-update-refused-by-the-zone")
def test_a_late_update_of_a_controller_that_lost_the_lock_is_refused_by_the_name_server(zone: Zone) -> None:
    ok(zone.lock("acquired", "d1", key="k1", holder={"user": "ops"}))
    late = mover(zone, "d1", "k1")
    # All that the controller does before it stands still: it has read, and has its update ready.
    found = late.place.look()
    update = late.client.update()
    late.store.owned(update, "d1", "k1")  # type: ignore[union-attr]
    update.delete(late.place.name, "A")
    update.add(late.place.name, 3, "A", zone.options["green"][0])
    assert ok(zone.lock("acquired", "d2", key="k2", over="k1"))["taken_over"]["deploy_id"] == "d1"
    with pytest.raises(Taken, match="is held by deploy d2"):
        late.store.send(update, "d1", "k1")  # type: ignore[union-attr]
    assert zone.stage.answers("www") == zone.options["blue"]
    # And a whole call that begins by then.
    assert "is held by deploy d2" in str(zone.split(GREEN, lock=APP, deploy_id="d1", lock_key="k1")["lock_taken"])
    # The same deploy's name, given twice, is no key.
    assert zone.split(GREEN, lock=APP, deploy_id="d2", lock_key="k1")["lock_taken"]
    assert (
        late.place.look() == found and ok(zone.split(GREEN, lock=APP, deploy_id="d2", lock_key="k2"))["shares"] == GREEN
    )
    assert [entry["deploy_id"] for entry in ok(zone.lock("observed"))["journal"]] == ["d2", "d2"]


def test_records_that_somebody_changes_between_reading_and_writing_are_not_overwritten(zone: Zone) -> None:
    ours = mover(zone, "d1", "k1")
    ours.store = None
    found = ours.place.look()
    zone.stage.set("www", ELSEWHERE, zone.options["blue"][0])
    with pytest.raises(Exception, match="of neither side"):
        ours._set(found, ours.place.sides["green"], 3, GREEN)
    zone.stage.set("www", *zone.options["blue"], *zone.options["green"])
    with pytest.raises(Exception, match="by now, changed by somebody else; nothing was moved"):
        ours._set(found, ours.place.sides["green"], 3, GREEN)
    assert len(zone.stage.answers("www")) == 2


@pytest.mark.claim("dns-one-deploy-at-a-time")
def test_of_many_that_take_the_lock_at_once_one_has_it(zone: Zone) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        taken = list(
            pool.map(lambda number: ok(zone.lock("acquired", f"d{number}", holder={"user": f"u{number}"})), range(6))
        )
    (winner,) = [number for number, result in enumerate(taken) if result["acquired"]]
    assert {result["holder"]["deploy_id"] for result in taken if not result["acquired"]} == {f"d{winner}"}
    assert ok(zone.lock("acquired", f"d{winner}"))["changed"] is False


def test_the_lock_and_what_outlives_it_are_kept_as_on_a_state_host(zone: Zone) -> None:
    digests = {f"app{number}": f"{number:064x}" for number in range(300)}
    ok(zone.lock("acquired", "d1", key="k1", holder={"user": "ops", "controller": 'ctl "1" \\ é'}))
    intent = {"verb": "deploy", "strategy": "blue_green", "before": digests}
    ok(zone.split(GREEN, lock=APP, deploy_id="d1", lock_key="k1", intent=intent))
    held = ok(zone.lock("observed"))
    assert held["lock"]["holder"]["controller"] == 'ctl "1" \\ é' and 0 <= held["lock"]["age"] < 60
    # It is more than a string of DNS holds, and comes back whole.
    assert held["journal"][0]["intent"] == intent and held["journal"][1]["done"] and held["shares"]["shares"] == GREEN
    since = held["shares"]["since"]
    assert ok(zone.lock("released", "d9", key="k9"))["changed"] is False
    assert ok(
        zone.lock(
            "released", "d1", key="k1", clean=True, shares=GREEN, last={"verb": "deploy", "strategy": "blue_green"}
        )
    )["changed"]
    after = ok(zone.lock("observed"))
    assert (after["lock"], after["journal"], after["shares"]["since"]) == (None, [], since) and after["last"][
        "verb"
    ] == "deploy"
    # A deploy that did not end cleanly leaves its journal.
    ok(zone.lock("acquired", "d2", key="k2", without=["elsewhere"]))
    assert list(ok(zone.lock("observed"))["without"]) == ["elsewhere"]
    ok(zone.lock("noted", "d2", key="k2", entry={"shares": BLUE}))
    ok(zone.lock("released", "d2", key="k2"))
    assert [entry["deploy_id"] for entry in ok(zone.lock("acquired", "d3"))["journal"]] == ["d2"]


def test_a_lock_that_nobody_can_read_is_told_and_broken_only_by_force(zone: Zone) -> None:
    zone.stage.update(("add", "_zero-downtime.www", 0, "TXT", '"what is this"'))
    broken = zone.lock("acquired", "d1")
    assert broken["unreadable"] and "the lock _zero-downtime.www.shop.test cannot be read" in refused(broken)
    assert ok(zone.lock("acquired", "d1", force=True))["acquired"]
    assert ok(zone.split(GREEN, lock=APP, deploy_id="d1"))["shares"] == GREEN


def test_a_journal_that_does_not_fit_is_refused_before_anything_moves(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(zone.lock("acquired", "d1", key="d1"))
    monkeypatch.setattr(lock, "ROOM", 50)
    ours = mover(zone, "d1", "d1")
    with pytest.raises(
        Exception, match="does not fit into the zone .*; deploy_state_hosts names hosts that keep it instead"
    ):
        ours.run(False)
    assert zone.stage.answers("www") == zone.options["blue"]


def test_ansible_starts_what_the_other_tests_call(zone: Zone) -> None:
    assert ok(zone.split(GREEN, start=calling.by_python))["shares"] == GREEN
