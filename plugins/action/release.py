# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies an artifact of the controller to hosts that lack it; everything else is the module's."""

from __future__ import annotations

import fcntl
import hashlib
import os
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _artifact, _events
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

MODULE = "zero.downtime.release"


class ActionModule(ActionBase):
    """Asks the host with the module's own call, so that a host which has the release costs one call only."""

    # The temporary directory is made when there is something to transfer.
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        del tmp
        task_vars = task_vars or {}
        args = dict(self._task.args)
        event = {"run_dir": None if self._task.check_mode else args.pop("run_dir", None), "step": args.pop("step", None) or "activate",
                 "members": [task_vars.get("inventory_hostname", "")], "batch": args.pop("batch", None)}
        args.pop("run_dir", None)
        notes = _events.Notes()
        notes.write(_events.append, event="started", **event)
        try:
            result.update(self._release(args, task_vars))
        finally:
            # An exception is an event as well: a host that is lost in the middle must not look as if it were still at work.
            good = not (result.get("failed", "changed" not in result) or result.get("unreachable"))
            notes.write(_events.append, event="finished" if good else "failed", reason=result.get("msg"), **event)
            if notes.warnings:
                result["warnings"] = [*result.get("warnings", []), *notes.warnings]
        return result

    def _release(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            local = self._resolve(args)
        except DowntimeError as error:
            return {"failed": True, "msg": str(error)}
        answer = self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)
        if local and answer.get("needed") and not answer.get("failed"):
            try:
                path = self._verified(local, args)
                if not self._task.check_mode:
                    answer = self._send(path, args, task_vars)
            except DowntimeError as error:
                answer = {"failed": True, "msg": str(error)}
            finally:
                self._remove_tmp_path(self._connection._shell.tmpdir)
        answer.pop("needed", None)
        return answer

    def _resolve(self, args: dict[str, t.Any]) -> str | None:
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
                path = self._find(str(checksums), "artifact.checksums")
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
            raise DowntimeError(f"artifact.src is {_artifact.shown_url(str(src))}; a path is accepted (a URL belongs into artifact.url)")
        if checksums and artifact.get("checksums") and not known:
            raise DowntimeError("artifact.src is on the controller and artifact.checksums is a URL, which the host reads; "
                                "give the checksums as a path on the controller, or artifact.digest")
        local = None
        if not known:
            local = self._find(str(src), "artifact.src")
            artifact["digest"] = self._digest(local)
        # The name is left out: the host has no such file. Its answer tells whether it needs one.
        artifact.pop("src")
        artifact["ask"] = True
        return local or str(src)

    def _find(self, path: str, option: str) -> str:
        try:
            return self._find_needle("files", os.path.expanduser(path))
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

    def _verified(self, src: str, args: dict[str, t.Any]) -> str:
        """The artifact on the controller, which must be what is expected before it travels."""
        path = self._find(src, "artifact.src")
        found = self._digest(path)
        wanted = _artifact.as_digest(str(args["artifact"].get("digest") or "")) or _artifact.as_digest(str(args.get("release") or ""))
        if found != wanted:
            raise DowntimeError(f"artifact.src {path} has the sha256 {found}, but {wanted} is expected: it was not copied")
        return path

    def _send(self, path: str, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "artifact")
        self._transfer_file(path, remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        artifact = dict(args["artifact"], src=remote, remote_src=True)
        artifact.pop("ask", None)
        answer = self._execute_module(module_name=MODULE, module_args=dict(args, artifact=artifact), task_vars=task_vars)
        if remote in str(answer.get("msg", "")):
            # The user knows the file by its own name.
            answer["msg"] = answer["msg"].replace(remote, path)
        return answer
