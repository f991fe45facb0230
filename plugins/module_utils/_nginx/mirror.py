# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of a share of GET requests for the idle side, made by nginx itself. Private to the collection.

nginx's C(mirror) makes the next request on a kept-alive connection wait for the copy's answer. So the copy does not go to the idle side: it goes to a
relay, a server of the same nginx on the loopback, which answers at once and only then passes it on. A dead or slow idle side holds the relay's
connection, and never a user's. How many it may hold is limited; what comes beyond is not copied.

While nothing is copied there are no files, and the configuration is as if there was no mirror. A mirror ends by itself: whoever began it may be
dead by then, and the side that gets copies today serves tomorrow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import os
import re
import time
import typing as t
import zlib

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._driver.mirror import common_spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._finding import finding
from ansible_collections.zero.downtime.plugins.module_utils._nginx import config as _nginx_config
from ansible_collections.zero.downtime.plugins.module_utils._nginx.config import PASSES, Config
from ansible_collections.zero.downtime.plugins.module_utils._nginx.options import CONNECTION, MOVING, opened
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import LISTEN, Nginx
from ansible_collections.zero.downtime.plugins.module_utils._nginx.upstream import POOL, host_port, parse
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence

# Behind revision.conf in nginx's order: of the servers at one address, the first one answers whoever names none.
CONF, SERVER, LOCATION, LOG = "shadow-{}.conf", "{}.mirror-server", "{}.mirror-location", "{}.mirror-log"
HEADER = "# Kept by zero.downtime while requests are copied to {pool}; without a mirror this file is not there.\n"

# nginx compares no numbers, but it can tell a moment by its digits.
HTTP_TEXT = HEADER + """\
# until: {until}
map $msec ${name}_lasts {{
    "~^(?:{moments})[.]" 1;
    default "";
}}
split_clients "$request_id" ${name}_drawn {{
    {share}% 1;
    * "";
}}
map "$request_method ${name}_drawn${name}_lasts" ${name} {{
    "GET 11" 1;
    default "";
}}
log_format {name} '$upstream_status $request_time';
limit_conn_zone $server_name zone={name}:64k;
server {{
    listen {listen};
    server_name {relay};
    access_log off;
    error_log /dev/null crit;
    keepalive_timeout 0;
    location / {{
        mirror /zero-downtime-copy;
        mirror_request_body off;
        limit_conn {name} {limit};
        empty_gif;
    }}
    location = /zero-downtime-copy {{
        internal;
        log_subrequest on;
        access_log {log} {name};
        proxy_pass http://{pool}$request_uri;
        proxy_http_version 1.1;
        proxy_set_header Host $http_x_zero_downtime_host;
        proxy_set_header X-Zero-Downtime-Host "";
        proxy_set_header Connection "";
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_next_upstream off;
        proxy_connect_timeout {timeout}ms;
        proxy_send_timeout {timeout}ms;
        proxy_read_timeout {timeout}ms;
    }}
}}
"""
# The time-outs are for a relay in the same nginx: if it takes longer than that, the copy is lost and no user waits.
SERVER_TEXT = HEADER + """\
location = /zero-downtime-mirror-{pool} {{
    internal;
    if (${name} = "") {{ return 204; }}
    access_log off;
    proxy_pass http://{listen}$request_uri;
    proxy_http_version 1.0;
    proxy_method GET;
    proxy_set_header Host {relay};
    proxy_set_header X-Zero-Downtime-Host $http_host;
    proxy_set_header Connection close;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_next_upstream off;
    proxy_connect_timeout 50ms;
    proxy_send_timeout 50ms;
    proxy_read_timeout 50ms;
}}
"""
LOCATION_TEXT = HEADER + """\
mirror /zero-downtime-mirror-{pool};
mirror_request_body off;
"""

SPEC: dict[str, t.Any] = {
    **common_spec(),
    "mirrors": {"type": "dict", "required": True},
    "mirror_timeout": {"type": "float", "default": 5.0},
    "mirror_limit": {"type": "int", "default": 32},
}


def mirror_spec() -> dict[str, t.Any]:
    used = ("upstreams_dir", "nginx_command", "pid_file", "revision_listen", "slowest_request", *MOVING)
    return {**{name: {**CONNECTION, **MOVING}[name] for name in used}, **SPEC}


def names(pool: str) -> dict[str, str]:
    """What is named after a pool: nginx's variables have fewer letters than its upstreams, and two pools may not share one."""
    word = re.sub(r"\W", "_", pool, flags=re.ASCII)
    return {"pool": pool, "name": f"zero_downtime_{word}_{zlib.crc32(pool.encode()):08x}", "relay": f"zero-downtime-mirror-{pool.lower()}"}


