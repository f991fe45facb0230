# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of a deploy: planted wherever one is taken, and looked for wherever a stranger could read it, during deploys and afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import pathlib
import threading
import typing as t

import playing
import pytest
from haproxy_stage import wait_until
from sides import version

# The value of a header, what signs an address, and a header's value that only the controller sends.
TOKEN, SIGNATURE, METRICS = "planted-token-5d1f0a", "planted-signature-7c2e9b", "planted-metrics-3e8b41"
SECRETS = (TOKEN, SIGNATURE, METRICS)
# Seconds between two looks: who carries arguments about is a Python or a shell that waits for one, and takes ten times as long to start.
LOOK = 0.01
# A deploy that fails: an artifact that is not there, and a canary whose metrics nobody gives.
FAILS: dict[str, tuple[str, dict[str, t.Any]]] = {
    "unknown": ("9.9.9", {}),
    "canary": ("4.0.0-slow", {"deploy_strategy": "canary", "deploy_canary": {
        "steps": [50, 100], "step_time": 1, "interval": 0.5, "warm_up": 0, "deadline": 2, "latency": "none",
        "metrics": {"load": {"query": "load{side='$side'}"}},
        "prometheus": {"url": "{{ store }}", "headers": {"X-Metrics": METRICS}}}}),
}


class Store:
    """Serves the stage's artifacts to those who have both secrets. A request waits while C(held) is set."""

    def __init__(self, artifacts: pathlib.Path) -> None:
        self.asked: list[tuple[str, int]] = []
        self.waiting = 0
        self._free = threading.Event()
        self._free.set()
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # pylint: disable=invalid-name
                path, _mark, query = self.path.partition("?")
                known = self.headers.get("Authorization") == f"Bearer {TOKEN}" and query == f"sig={SIGNATURE}"
                file = artifacts / path.lstrip("/")
                status = 403 if not known else 200 if file.is_file() else 404
                store.asked.append((path, status))
                if path.endswith(".gz"):
                    store.waiting += 1
                    store._free.wait()
                # A server that repeats what it was told.
                body = file.read_bytes() if status == 200 else f"no to {self.path} {self.headers}".encode()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: t.Any) -> None:  # pylint: disable=redefined-builtin
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def hold(self) -> None:
        self.waiting = 0
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    def close(self) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()


