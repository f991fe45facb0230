# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What mends each thing that the playbook doctor may find: the line to write, or the command to run.

Pure functions, private to the collection.
"""

from __future__ import annotations

import os
import re
import shlex
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _argv, _commands, _written
from ansible_collections.zero.downtime.plugins.module_utils._errors import agreeing
from ansible_collections.zero.downtime.plugins.module_utils._errors import shown_url as shown
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe

# What status names and a deploy can begin with all the same. The rest of it has a check of its own.
LEFT = ("out", "dead", "orphan", "disagree", "mixed_releases", "half_staged", "old_workers", "left_out", "idle_out")

# Stands for the release of a deploy where none is named.
ANY = {"digest": "0" * 64, "label": "LABEL"}

# What becomes of a member that nobody took out and that does not serve.
ANEW = "a deploy, rollback or restart on its side begins it anew"


class Commands:
    """Commands as they are typed on this controller. What they are good for is a shell's comment, so that a whole line can be pasted.

    :param app: the application, where it was picked on the command line.
    """

    def __init__(self, app: str | None = None) -> None:
        self.app = app

    def playbook(self, name: str, **variables: t.Any) -> str:
        return _commands.command(name, self.app, **variables)

    def unreachable(self, host: str, result: t.Mapping[str, t.Any]) -> list[str]:
        """For a host that gave no answer, or could not be asked."""
        ping = _commands.on_host(host, "ping")
        if result.get("unreachable_host"):
            return [f"{ping}  # shows why; ansible_host, ansible_user and keys are in the inventory"]
        return [f"{ping}  # shows whether modules run there; ansible_become: true in the inventory makes them run as root"]

    def again(self) -> list[str]:
        """For what a deploy left that did not end."""
        return [f"{self.playbook('rollback')}  # goes back to what was there before, and deploy goes on"]

    def begin_anew(self, name: str, host: t.Mapping[str, t.Any], release: t.Mapping[str, t.Any], sides: bool) -> list[str]:
        """For a member that has a release and does not serve."""
        return [f"{_commands.anew(self.app, _commands.release(release), sides)}  # begins it anew", *self.started(name, host, release)]

    def no_room(
        self,
        dead: t.Sequence[str],
        left: t.Sequence[str],
        held: t.Sequence[str],
        release: t.Mapping[str, t.Any] | None,
        sides: bool,
    ) -> tuple[str, list[str]]:
        """Why nobody may leave now, by who is out: what a deploy does with them, and what mends it.

        :param dead: those whom nobody took out.
        :param left: those whom a deploy left out that did not end.
        :param held: those whom a person took out.
        :param release: what one of the members has.
        """
        said, mend = "", []
        if dead:
            label = _commands.release(release or ANY)
            said += f"; a deploy begins {', '.join(dead)} anew first"
            mend.append(f"{_commands.anew(self.app, label, sides)}  # begins {', '.join(dead)} anew")
        if left:
            said += f"; a deploy brings back {', '.join(left)}, which one before left out"
            mend += self.again()
        if held:
            said += f"; {agreeing(held, 'was', 'were')} taken out by a person, and {'stays' if len(held) == 1 else 'stay'} out"
            mend.append(self.brought_back(held))
        return said, mend or [f"{self.playbook('status')}  # says who serves"]

    def started(self, name: str, host: t.Mapping[str, t.Any], release: t.Mapping[str, t.Any]) -> list[str]:
        """What starts a member's service by hand; nothing where hooks do it, or one process hands its port on to the next."""
        service = host.get("service") or {}
        words = service.get("start") or service.get("command")
        if service.get("swap") or not (words or service.get("unit")):
            return []
        if service.get("unit"):
            argv = [*(["systemctl", "--user"] if service.get("scope") == "user" else ["systemctl"]), "restart", service["unit"]]
            return [f"{_commands.on_host(name, 'command', argv=argv)}  # starts it by hand"]
        found = {
            "ROOT": host["root"],
            "SLOT": host["slot"],
            "DIGEST": release["digest"],
            "LABEL": release.get("label") or "",
        }
        argv = ["env", *(f"RELEASE_{key}={value}" for key, value in found.items()), *_argv.argv_of("service", words)]
        return [f"{_commands.on_host(name, 'command', argv=argv, chdir=host['root'])}  # starts it by hand"]

    def broken(self) -> list[str]:
        return [f"wait for it; if it is known to be dead: {self.playbook('rollback', deploy_lock_break=True)}"]

    def put_right(self) -> list[str]:
        return [
            self.playbook("rollback", deploy_strategy="blue_green")
            + "  # brings all requests to one side, and so does deploy"
        ]

    def brought_back(self, names: t.Sequence[str]) -> str:
        """For members that a person took out."""
        return f"{self.playbook('activate', deploy_members=list(names))}  # brings back whom a person took out"

    def left(
        self, entry: t.Mapping[str, t.Any], releases: t.Sequence[str] = (), unfinished: bool = False
    ) -> list[str]:
        """For what C(status) names.

        :param releases: the one that a deploy would bring, or those that members run, that of the most first.
        :param unfinished: whether a deploy moved some of them and did not end.
        """
        kind, who = entry["kind"], list(entry["who"])
        if kind in ("out", "disagree"):
            return [self.playbook("activate", deploy_members=who)]
        if kind in ("dead", "idle_out"):
            # As status says it.
            told = "".join(entry["text"].partition("ansible-playbook ")[1:])
            return [re.split(" brings | begins ", told)[0] or self.playbook("activate")]
        if kind == "old_workers":
            return [
                "they end with their last connection, or by hard-stop-after (haproxy) or worker_shutdown_timeout "
                "(nginx)"
            ]
        deploys = [self.playbook("deploy", deploy_release=release) for release in releases or ("LABEL",)]
        if kind == "mixed_releases" and len(deploys) > 1:
            back = self.again() if unfinished else []
            return back + [f"{command}  # brings all members to it" for command in deploys]
        return [f"{deploys[0]}  # puts that right"]


