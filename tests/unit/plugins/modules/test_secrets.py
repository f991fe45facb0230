# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module writes into its host's log, and what it answers, when it is given a secret."""

from __future__ import annotations

import importlib
import logging
import pathlib
import typing as t

import pytest
from older_cores import patch_module_args

from ansible.module_utils import basic
from ansible_collections.zero.downtime.plugins.module_utils._plan import canary_options as _canary_options
from ansible_collections.zero.downtime.plugins.module_utils._plan import variables as _variables

MODULES = pathlib.Path(__file__).parents[4] / "plugins" / "modules"
HEADER, SIGNATURE, PASSWORD = "planted-token", "planted-signature", "planted-password"
# Nobody listens there: what cannot be reached is told, and nothing of how it was asked.
NOWHERE = "http://127.0.0.1:1"
ARTIFACT = {"url": f"{NOWHERE}/shop.tar.gz?sig={SIGNATURE}", "checksums": f"{NOWHERE}/SUMS?sig={SIGNATURE}", "headers": {"Authorization": f"Bearer {HEADER}"}}
DNS_KEY = "cGxhbnRlZC1kbnMta2V5"
DNS = {"zone": "shop.test", "server": "127.0.0.1:1", "key_name": "deploy", "key_secret": DNS_KEY, "query_timeout": 1}
NAME = {**DNS, "name": "www", "blue": ["192.0.2.1"], "green": ["192.0.2.2"]}
KEYS = {"access_key": PASSWORD, "secret_key": PASSWORD, "session_token": PASSWORD}
# Nobody listens there, so it is not asked again and again.
TARGETS = {**KEYS, "region": "eu-west-1", "endpoint_url": NOWHERE, "pools": [{"name": "shop"}]}
# Each option of a module that is a secret, and a call with it.
PLANTED: dict[str, tuple[set[str], t.Callable[[str], dict[str, t.Any]]]] = {
    "release": ({"artifact.headers"}, lambda root: {"root": root, "state": "staged", "release": "2.0.0", "artifact": ARTIFACT}),
    "releases": ({"artifact.headers"}, lambda root: {"state": "staged", "release": "2.0.0", "artifact": ARTIFACT, "members": [{"name": "app1", "root": root}]}),
    "healthcheck_members": ({"stats_password"}, lambda root: {
        "state": "drained", "members": ["app1"], "check_url": f"{NOWHERE}/ready", "off_file": f"{root}/off", "stats_url": [f"{NOWHERE}/;csv"],
        "stats_user": "ops", "stats_password": PASSWORD, "pools": [{"name": "shop"}], "connect_timeout": 1}),
    "rfc2136_info": ({"key_secret"}, lambda root: NAME),
    "rfc2136_lock": ({"key_secret"}, lambda root: {**DNS, "record": "www", "name": "production-shop", "state": "observed"}),
    "rfc2136_split": ({"key_secret"}, lambda root: {**NAME, "shares": {"green": 100}}),
    "elbv2_info": (set(KEYS), lambda root: dict(TARGETS)),
    "elbv2_members": (set(KEYS), lambda root: {**TARGETS, "state": "drained", "members": ["app1"]}),
    "elbv2_split": (set(KEYS), lambda root: dict(TARGETS)),
    "elbv2_lock": (set(KEYS), lambda root: {
        **KEYS, "region": "eu-west-1", "endpoint_url": NOWHERE, "state_bucket": "deploys", "state": "observed", "name": "x"}),
}


class Seen(Exception):
    """The options of a module are known."""


def secrets_of(spec: t.Mapping[str, t.Any], above: str = "") -> set[str]:
    found = {above + name for name, option in spec.items() if option.get("no_log")}
    for name, option in spec.items():
        found |= secrets_of(option.get("options") or {}, f"{above}{name}.")
    return found


def spec_of(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """The options that a module gives AnsibleModule; none where an action does its work."""
    module = importlib.import_module(f"ansible_collections.zero.downtime.plugins.modules.{name}")
    if not hasattr(module, "main"):
        return {}

    def see(dummy: t.Any, argument_spec: dict[str, t.Any], **options: t.Any) -> None:
        raise Seen(argument_spec)

    with monkeypatch.context() as patched:
        patched.setattr(basic.AnsibleModule, "__init__", see)
        with pytest.raises(Seen) as seen:
            module.main()
    return seen.value.args[0]


def test_every_secret_is_planted_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [path.stem for path in MODULES.glob("*.py")]
    assert {name: found for name in names if (found := secrets_of(spec_of(name, monkeypatch)))} == {name: found for name, (found, _call) in PLANTED.items()}
    # Of the variables, those that become options of a module, and one that stays on the controller.
    assert secrets_of(_variables.VARIABLES) == {"deploy_artifact.headers", "deploy_canary.prometheus.headers"}
    assert secrets_of(_canary_options.OPTIONS) == {"prometheus.headers"}


@pytest.mark.claim("secrets-not-in-logs-of-hosts")
@pytest.mark.parametrize("name", PLANTED)
def test_no_secret_is_in_the_hosts_log_or_in_the_answer(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path,
                                                        capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    logged: list[str] = []
    monkeypatch.setattr(basic, "has_journal", False)
    monkeypatch.setattr(basic.syslog, "openlog", lambda *dummy: None)
    monkeypatch.setattr(basic.syslog, "syslog", lambda priority, text: logged.append(text))
    module = importlib.import_module(f"ansible_collections.zero.downtime.plugins.modules.{name}")
    with caplog.at_level(logging.DEBUG), patch_module_args(PLANTED[name][1](str(tmp_path))), pytest.raises(SystemExit):
        module.main()
    # It did look for what it was told to.
    answer = capsys.readouterr().out
    assert logged and logged[0].startswith("Invoked with") and "127.0.0.1" in "".join(logged) and "127.0.0.1" in answer
    for secret in (HEADER, SIGNATURE, PASSWORD, DNS_KEY):
        assert secret not in "".join(logged) + answer + caplog.text