def pairs(pools: t.Sequence[t.Mapping[str, t.Any]], to: str) -> dict[str, str]:
    """Whose requests are copied where: the pools of the other side, and of the side C(to), in their order. Raises DowntimeError where one has none."""
    idle = [pool["name"] for pool in pools if pool.get("side") == to]
    live = [pool["name"] for pool in pools if pool.get("side") not in (None, to)]
    if not idle or len(idle) != len(live):
        raise DowntimeError(f"pools has {len(idle)} of side {to} and {len(live)} of the other one; for a mirror as many of both sides are accepted")
    return dict(zip(live, idle))


def texts(directory: str, pool: str, share: int, listen: str, timeout: float, limit: int, span: tuple[int, int]) -> dict[str, str | None]:
    """The files of one mirror from the one second of C(span) to the other; with a share of 0 there are none."""
    paths = {text: os.path.join(directory, name.format(pool)) for name, text in ((CONF, HTTP_TEXT), (SERVER, SERVER_TEXT), (LOCATION, LOCATION_TEXT))}
    if not share:
        return dict.fromkeys(paths.values())
    values = {**names(pool), "share": share, "listen": listen, "timeout": round(timeout * 1000), "limit": limit,
              "until": span[1], "moments": "|".join(moments(*span)),
              "log": os.path.join(directory, LOG.format(pool))}
    return {path: text.format(**values) for text, path in paths.items()}


