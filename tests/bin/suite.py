# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""suite.py [--all] [--since REV] [SECTION…]: runs the tests, all without a name, and counts what passed and what failed.

--all adds what only `make test-all` runs. --since runs what a change since that revision can break, and says what it left out.

What a piece prints is shown when it ends, or at once when it is the only one. After all of them: the end of what each failed one printed, what
each piece took, the tests that took most of the processor, why each test failed, and the budget. The last line is always "N passed, N failed",
and the exit code is 0 only if something passed and nothing failed. A piece goes on when another one failed; one that does not end in time, or
ends badly without saying what failed, counts as one failure. So does a whole run that took more processor time than tests/suite/recorded.json allows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing as t

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "suite"), str(HERE.parent / "stage")]

import choosing  # noqa: E402  pylint: disable=wrong-import-position
import cores  # noqa: E402  pylint: disable=wrong-import-position
import layout  # noqa: E402  pylint: disable=wrong-import-position
import results  # noqa: E402  pylint: disable=wrong-import-position
import running  # noqa: E402  pylint: disable=wrong-import-position
from pieces import PIECES, Piece  # noqa: E402  pylint: disable=wrong-import-position

# So many of a failed piece's last lines are shown again, and so many of the tests that took most.
TAIL, DEAREST = 40, 20
KEPT = HERE.parent / "suite" / "recorded.json"
OWN = running.RESULTS / "recorded.json"


def known() -> dict[str, t.Any]:
    """What each piece took: as written down in the repository, or in this checkout since then."""
    found: dict[str, t.Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    if OWN.exists():
        found["pieces"].update(json.loads(OWN.read_text(encoding="utf-8"))["pieces"])
    return found


def keep(pieces: t.Mapping[str, t.Any], ended: t.Mapping[str, results.Ended], pace: float) -> None:
    """Write down what this run's pieces and tests took, in seconds of the reference machine's processor."""
    took = {name: {"seconds": round(one.seconds, 1), "cpu": round(one.cpu / pace, 1)} for name, one in ended.items() if not one.count.failed}
    tests = {test.name: {"seconds": round(test.seconds, 2), "cpu": round(test.cpu / pace, 2)} for one in ended.values() for test in one.tests}
    new = OWN.with_suffix(".new")
    new.write_text(json.dumps({"pieces": {**pieces, **took}, "tests": tests}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    new.replace(OWN)


def show(order: t.Sequence[Piece], ended: t.Mapping[str, results.Ended]) -> None:
    chosen = [(piece.name, ended[piece.name]) for piece in order if piece.name in ended]
    if len(chosen) > 1:
        for name, one in chosen:
            if one.count.failed:
                print("\n=== %s failed; it ended with\n%s" % (name, "\n".join(one.lines[-TAIL:])))
    tests = sorted((test for _name, one in chosen for test in one.tests), key=lambda test: -test.cpu)[:DEAREST]
    print("\nThe tests that took most of the processor:")
    for test in tests:
        print("%8.1f s of %6.1f s  %s" % (test.cpu, test.seconds, test.name))
    print()
    for name, one in chosen:
        print("%-24s %5d passed %4d failed %4d skipped %6.0f s %7.1f CPU s" % (name, *one.count, one.seconds, one.cpu))


def over_budget(cpu: float, pace: float, budget: float) -> str | None:
    """Say what was taken; a sentence where it is too much."""
    took = "%.0f CPU seconds, which the reference machine does in %.0f (this one takes %.2f times as long for the same work)" % (cpu, cpu / pace, pace)
    print("Taken: %s; the budget is %.0f." % (took, budget))
    if cpu / pace <= budget:
        return None
    return "suite: the tests took %s, and the budget in tests/suite/recorded.json is %.0f" % (took, budget)


def on_their_cores(chosen: t.Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """The pieces, each with the interpreter that it needs, and sentences about those that this machine cannot run."""
    kept, told = [], []
    interpreters: dict[str, str] = {}
    for piece in chosen:
        if piece.core and piece.core == cores.newest(cores.mine()):
            told.append("Left out: %s, since everything runs on ansible-core %s." % (piece.name, piece.core))
            continue
        if piece.core and piece.core not in interpreters:
            try:
                interpreters[piece.core] = cores.environment(piece.core)
            except cores.LeftOut as error:
                interpreters[piece.core] = ""
                told.append("Left out: %s." % error)
        if not piece.core:
            kept.append(piece)
        elif interpreters[piece.core]:
            kept.append(dataclasses.replace(piece, argv=(interpreters[piece.core], *piece.argv[1:])))
    return kept, told


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the tests.")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--since", default="")
    parser.add_argument("sections", nargs="*")
    wanted = parser.parse_args()
    sections = list(dict.fromkeys(piece.section for piece in PIECES))
    if unknown := sorted(set(wanted.sections) - set(sections) - {piece.name for piece in PIECES}):
        sys.stderr.write("suite: there is no section %s; there are: %s\n" % (", ".join(unknown), ", ".join(sections)))
        return 2
    everything = not wanted.sections and not wanted.since
    chosen = [piece for piece in PIECES if not wanted.sections or {piece.section, piece.name} & set(wanted.sections)]
    chosen = [piece for piece in chosen if wanted.all or not piece.nightly or piece.name in wanted.sections]
    if not wanted.all:
        chosen = [dataclasses.replace(piece, argv=(*piece.argv, "-m", "not nightly")) if piece.is_pytest else piece for piece in chosen]
    if wanted.since:
        chosen, told = choosing.since(wanted.since, chosen)
        print("\n".join(told), flush=True)
        if not chosen:
            print("0 passed, 0 failed")
            return 0
    # Before there are rooms, which have no way to the package index or to a mirror.
    chosen, told = on_their_cores(chosen)
    if told:
        print("\n".join(told), flush=True)
    if any(piece.section == "molecule" for piece in chosen) and not os.geteuid():
        subprocess.run(["tests/bin/system-packages", "--containers"], check=True)
    figures = known()
    runner = running.Runner(chosen, {name: one["seconds"] for name, one in figures["pieces"].items()}, layout.isolates(),
                            least=int(os.environ.get("SUITE_BESIDE") or 0))
    ended = runner.run()
    pace = runner.pace.factor
    keep(figures["pieces"], ended, pace)
    show(chosen, ended)
    total = sum((one.count for one in ended.values()), results.Count())
    failed = [(name, one.lines) for name, one in ended.items() if one.count.failed]
    cpu = sum(one.cpu for one in ended.values())
    if everything and not wanted.all and cpu and (sentence := over_budget(cpu, pace, figures["budget_cpu_seconds"])):
        failed.append(("budget", [sentence]))
        total += results.Count(failed=1)
    for name, lines in failed:
        print("The whole output of %s: %s" % (name, results.kept(name, lines, running.RESULTS)))
    for line in results.last_words(failed):
        print(line)
    print("%d passed, %d failed" % total[:2])
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    os.chdir(running.REPO)
    sys.exit(main())
