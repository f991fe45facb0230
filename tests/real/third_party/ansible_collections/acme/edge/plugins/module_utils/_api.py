# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The APIs that the drivers ask, and how one is let in."""

from __future__ import annotations

import json
import typing as t
import urllib.error
import urllib.request

from ansible_collections.zero.downtime.plugins.module_utils.driver import Changed, DowntimeError

# Seconds that one call may take.
CALL = 5.0


def access_spec() -> dict[str, t.Any]:
    return {
        "url": {"type": "str", "required": True, "description": "Address of the API."},
        "token": {"type": "str", "required": True, "no_log": True, "description": "Token that the API asks for."},
    }


class Asked:
    """An API that asks for a token. Each of its replies is read, and one that is no success is a failure in its own words."""

    def __init__(self, params: t.Mapping[str, t.Any]) -> None:
        self.url, self.token = params["url"].rstrip("/"), params["token"]

    def call(self, method: str, path: str, body: t.Any = None) -> t.Any:
        request = urllib.request.Request(
            f"{self.url}{path}", method=method, data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=CALL) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 409:
                raise Changed from error
            raise DowntimeError(f"{method} {request.full_url} answered {error.code}: {error.read().decode(errors='replace').strip()}") from error
        except (OSError, ValueError) as error:
            raise DowntimeError(f"{method} {request.full_url} failed: {error}") from error


class Api(Asked):
    """The API of a balancer, with two resources: the servers of a pool, and green's share of an application's requests."""

    def servers(self, pool: str) -> dict[str, dict[str, t.Any]]:
        return {entry["name"]: entry for entry in self.call("GET", f"/pools/{pool}/servers")}

    def move(self, pool: str, server: str, state: str, lock: dict[str, str] | None = None) -> None:
        """Move a server; with C(lock), only while that lock (C(name)) has this key (C(key)), which the API looks up in the same step."""
        self.call("PUT", f"/pools/{pool}/servers/{server}", {"state": state, **({"lock": lock} if lock else {})})

    def document(self, name: str) -> dict[str, t.Any]:
        """What the API keeps by that name: C(content), and the C(version) with which it may be written."""
        return t.cast("dict[str, t.Any]", self.call("GET", f"/documents/{name}"))

    def keep(self, name: str, content: t.Any, version: int) -> None:
        """Raises Changed where the document has another version by now."""
        self.call("PUT", f"/documents/{name}", {"content": content, "version": version})

    def green(self, app: str) -> int:
        return int(self.call("GET", f"/splits/{app}")["green"])

    def set_green(self, app: str, percent: int) -> None:
        self.call("PUT", f"/splits/{app}", {"green": percent})