def balancer(
    driver: str, traffic: t.Mapping[str, t.Any], host: str, result: t.Mapping[str, t.Any], commands: Commands
) -> list[str]:
    """For a balancer that does not answer."""
    if result.get("unreachable_host"):
        return commands.unreachable(host, result)
    if driver == "haproxy":
        return [
            f"on {host}: systemctl status haproxy; in haproxy.cfg, global: stats socket {traffic.get('socket')} "
            "mode 660 level admin",
            "or in the inventory, deploy_traffic: {socket: PATH}, and ansible_become: true where the socket is root's",
        ]
    return [f"on {host}: systemctl status {driver}", *commands.unreachable(host, result)]


def variable(text: str) -> list[str]:
    """The variable that a refusal begins with, or names; as it is written in the inventory."""
    found = re.search(r"\bdeploy_[a-z0-9_]+(?:\.[a-z0-9_]+)*", text)
    if not found:
        return ["the variables are described in docs/variables.md"]
    first, *rest = found[0].split(".")
    written = "…"
    for name in reversed(rest):
        written = f"{{{name}: {written}}}"
    return [f"{first}: {written}  # in the inventory; docs/variables.md"]


def pool(name: str) -> list[str]:
    return [
        f"deploy_traffic.pools: [{{name: …}}], one that the balancer has, in place of {name}; or {name} in the "
        "balancer's configuration"
    ]


def server(pool_name: str, member: t.Mapping[str, t.Any]) -> list[str]:
    """For a member that the balancer does not have by its server name."""
    port = member["ports"].get(pool_name) or "PORT"
    return [
        f"in pool {pool_name} of the balancer's configuration: server {member['server']} {member['address']}:{port}",
        f'or deploy_traffic.pools: [{{name: {pool_name}, server: "…"}}], the name by which the balancer has '
        f"{member['name']}",
    ]


