# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a deploy ended, from what each host and balancer reported: pure functions. Private to the collection.

Only a host's own report counts. A host that said nothing is lost, and what it runs is unknown.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._plan import ran, well, where

LOCAL = "localhost"


def here(facts: t.Mapping[str, t.Any]) -> bool:
    """Whether the host answered after the failure."""
    return bool(facts.get("__deploy_here"))


def place(facts: t.Mapping[str, t.Any]) -> str:
    return where(facts.get("__rolling_moved"), facts.get("__rolling_back"))


def back_members(plan: t.Mapping[str, t.Any], members: t.Sequence[str], hostvars: t.Mapping[str, t.Any]) -> list[str]:
    """Those of a batch that go back: they moved, or tried to, and something ran there before."""
    return [name for name in members if here(hostvars[name]) and ran(hostvars[name].get("__rolling_moved")) and plan["going_back_to"].get(name)]


def gates_back(plan: t.Mapping[str, t.Any], members: t.Sequence[str], hostvars: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """The checks of those that may serve again, each with the digest that it has to show."""
    checks = []
    for name in members:
        facts = hostvars[name]
        if not here(facts) or place(facts) == "unknown":
            continue
        expected = plan["release"] if place(facts) == "new" else plan["going_back_to"].get(name)
        if expected:
            checks.append({"name": name, "url": plan["hosts"][name]["url"], **({"digest": expected["digest"]} if plan["health"].get("header") else {})})
    return checks


def fit(plan: t.Mapping[str, t.Any], members: t.Sequence[str], hostvars: t.Mapping[str, t.Any]) -> list[str]:
    """Members that may get traffic again after going back: they answered, they know what they run, and they passed the gate."""
    gate = hostvars[LOCAL].get("__rolling_fit")
    passed = {entry["name"] for entry in gate.get("members", []) if entry.get("ok")} if ran(gate) else None
    return [name for name in members
            if here(hostvars[name]) and place(hostvars[name]) != "unknown"
            and (passed is None or name in passed)]


def outcome(hostvars: t.Mapping[str, t.Any], members: t.Sequence[str], plan: t.Mapping[str, t.Any], resolved: t.Mapping[str, t.Any],
            checking: bool = False) -> dict[str, t.Any]:
    """Result, sentence and members' releases.

    :returns: C(result) (succeeded, rolled_back, failed), C(sentence), C(members) ([{name, release, state}]), C(lost).
    """
    local = hostvars[LOCAL]
    failed = here(local)
    evidence = (local.get("__deploy_evidence") or {}).get("evidence") or {}
    title = f"{resolved['verb']} of {resolved['app']}" if resolved else "deploy"
    if not plan:
        lost = [name for name in members if not here(hostvars[name])]
        why = _why(hostvars, members) or (f"{', '.join(lost)} cannot be reached" if lost else "it could not be planned")
        return {"result": "failed", "sentence": f"{_stop(f'{title.capitalize()} was refused: {why}')} Nothing has been changed.", "members": [], "lost": lost}

    label = _label(plan["release"])
    rows = []
    held = plan.get("held") or []
    for name in plan["members"]:
        facts = hostvars[name]
        moved = name in plan["going_back_to"]
        if failed and not here(facts):
            rows.append({"name": name, "release": None, "state": "lost"})
        elif not moved or not failed:
            rows.append({"name": name, "release": label, "state": "drained" if name in held else "active"})
        else:
            at = place(facts)
            release = {"new": label, "old": _label(plan["going_back_to"].get(name)), "unknown": None}[at]
            rows.append({"name": name, "release": release, "state": "active" if _serves(plan, name, hostvars) else "drained"})
    lost = [row["name"] for row in rows if row["state"] == "lost"]

    if not failed:
        verdict = evidence.get("verdict", "clean")
        problem = local.get("__deploy_evidence_problem")
        if verdict in ("lost", "degraded", "unconfirmed") or problem:
            sentence = f"{title.capitalize()} to {label} is in place, but {problem or _lower(evidence.get('sentence', verdict))}"
            return {"result": "failed", "sentence": _stop(sentence), "members": rows, "lost": lost}
        count = len(plan["going_back_to"])
        sentence = (f"{title.capitalize()}: {count} of {len(plan['members'])} members were moved to {label}" if count
                    else f"{title.capitalize()}: all {len(plan['members'])} members run {label} already, and nothing was moved")
        if held:
            sentence += f"; {', '.join(held)} stays out of traffic, as it was found"
        if checking:
            sentence = f"{title.capitalize()} would move {count} of {len(plan['members'])} members to {label}; nothing has been changed."
            return {"result": "succeeded", "sentence": sentence, "members": rows, "lost": lost}
        if evidence.get("sentence"):
            sentence += f"; {_lower(evidence['sentence'])}"
        return {"result": "succeeded", "sentence": _stop(sentence), "members": rows, "lost": lost}

    why = _why(hostvars, members) or (f"{', '.join(lost)} cannot be reached" if lost else "a step failed")
    moved_once = [name for name in plan["going_back_to"] if ran(hostvars[name].get("__rolling_moved"))]
    still_new = [row["name"] for row in rows if row["name"] in moved_once and row["release"] == label and plan["verb"] != "restart"]
    out = [row["name"] for row in rows if row["state"] == "drained" and row["name"] not in held]
    problems = list(local.get("__rolling_problems") or [])
    serving: dict[str, list[str]] = {}
    for row in rows:
        if row["state"] == "active" and row["release"]:
            serving.setdefault(row["release"], []).append(row["name"])
    served = "; ".join(f"{len(names)} of {len(rows)} members serve {release}" for release, names in serving.items()) or "no member serves"
    whole = not (still_new or out or lost or problems or local.get("__deploy_stay"))
    parts = [f"{title.capitalize()} to {label} failed: {why.rstrip('.')}"]
    if local.get("__deploy_stay"):
        parts.append("nothing was moved back")
    elif moved_once and whole:
        parts.append(f"{', '.join(moved_once)} went back")
    elif not moved_once:
        parts.append("no member had changed its release")
    if still_new and not local.get("__deploy_stay"):
        parts.append(f"{', '.join(still_new)} kept {label}")
    if lost:
        parts.append(f"{', '.join(lost)} cannot be reached and may run either release")
    if out:
        parts.append(f"{', '.join(out)} stays out of traffic")
    parts += [problem.rstrip(".") for problem in problems]
    parts.append(served)
    return {"result": "rolled_back" if whole else "failed", "sentence": _stop("; ".join(parts)), "members": rows, "lost": lost}


def _serves(plan: t.Mapping[str, t.Any], name: str, hostvars: t.Mapping[str, t.Any]) -> bool:
    """Whether a member of a failed deploy serves: it was never taken out, or a balancer reported it active again."""
    begun = int(hostvars[LOCAL].get("__rolling_begun") or 0)
    batch = next((batch["n"] for batch in plan["batches"] if name in batch["members"]), 0)
    if batch > begun or hostvars[LOCAL].get("__deploy_stay"):
        return bool(plan["going_back_to"].get(name)) or batch <= begun
    return name in (hostvars[LOCAL].get("__rolling_readmitted") or [])


def _why(hostvars: t.Mapping[str, t.Any], members: t.Sequence[str]) -> str:
    """What failed first, in the words of those that failed; the same words of several are said once."""
    said: dict[str, list[str]] = {}
    for name in [LOCAL, *members]:
        facts = hostvars[name]
        text = str(facts.get("__deploy_why") or "").strip()
        moved = facts.get("__rolling_moved")
        if name != LOCAL and ran(moved) and not well(moved) and moved.get("msg"):
            text = str(moved["msg"]).strip()
        if text:
            said.setdefault(text, []).append(name)
    # A step that ran once for all failed for everybody with the same words: it is nobody's in particular.
    sentences = [text if LOCAL in names or all(name in text for name in names) else f"{', '.join(names)}: {text}" for text, names in said.items()]
    if len(sentences) > 2:
        others = [name for names in list(said.values())[1:] for name in names]
        return f"{sentences[0].rstrip('.')} (and likewise on {', '.join(others)})"
    return "; ".join(sentence.rstrip(".") for sentence in sentences)


def _label(release: t.Mapping[str, t.Any] | None) -> str | None:
    if not release:
        return None
    return release.get("label") or release["digest"][:12]


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _stop(sentence: str) -> str:
    sentence = sentence.rstrip(". ")
    return sentence if sentence.endswith("?") else sentence + "."
