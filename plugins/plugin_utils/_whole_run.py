# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refuses what would run a part of a deploy only, or its steps in another order. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible import context

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

STRATEGY = "linear"
ALL = ["all"]
# What skips tasks without a tag.
SKIP_US = {"all", "untagged"}


def check(play: t.Any, task_vars: t.Mapping[str, t.Any] | None = None) -> None:
    """Raises DowntimeError where the run was started at a task, where its play has another strategy, and, with C(task_vars), where tags choose tasks.

    A site's own playbook may have tags: what they leave out of it is not ours to judge. The collection's playbooks have none.
    """
    started_at = context.CLIARGS.get("start_at_task") if context.CLIARGS else None
    if started_at:
        raise DowntimeError(f"--start-at-task is '{started_at}'; the steps before it are needed, so a run without that option is accepted")
    strategy = getattr(play, "strategy", None) or STRATEGY
    # Its full name is the same strategy.
    if str(strategy).rpartition(".")[2] != STRATEGY:
        raise DowntimeError(f"the play's strategy is '{strategy}'; only with linear are the steps taken in their order: set strategy: linear in the play")
    wanted = [str(tag) for tag in (task_vars or {}).get("ansible_run_tags") or ALL]
    if wanted != ALL and "untagged" not in wanted:
        raise DowntimeError(f"--tags is '{','.join(wanted)}'; these playbooks run as a whole, so no --tags is accepted")
    # A tag that no task of ours has skips none of them: tools that run playbooks for people give such.
    skipped = [str(tag) for tag in (task_vars or {}).get("ansible_skip_tags") or ()]
    if set(skipped) & SKIP_US:
        raise DowntimeError(f"--skip-tags is '{','.join(skipped)}', which leaves out all steps of these playbooks; they run as a whole")
