# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the suite counts, and the words it keeps of what failed."""

from __future__ import annotations

import pytest
import results
from results import Count


@pytest.mark.parametrize("line, found", [
    ("ok integration lock (6 s)", ("integration lock (6 s)", Count(passed=1))),
    ("not ok sanity-3.11", ("sanity-3.11", Count(failed=1))),
    ("skipped sanity-3.9: there is no Python 3.9 here", ("sanity-3.9: there is no Python 3.9 here", Count(skipped=1))),
    ("lost_host                passed  207 s", ("lost_host", Count(passed=1))),
    ("lost_host                FAILED  207 s", ("lost_host", Count(failed=1))),
    ("okay", None),
    ("TASK [ok this is a task] ***", None),
])
def test_verdict(line, found):
    assert results.verdict(line) == found


def test_lines_are_counted():
    assert results.from_lines(["ok a", "not ok b", "skipped c", "noise", "ok d"]) == Count(2, 1, 1)


def test_report_of_pytest_is_counted(tmp_path):
    path = tmp_path / "report.xml"
    path.write_text('<testsuites><testsuite tests="9" failures="2" errors="1" skipped="3"/></testsuites>', encoding="utf-8")
    assert results.from_report(str(path)) == Count(3, 3, 3)
    assert results.from_report(str(tmp_path / "none.xml")) == Count()


PYTEST = """
____________________________ test_one[a] ____________________________
    assert 1 == 2
E   assert 1 == 2
E     more
____________________________ test_two ____________________________
E   AssertionError: waited 30 s until it is up; last seen: None
""".splitlines()


def test_reasons_name_test_and_first_line_of_why():
    assert results.reasons(PYTEST) == ["test_one[a]: assert 1 == 2", "test_two: AssertionError: waited 30 s until it is up; last seen: None"]


def test_the_reason_of_an_assertion_that_shows_a_whole_output_is_what_it_asserts_and_how_the_output_ends():
    shown = """
____________________________ test_three ____________________________
>       assert "withdrawn" in bad["output"], bad["output"]
E       AssertionError:
E         PLAY [Find the application] ****

E         rollout: every request was switched back
tests/real/test_canary.py:39: AssertionError
""".splitlines()
    assert results.reasons(shown) == ['test_three: assert "withdrawn" in bad["output"], bad["output"]; last said: rollout: every request was switched back']


def test_reasons_of_ansible_name_what_was_asserted():
    shown = ["[ERROR]: Task failed", "fatal: [localhost]: FAILED! => {", '    "assertion": "x is changed",', '    "evaluated_to": false', "not ok b"]
    assert results.reasons(shown) == ["[ERROR]: Task failed", '"assertion": "x is changed",', "not ok b"]


def test_reasons_of_our_own_programs_and_of_nobody_known():
    assert results.reasons(["ok a", "\x1b[31mnot ok b\x1b[0m", "  │ [ERROR]: it broke"]) == ["not ok b", "[ERROR]: it broke"]
    assert results.reasons(["some", "last line", ""]) == ["last line"]
    assert results.reasons([]) == []


def test_the_whole_output_of_a_piece_is_kept(tmp_path):
    path = results.kept("real/nginx", ["one", "two"], tmp_path)
    assert path == tmp_path / "real-nginx.log" and path.read_text(encoding="utf-8") == "one\ntwo\n"


def test_last_words_take_the_first_of_each_before_the_second_of_any():
    words = results.last_words([("one", PYTEST), ("two", ["not ok x"])])
    assert words[0].startswith("one: test_one") and "two: not ok x" in words and len(words) == 3
    long = [("piece%d" % number, ["not ok " + "x" * 300]) for number in range(9)]
    assert sum(map(len, results.last_words(long))) <= results.LAST_WORDS


def test_recorded_tests_are_read(tmp_path):
    path = tmp_path / "tests"
    path.write_text('{"test": "a.py::b", "seconds": 1.5, "cpu": 0.25}\n', encoding="utf-8")
    assert results.recorded(str(path)) == [results.Test("a.py::b", 1.5, 0.25)]
    assert results.recorded(str(tmp_path / "none")) == []