def servers(found: t.Mapping[str, t.Any], hosts: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    """What a balancer has in a pool where nobody is missing."""
    ours = {host["server"] for host in hosts.values()}
    names = [entry["name"] for entry in found["members"]]
    others = [name for name in names if name not in ours]
    are, them = ("is no member", "it") if len(others) == 1 else ("are no members", "them")
    more = f"; {', '.join(others)} {are} of the application, and no deploy moves {them}" if others else ""
    return f"{found['name']} has all {len(ours)} members{more}"


def second_side(driver: str) -> list[str]:
    """Where no balancer could tell the lines."""
    return [
        f"docs/blue_green.md has the lines for {driver}; they are printed here as soon as a balancer answers and "
        "its configuration can be read"
    ]


def health(url: str, entry: t.Mapping[str, t.Any]) -> list[str]:
    """For a member whose answer no gate would take."""
    if entry.get("status") is None:
        return [
            f"curl -si {shlex.quote(url)}  # has to answer: start the service of {entry['name']}; deploy_health: "
            f"{{port: …, address: …}} name another place"
        ]
    return [
        f"curl -si {shlex.quote(url)}  # shows the answer; deploy_health: {{path: …, status: […], header: …}} say "
        "what is asked and what has to be answered"
    ]


def nothing_left(dead: t.Sequence[str]) -> str:
    """Where a deploy left nothing, although C(dead), which are named elsewhere, do not serve."""
    beside = f"beside {', '.join(dead)}, which {'does' if len(dead) == 1 else 'do'} not serve, " if dead else ""
    return f"{beside}no member is out of traffic, and nothing is half done"


def missing_file(command: str | None, lines: t.Sequence[str]) -> list[str]:
    """For a file that somebody deleted: the command that writes it, or else its lines."""
    return [f"{command}  # writes it as it was"] if command else list(lines)


def artifact(found: t.Mapping[str, t.Any], release: str, failed: t.Mapping[str, t.Any], there: bool) -> list[str]:
    """For a release that cannot be had, or that nobody knows the digest of.

    :param failed: what staging said of it.
    :param there: whether the artifact is seen to lie where it should.
    """
    place, sums = shown(str(found.get("url") or found.get("src") or "")), shown(str(found.get("checksums") or ""))
    if not place:
        return [f"deploy_artifact: {{url: …, checksums: …}} say where release {release} and its checksum are"]
    if failed.get("differs"):
        return [
            f"bring {place} there once more from where it was built, whole; where it is the right one, the checksum is "
            f"another's, and the release has to be built and named anew together with it"
        ]
    if failed.get("unlisted") and there:
        # Of what lies there damaged, or does not, no checksum must be made.
        names = " >> ".join(shlex.quote(os.path.basename(path)) for path in (place, sums))
        return [f"sha256sum {names}  # where {sums} is made, and the artifact at {place}"]
    missing = sums if "checksums" in str(failed.get("msg")) and not failed.get("unlisted") else place
    look = "curl -sSI" if "://" in missing else "ls -l"
    return [f"{look} {shlex.quote(missing)}  # has to be there; deploy_artifact: {{url: …, checksums: …}} say where it is"]


def evidence(checked: t.Mapping[str, t.Any], result: t.Mapping[str, t.Any]) -> list[str]:
    """For a public address that the probe cannot use.

    :param result: what the evidence returned, with the cause where no request could show it.
    """
    either = "deploy_evidence_http2: auto  # in the inventory"
    cause = result.get("cause")
    if cause == _probe.TLS_NEEDED:
        return [f"{either}; or deploy_evidence_url: https://…, where the site has such an address"]
    if cause == _probe.LIBRARY_NEEDED:
        return [f"{_probe.INSTALL_HTTP2}  # on this controller", f"or {either}, which does without"]
    if cause == _probe.NO_HTTP2:
        return [f"{either}; or switch HTTP/2 on in the server, as alpn h2,http/1.1 of a bind line does in haproxy"]
    if cause == _probe.NO_AUTHORITY:
        return [
            f"ls -l {shlex.quote(str(checked['deploy_evidence_ca_path']))}  # on this controller, has to be readable, "
            "with certificates as PEM; deploy_evidence_ca_path: FILE names another one"
        ]
    if cause == _probe.SETTING:
        return variable(_written.sentence(str(result["msg"])))
    return _asked(checked)


def _asked(checked: t.Mapping[str, t.Any]) -> list[str]:
    """The request that shows what the probe has met, as the probe makes it."""
    url, other = shown(str(checked["deploy_evidence_url"])), checked["deploy_evidence_connect_to"]
    words = ["curl -sv"]
    if url.startswith("https:"):
        if not checked["deploy_evidence_validate_certs"]:
            words.append("-k")
        elif checked["deploy_evidence_ca_path"]:
            words.append(f"--cacert {shlex.quote(str(checked['deploy_evidence_ca_path']))}")
        if checked["deploy_evidence_http2"] == "false":
            words.append("--http1.1")
    if other:
        words.append(f"--connect-to ::{other}")
    return [
        f"{' '.join(words)} {shlex.quote(url)}  # on this controller, shows name, connection, certificate and answer; "
        "deploy_evidence_url: URL names another one, deploy_evidence_connect_to: HOST:PORT asks another "
        "address, and deploy_evidence_ca_path: FILE trusts another authority"
    ]