class Watch:
    """What the command lines and environments of all processes show of the secrets, looked at again and again."""

    def __init__(self) -> None:
        self.shown: set[str] = set()
        self.looks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK):
            self.looks += 1
            for place in pathlib.Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    # A process may end, or be somebody else's, while it is looked at.
                    with contextlib.suppress(OSError):
                        text = (place / name).read_bytes()
                        self.shown |= {f"{name} of {text[:200]!r}" for secret in SECRETS if secret.encode() in text}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._ended.set()
        self._thread.join()


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a deploy may write, on the controller and on its hosts, which are the same machine here."""

    stage: t.Any
    path: pathlib.Path
    pipelining: str | None

    @property
    def env(self) -> dict[str, str]:
        found = {"ANSIBLE_REMOTE_TMP": "remote", "ANSIBLE_LOCAL_TEMP": "local", "ANSIBLE_LOG_PATH": "ansible.log", "TMPDIR": "tmp"}
        for name in ("remote", "local", "tmp"):
            (self.path / name).mkdir(exist_ok=True)
        return {**{name: str(self.path / where) for name, where in found.items()},
                **({"ANSIBLE_PIPELINING": self.pipelining} if self.pipelining else {})}

    @property
    def records(self) -> pathlib.Path:
        return self.path / "records"

    def with_secrets(self) -> list[str]:
        """Files in which a secret can be read."""
        found = []
        for top in (self.path, self.stage.dir):
            for file in top.rglob("*"):
                # The inventory's own, where the secrets come from.
                if file.name == "secrets.json" or not file.is_file():
                    continue
                text = file.read_bytes()
                found += [f"{file}: {secret}" for secret in SECRETS if secret.encode() in text]
        return found

    def left(self) -> list[str]:
        """What is left of modules and of runs."""
        # Where ansible-core 2.21 is killed, it leaves a directory of Python's multiprocessing, which has had a socket in it.
        own = [path for path in (self.path / "tmp").iterdir() if not (path.name.startswith("pymp-") and not any(path.glob("**/*.json")))]
        return [str(path) for path in (*(self.path / "remote").iterdir(), *own, *(self.path / "local").glob("*/zero-downtime*"))]


@pytest.fixture
def store(stage: t.Any) -> t.Iterator[Store]:
    found = Store(stage.artifacts)
    yield found
    found.close()


def deploy(places: Places, store: Store, release: str, **more: t.Any) -> list[str]:
    """The command line of a deploy whose inventory has the secrets in a file, as a vault's would be. With all that Ansible has to say."""
    secrets = places.path / "secrets.json"
    secrets.write_text(json.dumps({"store": store.url, **more, "deploy_artifact": {
        "url": f"{store.url}/shop-{{{{ deploy_release }}}}.tar.gz?sig={SIGNATURE}", "checksums": f"{store.url}/SHA256SUMS?sig={SIGNATURE}",
        "root": "{{ stage_host }}/srv", "headers": {"Authorization": f"Bearer {TOKEN}"}}}), encoding="utf-8")
    variables = {"deploy_release": release, "deploy_evidence_rate": 20, "deploy_soak": 0, "deploy_batches": [4], "deploy_min_active": "0",
                 "deploy_records_dir": str(places.records), **({} if more else {"deploy_strategy": "blue_green"})}
    return playing.command("zero.downtime.deploy", "-vvv", "--diff", "-e", f"@{secrets}", inventories=[playing.LOCAL], variables=variables)


# Where nobody has decided about pipelining, no module is a file; where somebody does not want it, each is one.
@pytest.mark.claim("secrets-stay-secret", "nothing-left-of-modules")
@pytest.mark.parametrize("pipelining, failing", [(None, "canary"), ("False", "unknown")])
def test_no_secret_can_be_read_during_deploys_and_nothing_is_left_of_them(stage: t.Any, tmp_path: pathlib.Path, store: Store, pipelining: str | None,
                                                                          failing: str) -> None:
    places = Places(stage, tmp_path, pipelining)
    with Watch() as watch:
        release, more = FAILS[failing]
        failed = playing.play(deploy(places, store, release, **more), env=places.env)
        assert failed.rc == 2 and release in failed.sentence, failed.output
        assert (places.with_secrets(), places.left()) == ([], [])

        # Killed while each host fetches the artifact: what it was told is still needed, and nowhere to be read.
        store.hold()
        with open(tmp_path / "killed.log", "wb") as output:
            process = playing.start(deploy(places, store, "2.0.0"), output, places.env)
            wait_until(lambda: store.waiting, "the artifact is fetched")
            assert places.with_secrets() == []
            process.kill()
            process.wait()
        assert [path for path in places.left() if "zero-downtime-run-" in path]
        store.let_go()
        assert version() == "1.0.0"

        done = playing.play(deploy(places, store, "2.0.0"), env=places.env)
        assert done.rc == 0 and version() == "2.0.0", done.output
        assert (places.with_secrets(), places.left()) == ([], [])
    said = failed.output + done.output
    assert not [secret for secret in SECRETS if secret in said]
    assert ("AnsiballZ_releases.py" in said) is (pipelining == "False")
    assert watch.looks > 100 and not watch.shown
    # Each was needed, and sent.
    assert {path for path, status in store.asked if status == 200} >= {"/SHA256SUMS", "/shop-2.0.0.tar.gz"}
    assert ("/api/v1/query_range" in {path for path, _status in store.asked}) is (failing == "canary")
    assert (tmp_path / "ansible.log").stat().st_size and list(places.records.glob("*.json"))
