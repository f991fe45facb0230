# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts and checksum files that lie on the controller, for the actions that stage releases. Private to the collection."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url
from ansible_collections.zero.downtime.plugins.plugin_utils import _payload


class Sender:
    """What only the controller can do about an artifact: read its own checksum file, hash its own file, bring it to a host."""

    def __init__(self, action: ActionBase) -> None:
        self._action = action

    def settle(self, args: dict[str, t.Any]) -> str | None:
        """Settle what only the controller can: its checksum file and its artifact. Returns the artifact's path here, if it is one of the controller's.

        Whatever is wrong with the options is left to the module, which has the sentences for it.
        """
        artifact = args.get("artifact")
        if not isinstance(artifact, dict) or args.get("state") not in ("staged", "activated", "observed"):
            return None
        try:
            if boolean(artifact.get("remote_src", False)):
                return None
        except TypeError:
            return None
        artifact = args["artifact"] = dict(artifact)
        release = str(args["release"]) if args.get("release") is not None else ""
        if release == "previous":
            # It is staged, and an artifact written for another release says nothing about it.
            args.pop("artifact")
            return None
        src = artifact.get("src")
        checksums = artifact.get("checksums")
        known = _artifact.as_digest(str(artifact.get("digest") or "")) or _artifact.as_digest(release)
        if checksums and not _artifact.is_url(str(checksums)):
            artifact.pop("checksums")
            entries = None
            if release and not artifact.get("digest"):
                path = self.find(str(checksums), "artifact.checksums")
                entries = _artifact.parse_checksums(_artifact.read_text("artifact.checksums", path), path)
            key = "src" if src else "url"
            if entries is not None and known and artifact.get(key):
                # The inventory writes the artifact's place with the release's name, and the release was given by digest.
                artifact[key], label = _artifact.place_for_digest(entries, known, release, str(artifact[key]))
                src = artifact.get("src")
                if label:
                    args["release"] = label
                    artifact["digest"] = known
            elif entries is not None and not known:
                known = artifact["digest"] = _artifact.digest_of_label(entries, release, artifact.get(key) and str(artifact[key]), path)
        if not src or artifact.get("url"):
            return None
        if _artifact.is_url(str(src)):
            raise DowntimeError(f"artifact.src is {shown_url(str(src))}; a path is accepted (a URL belongs into artifact.url)")
        if checksums and artifact.get("checksums") and not known:
            raise DowntimeError("artifact.src is on the controller and artifact.checksums is a URL, which the host reads; "
                                "give the checksums as a path on the controller, or artifact.digest")
        local = None
        if not known:
            local = self.find(str(src), "artifact.src")
            artifact["digest"] = self._digest(local)
        # The name is left out: the host has no such file. Its answer tells whether it needs one.
        artifact.pop("src")
        artifact["ask"] = True
        return local or str(src)

    def find(self, path: str, option: str) -> str:
        """Where a file of the controller lies."""
        try:
            return self._action._find_needle("files", os.path.expanduser(path))
        except AnsibleError as error:
            raise DowntimeError(f"{option} {path} is no file on the controller (for one on the host: artifact.remote_src)") from error

    def _digest(self, path: str) -> str:
        """The sha256 of a file, worked out once for all hosts of a run: their workers share the run's temporary directory."""
        status = os.stat(path)
        key = hashlib.sha256(repr((os.path.realpath(path), status.st_ino, status.st_size, status.st_mtime_ns)).encode()).hexdigest()
        with open(os.path.join(C.DEFAULT_LOCAL_TMP, f"zero-downtime-{key}"), "a+", encoding="ascii") as note:
            fcntl.flock(note, fcntl.LOCK_EX)
            note.seek(0)
            known = _artifact.as_digest(note.read())
            if known is None:
                known = _artifact.sha256_of(path)
                note.truncate(0)
                note.write(known)
        return known

    def verified(self, src: str, args: dict[str, t.Any]) -> str:
        """The artifact on the controller, which must be what is expected before it travels."""
        path = self.find(src, "artifact.src")
        found = self._digest(path)
        wanted = _artifact.as_digest(str(args["artifact"].get("digest") or "")) or _artifact.as_digest(str(args.get("release") or ""))
        if found != wanted:
            raise _artifact.Differs(f"artifact.src {path}", found, str(wanted), "copied")
        return path

    @contextlib.contextmanager
    def on_host(self, path: str) -> t.Iterator[str]:
        """Copy a file to the host of the action's connection; its path there, which is gone afterwards."""
        action = self._action
        shell = action._connection._shell
        if shell.tmpdir is None:
            action._make_tmp_path()
        try:
            remote = shell.join_path(shell.tmpdir, "artifact")
            action._transfer_file(path, remote)
            action._fixup_perms2((shell.tmpdir, remote))
            yield remote
        finally:
            _payload.clean(action)


def arrived(artifact: t.Mapping[str, t.Any], remote: str) -> dict[str, t.Any]:
    """The option C(artifact) for a host that has the file now."""
    return {**{name: value for name, value in artifact.items() if name != "ask"}, "src": remote, "remote_src": True}


def by_its_own_name(answer: dict[str, t.Any], remote: str, path: str) -> dict[str, t.Any]:
    """A failure in the words of a user, who knows the file by its own name."""
    if remote in str(answer.get("msg", "")):
        answer["msg"] = answer["msg"].replace(remote, path)
    return answer