def moments(low: int, high: int) -> list[str]:
    """Regular expressions for the whole numbers from C(low) to C(high), which have equally many digits."""
    found = []
    while low <= high:
        # The widest block of tens that begins here and does not go beyond.
        size = 1
        while low % (size * 10) == 0 and low + size * 10 - 1 <= high:
            size *= 10
        # So many of those in a row, as one range of a digit.
        digit = low // size % 10
        last = min(9, digit + (high - low + 1) // size - 1)
        head, tail = str(low // size)[:-1], "[0-9]" * (len(str(size)) - 1)
        found.append(head + (str(digit) if digit == last else f"[{digit}-{last}]") + tail)
        low += (last - digit + 1) * size
    return found


def until(text: str | None) -> int:
    """The second at which a mirror ends by its file; 0 without one."""
    found = re.search(r"^# until: (\d{1,12})$", text or "", re.MULTILINE)
    return int(found.group(1)) if found else 0


def lines(directory: str, pools: t.Iterable[str]) -> list[str]:
    """What the team's own configuration has to have once: a wildcard may well match nothing."""
    own = sorted(pools)
    return ["server {", *(f"    include {os.path.join(directory, SERVER.format(pool))}*;" for pool in own), "    location / {",
            *(f"        include {os.path.join(directory, LOCATION.format(pool))}*;" for pool in own), "    }", "}"]


def places(config: Config, directory: str, pool: str) -> dict[str, list[tuple[tuple[str, ...], ...]]]:
    """The blocks that include a mirror's files, by their kind."""
    base = os.path.dirname(config.files[0]) if config.files else "/etc/nginx"
    found: dict[str, list[tuple[tuple[str, ...], ...]]] = {"server": [], "location": []}
    for directive in config.all("include"):
        pattern = os.path.join(base, directive.words[1]) if len(directive.words) > 1 else ""
        place = os.path.join(os.path.realpath(os.path.dirname(pattern)), os.path.basename(pattern))
        for kind, name in (("server", SERVER), ("location", LOCATION)):
            if fnmatch.fnmatch(os.path.join(directory, name.format(pool)), place) and directive.inside and directive.inside[-1][0] == kind:
                found[kind].append(directive.inside)
    return found


def lint(nginx: Nginx, config: Config, pools: t.Collection[str], wall: t.Callable[[], float] = time.time) -> list[dict[str, t.Any]]:
    """The lines that a mirror needs, where pools are named after the sides, and a mirror that somebody left."""
    directory = nginx.directory
    left = {pool: until(nginx._text(os.path.join(directory, CONF.format(pool)))) for pool in pools}
    found = [finding("warning", "mirror", f"requests are copied to {pool} for another {end - wall():.0f} s" if end > wall() else
                     f"the files of a mirror to {pool}, which has ended, still lie in {directory}; zero.downtime.mirror with share 0 removes them")
             for pool, end in left.items() if end]
    sides = [pool for pool in pools if any(one in pool and pool.replace(one, other) in pools for one, other in (("blue", "green"), ("green", "blue")))]
    lacking = [pool for pool in sides if not all(places(config, directory, pool).values())]
    if not lacking:
        return found
    told = (f"no location includes the mirror's files of {', '.join(lacking)}, so requests cannot be copied to the idle side; that is needed for deploy_shadow "
            "with method mirror alone")
    return [*found, finding("info", "mirror", told, lines(directory, sides))]


def possible(config: Config, variable: str, deep: int = 0) -> set[str] | None:
    """The values that a variable of nginx can have by the maps and split_clients that make it; None where something else makes it, too."""
    found: set[str] = set()
    for directive in config.directives:
        block = directive.inside[-1] if directive.inside else ()
        if len(block) < 3 or block[0] not in ("map", "split_clients") or block[-1] != variable or len(directive.words) < 2:
            continue
        key, value = directive.words[0], directive.words[-1]
        if block[0] == "map" and block[1].startswith("$"):
            sources = possible(config, block[1], deep + 1) if deep < 8 else None
            keys = {other.words[0] for other in config.directives if other.inside and other.inside[-1] == block}
            if sources is not None and not (sources - keys if key == "default" else key in sources):
                continue
        below = possible(config, value, deep + 1) if value.startswith("$") and deep < 8 else {value}
        if below is None:
            return None
        found |= below
    return found or None


@dataclasses.dataclass(frozen=True)
class Request:
    share: int
    mirrors: t.Mapping[str, str]
    timeout: float
    limit: int
    wait: float
    lasts: float
    slowest: float
    check_mode: bool = False


def request_of(params: t.Mapping[str, t.Any], check_mode: bool) -> Request:
    """The options, checked."""
    mirrors = {str(live): str(idle) for live, idle in params["mirrors"].items()}
    if not 0 <= params["share"] <= 100:
        raise DowntimeError(f"share is {params['share']}; a whole percentage from 0 to 100 is accepted")
    if not mirrors:
        raise DowntimeError("mirrors is empty; pools as in {shop_blue: shop_green} are accepted: whose requests are copied, and where to")
    for pool in (*mirrors, *mirrors.values()):
        if not POOL.fullmatch(pool):
            raise DowntimeError(f"pool '{pool}' is no name for an upstream; letters, digits, and . _ - (no - or . first) are accepted")
    for live, idle in mirrors.items():
        if idle in mirrors:
            raise DowntimeError(f"mirrors has {live}: {idle}, and requests of {idle} are the ones that serve: a mirror to itself would answer each request "
                                "twice; a pool of the idle side is accepted")
    if not 0.001 <= params["mirror_timeout"] <= 600:
        raise DowntimeError(f"mirror_timeout is {params['mirror_timeout']:g}; seconds from 0.001 to 600 are accepted")
    if not 1 <= params["lasts"] <= 86400:
        raise DowntimeError(f"lasts is {params['lasts']:g}; seconds from 1 to 86400 are accepted")
    if params["mirror_limit"] < 1:
        raise DowntimeError(f"mirror_limit is {params['mirror_limit']}; a number of copies from 1 on is accepted")
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    return Request(params["share"], mirrors, params["mirror_timeout"], params["mirror_limit"], params["timeout"], params["lasts"],
                   params["slowest_request"], check_mode)


class Mirror:
    """Turns copies on and off, and counts what became of them."""

    def __init__(self, nginx: Nginx, request: Request, clock: t.Callable[[], float] = time.monotonic, wall: t.Callable[[], float] = time.time) -> None:
        self.nginx, self.request, self.clock, self.wall = nginx, request, clock, wall

    def run(self) -> dict[str, t.Any]:
        request, nginx = self.request, self.nginx
        started = self.clock()
        nginx.workers(nginx.master())
        config = _nginx_config.parse(nginx.dump())
        told = _nginx_config.too_short(config, request.slowest)
        if told:
            raise DowntimeError(f"{told}; nothing was copied")
        if request.share:
            self.check(config)
        if request.check_mode:
            changed, diff = self.wanted()[1:]
        else:
            with nginx.locked(max(1.0, request.wait)):
                wanted, changed, diff = self.wanted()
                if changed:
                    self.apply(wanted, started + request.wait)
        counted = {} if request.share else count(self.logs())
        return {"changed": changed, "share": request.share, "requests": sum(counted.values()), "statuses": counted, "diff": diff,
                "waited": round(self.clock() - started, 3)}

    def check(self, config: Config) -> None:
        """Refuse what would copy nothing, or would copy to those that serve."""
        nginx, request = self.nginx, self.request
        if not config.reads(nginx.directory):
            raise DowntimeError(f"nginx does not read {nginx.directory}; 'include {nginx.directory}/*.conf;' in its http block is needed")
        for live, idle in request.mirrors.items():
            blocks = places(config, nginx.directory, idle)
            lacking = [kind for kind, found in blocks.items() if not found]
            if lacking:
                raise DowntimeError(f"no {' and no '.join(lacking)} includes the mirror's file of pool {idle}; these lines are needed: "
                                    + " ".join(line.strip() for line in lines(nginx.directory, {live, idle})))
            for directive in config.directives:
                if directive.name in PASSES and len(directive.words) > 1 and directive.inside in blocks["location"]:
                    target = re.split(r"[/:]", directive.words[1].partition("://")[2] or directive.words[1])[0]
                    if idle in (possible(config, target.replace("{", "").replace("}", "")) or {target}):
                        raise DowntimeError(f"mirrors has {live}: {idle}, but the location that would be copied passes its requests to {idle} itself; "
                                            "a pool of the idle side is accepted")
            both = [self.addresses(pool) for pool in (live, idle)]
            if both[0] & both[1]:
                raise DowntimeError(f"pools {live} and {idle} share the server {', '.join(sorted(both[0] & both[1]))}, so a mirror would ask those that serve; "
                                    "pools without a common server are accepted")

    def addresses(self, pool: str) -> set[str]:
        text = self.nginx.text(pool)
        if text is None:
            raise DowntimeError(f"pool '{pool}' has no file {self.nginx.path(pool)}; {_commands.command('doctor', None)} shows how to make one")
        return {server.address for server in parse(pool, self.nginx.path(pool), text, {}).servers if host_port(server.address) or server.address}

    def logs(self) -> list[str]:
        return [os.path.join(self.nginx.directory, LOG.format(pool)) for pool in self.request.mirrors.values()]

    def wanted(self) -> tuple[dict[str, str | None], bool, dict[str, t.Any]]:
        """The files as they have to be, whether some are otherwise, and the difference."""
        request, nginx = self.request, self.nginx
        revision = nginx.revision()
        listen = nginx.listen or (revision.listen if revision else LISTEN)
        found: dict[str, str | None] = {}
        now = int(self.wall())
        for pool in request.mirrors.values():
            # One that runs is left as it is, as long as half of its time is to come.
            end = until(nginx._text(os.path.join(nginx.directory, CONF.format(pool))))
            old = (end - int(request.lasts), end)
            span = old if end - now >= request.lasts / 2 and end - now <= request.lasts else (now, now + int(request.lasts))
            found.update(texts(nginx.directory, pool, request.share, listen, request.timeout, request.limit, span))
        before = {path: nginx._text(path) for path in found}
        changed = before != found
        return found, changed, {"before": {path: text for path, text in before.items() if text is not None},
                                "after": {path: text for path, text in found.items() if text is not None}}

    def apply(self, wanted: t.Mapping[str, str | None], deadline: float) -> None:
        """Write them and see nginx run them; when it does not, all is as it was."""
        nginx = self.nginx
        before = {path: nginx._text(path) for path in wanted}
        try:
            if self.request.share:
                self.forget()
            nginx._write_all(wanted)
            nginx.apply([], deadline - self.clock())
        except OSError as error:
            nginx._write_all(before)
            raise DowntimeError(f"{error.filename or nginx.directory} cannot be written: {error.strerror}; the old configuration was put back") from error
        except BaseException:
            nginx._write_all(before)
            if not any(before.values()):
                self.forget()
            raise

    def forget(self) -> None:
        """A mirror counts from its beginning."""
        for path in self.logs():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def count(logs: t.Iterable[str]) -> dict[str, int]:
    """How often the idle side answered how; C(0) where it was not there at all."""
    found: dict[str, int] = {}
    for path in logs:
        try:
            with open(path, encoding="ascii", errors="replace") as handle:
                for line in handle:
                    words = line.split()
                    if len(words) >= 2:
                        found[words[0] if words[0].isdigit() else "0"] = found.get(words[0] if words[0].isdigit() else "0", 0) + 1
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DowntimeError(f"{path} cannot be read: {error.strerror}") from error
    return dict(sorted(found.items()))


def mirror(params: t.Mapping[str, t.Any], check_mode: bool = False, nginx: Nginx | None = None) -> dict[str, t.Any]:
    """What C(nginx_mirror) does; returns its result."""
    request = request_of(params, check_mode)
    return Mirror(nginx or opened(params), request).run()


def run(params: t.Mapping[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:
    """The module: behind the fence."""
    with _fence.fence(params, check_mode):
        return mirror(params, check_mode)


IN_PROCESS = mirror_spec, run
