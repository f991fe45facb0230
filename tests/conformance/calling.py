# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to call a module. All take its full name, its options and whether it is check mode, and begin at once; C(result) waits for the answer.

C(in_process) calls it as the collection's own actions do where they can, C(by_main) through its entry point, and C(by_python) as Ansible does on
any host. A Python of its own costs a third of a second; the other two fork this one, as Ansible forks its workers, so that nothing of a call
reaches the next one.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import traceback
import types
import typing as t

import limits

from ansible_collections.zero.downtime.plugins.plugin_utils import _in_process

COLLECTIONS = pathlib.Path(__file__).resolve().parents[2] / "build" / "collections"
# Those of drivers of other collections.
OTHERS = pathlib.Path(__file__).resolve().parents[1] / "real" / "third_party"
# A call that takes longer hangs: the drivers' own limits are far below.
LIMIT = limits.stretched(180)

Options = t.Mapping[str, t.Any]
Start = t.Callable[[str, Options, bool], "Call"]


class Call:
    """A process that answers on its standard output; C(wait) ends it if it does not end by itself."""

    def __init__(self, module: str, output: t.IO[bytes], errors: t.IO[bytes], wait: t.Callable[[], bool]) -> None:
        self._module, self._output, self._errors, self._wait = module, output, errors, wait

    def result(self) -> dict[str, t.Any]:
        ended = self._wait()
        output, errors = _text(self._output), _text(self._errors)
        assert ended, f"{self._module} did not end within {LIMIT:g} s:\n{output}\n{errors}"
        try:
            return json.loads(output)
        except ValueError as exc:
            raise AssertionError(f"{self._module} answered no JSON:\n{output}\n{errors}") from exc


def in_process(module: str, options: Options, check: bool) -> Call:
    """As the actions do: a module that has opted in runs without its entry point, any other through it."""

    def answer() -> None:
        action: t.Any = types.SimpleNamespace(_task=types.SimpleNamespace(check_mode=check))
        result = _in_process.run(action, module, options)
        if result is None:
            _main(module, options, check)
        else:
            print(json.dumps(result))

    return _forked(module, answer)


def by_main(module: str, options: Options, check: bool) -> Call:
    """Through the module's entry point, with Ansible's own protocol and check of arguments."""
    return _forked(module, lambda: _main(module, options, check))


def by_python(module: str, options: Options, check: bool) -> Call:
    """The same, in a Python of its own."""
    output, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    with tempfile.TemporaryFile() as given:
        given.write(_arguments(options, check))
        given.seek(0)
        child = subprocess.Popen([sys.executable, "-m", _path(module)], stdin=given, stdout=output, stderr=errors,
                                 env=dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, (COLLECTIONS, OTHERS)))))

    def wait() -> bool:
        try:
            child.wait(LIMIT)
            return True
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return False

    return Call(module, output, errors, wait)


def _path(module: str) -> str:
    collection, _dot, short = module.rpartition(".")
    return f"ansible_collections.{collection}.plugins.modules.{short}"


def _arguments(options: Options, check: bool) -> bytes:
    return json.dumps({"ANSIBLE_MODULE_ARGS": dict(options, _ansible_check_mode=check, _ansible_diff=True)}).encode()


def _main(module: str, options: Options, check: bool) -> None:
    sys.argv = [module]
    sys.stdin = io.TextIOWrapper(io.BytesIO(_arguments(options, check)), encoding="utf-8")
    importlib.import_module(_path(module)).main()


def _forked(module: str, answer: t.Callable[[], None]) -> Call:
    # Once, in this process: else each call would import it anew.
    importlib.import_module(_path(module))
    output, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    pid = os.fork()
    if not pid:
        _answer_and_leave(answer, output, errors)

    def wait() -> bool:
        watched = os.pidfd_open(pid)
        ended = bool(select.select([watched], [], [], LIMIT)[0])
        os.close(watched)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return ended

    return Call(module, output, errors, wait)


def _answer_and_leave(answer: t.Callable[[], None], output: t.IO[bytes], errors: t.IO[bytes]) -> t.NoReturn:
    """The child must never return into the tests: whatever happens, it answers and leaves."""
    try:
        os.dup2(output.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        # What stood there writes to where pytest gathers what tests print.
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        try:
            answer()
        except SystemExit:
            pass  # how an entry point ends
        except BaseException:  # pylint: disable=broad-except
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _text(file: t.IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", "replace")
