# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a deploy ended, from what each host and balancer reported: pure functions. Private to the collection.

A strategy leaves what it did on the controller, whatever its moves are: C(__deploy_begun) (batches), C(__deploy_moved) and C(__deploy_back)
(each member's own report, by name), C(__deploy_returned) (the last return into traffic), C(__deploy_theirs) (whom people took out meanwhile),
C(__deploy_gone) (whose server people removed meanwhile, and on which balancers),
C(__deploy_fit) (the gate after going back), C(__deploy_readmitted), C(__deploy_problems), C(__deploy_cut) (how many connections going back has cut),
C(__deploy_lock_taken) (why it may not move anything any more, if somebody else has taken its lock).

Only a host's own report counts. A host that said nothing is lost, and what it runs is unknown.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import agreeing
from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._plan.plan import ran, well, where
from ansible_collections.zero.downtime.plugins.module_utils._strategy import seen as _seen

LOCAL = "localhost"


def moved(local: t.Mapping[str, t.Any], name: str) -> t.Any:
    """A member's own report of its move to the release; None when it was not asked to."""
    return ((local.get("__deploy_moved") or {}).get("members") or {}).get(name)


def back(local: t.Mapping[str, t.Any], name: str) -> t.Any:
    """A member's own report of its way back."""
    return ((local.get("__deploy_back") or {}).get("members") or {}).get(name)


def place(local: t.Mapping[str, t.Any], name: str) -> str:
    return where(moved(local, name), back(local, name))


def lost(plan: t.Mapping[str, t.Any], hostvars: t.Mapping[str, t.Any], name: str) -> bool:
    """Whether a member's host did not answer when it was asked last, by one of the calls or by a task of a hook.

    Only hooks of the members are tasks of their own, of which one that cannot be reached falls out of the play and is not there when the others are
    rescued. Without them the members take no part in the play, and whether they are rescued says nothing about them.
    """
    last = back(hostvars[LOCAL], name) or moved(hostvars[LOCAL], name) or {}
    if plan.get("batches") is None:
        hooks = plan.get("hooks") or {}
        themselves = hooks.get("before_stage") or hooks.get("after_stage")
    else:
        themselves = plan.get("hooks_on_members")
    return bool(last.get("unreachable_host")) or bool(themselves and not hostvars[name].get("__deploy_here"))


def unsettled(plan: t.Mapping[str, t.Any]) -> list[str]:
    """Members that an interrupted deploy left out of traffic or on its release, and that this one has to move."""
    return plan.get("unsettled") or []


def batches_back(plan: t.Mapping[str, t.Any], host: str, hostvars: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """The batches that have begun and that a host takes part in, the last one first; before them, of later batches, whoever an interrupted deploy
    left out of traffic or on its release.

    While somebody is lost the others have less room: they go one by one, where a whole batch might break the floor.
    """
    if hostvars[LOCAL].get("__deploy_lock_taken"):
        # Each move would be refused, and what the members run now is somebody else's choice.
        return []
    number = int(hostvars[LOCAL].get("__deploy_begun") or 0)
    left = [{"n": batch["n"], "members": [name for name in batch["members"] if name in unsettled(plan)]} for batch in plan["batches"][number:]]
    begun = [*plan["batches"][:number], *(batch for batch in left if batch["members"])]
    found = [{"n": batch["n"], "members": list(batch["members"])} for batch in reversed(begun)]
    if any(lost(plan, hostvars, name) for batch in begun for name in batch["members"]):
        found = [{"n": batch["n"], "members": [name]} for batch in found for name in batch["members"]]
    return found if host == LOCAL else [batch for batch in found if host in batch["members"]]


def back_members(plan: t.Mapping[str, t.Any], members: t.Sequence[str], hostvars: t.Mapping[str, t.Any]) -> list[str]:
    """Those of a batch that go back: they moved, or tried to, in this deploy or in an interrupted one, and something ran there before."""
    return [name for name in members if (ran(moved(hostvars[LOCAL], name)) or name in unsettled(plan)) and plan["going_back_to"].get(name)]


def slots_of(plan: t.Mapping[str, t.Any], members: t.Sequence[str], state: str = "activated") -> list[dict[str, t.Any]]:
    """The places of C(members) on their hosts; to activate, also what runs there and how it tells its release."""
    found = []
    for name in members:
        host = plan["hosts"][name]
        entry = {"name": name, "root": host["root"], "slot": host["slot"]}
        if state == "activated" and not plan["hooks"].get("restart"):
            entry.update({key: host[key] for key in ("service", "running") if host.get(key)})
            if entry.get("running"):
                entry["running"] = {**entry["running"], "proof": _proof.forward(plan, name)}
            if name in (plan.get("down") or ()):
                entry["restart"] = True
        found.append(entry)
    return found


def slots_back(plan: t.Mapping[str, t.Any], members: t.Sequence[str], out: t.Mapping[str, t.Any], hostvars: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """The places of those of a batch that go back, each with the release that it ran.

    A member that could not be taken out everywhere (C(out) is what the balancers reported) keeps what it runs: a restart would cut what it serves.
    """
    free = set(drained_everywhere(plan, out))
    found = []
    for entry in slots_of(plan, [name for name in back_members(plan, members, hostvars) if name in free]):
        name = entry["name"]
        # Whoever failed on the way may run anything, whatever its link says.
        report = moved(hostvars[LOCAL], name)
        # A swap that failed has proven that what ran before still serves.
        restart = plan["verb"] == "restart" or not ran(report) or not (well(report) or report.get("kept"))
        if entry.get("running"):
            entry["running"] = {**entry["running"], "proof": _proof.back(plan, name)}
        found.append({**entry, "release": plan["going_back_to"][name]["digest"], "restart": restart})
    return found


def left(plan: t.Mapping[str, t.Any]) -> str:
    """The side that no request goes to after a deploy: the one that was switched from, or that was given back what it had."""
    switch = plan.get("switch")
    return str(switch["from"] if switch else plan["side"])


def slots_left(plan: t.Mapping[str, t.Any], members: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """The places of members on the side that does not serve any more, to be begun anew: their stop signal asks them to end their streams."""
    hosts = plan["sides"][left(plan)]["hosts"]
    return [{"name": name, "root": hosts[name]["root"], "slot": hosts[name]["slot"], "service": hosts[name]["service"], "restart": True} for name in members]


def drained_everywhere(plan: t.Mapping[str, t.Any], out: t.Mapping[str, t.Any]) -> list[str]:
    """The members that every balancer reported out of traffic."""
    needed = 1 if plan.get("own_traffic") else len(plan["balancers"])
    states: dict[str, list[str]] = {}
    for entry in out.get("members") or []:
        states.setdefault(entry["name"], []).append(entry["state"])
    return [name for name, found in states.items() if len(found) >= needed and all(state in ("drained", "down") for state in found)]


def gates_back(plan: t.Mapping[str, t.Any], members: t.Sequence[str], hostvars: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """The checks of those that may serve again, each with the digest that it has to show."""
    checks = []
    for name in members:
        at = place(hostvars[LOCAL], name)
        if lost(plan, hostvars, name) or at == "unknown":
            continue
        expected = plan["release"] if at == "new" else plan["going_back_to"].get(name)
        if expected:
            proof = {"digest": expected["digest"], "proof": (_proof.forward if at == "new" else _proof.back)(plan, name)}
            checks.append({"name": name, "url": plan["hosts"][name]["url"], **(proof if plan["health"].get("header") else {})})
    return checks


def fit(plan: t.Mapping[str, t.Any], members: t.Sequence[str], hostvars: t.Mapping[str, t.Any]) -> list[str]:
    """Members that may get traffic again after going back: they answered, they know what they run, and they passed the gate."""
    local = hostvars[LOCAL]
    gate = local.get("__deploy_fit")
    passed = {entry["name"] for entry in gate.get("members", []) if entry.get("ok")} if ran(gate) else None
    return [name for name in members
            if not lost(plan, hostvars, name) and place(local, name) != "unknown" and (passed is None or name in passed)]


def named(name: str, text: str) -> bool:
    """Whether a sentence names C(name): app1 is not named by a word about app10."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", text) is not None


def together(said: t.Mapping[str, str]) -> str:
    """One sentence from what each of several said: the same words once, with the names of those that used them.

    What a command printed beyond its first line stays in the record's steps.
    """
    names: dict[str, list[str]] = {}
    for name, text in said.items():
        if text.strip():
            names.setdefault(first_line(text), []).append(name)
    sentences = [text if LOCAL in who or all(named(name, text) for name in who) else f"{', '.join(who)}: {text}" for text, who in names.items()]
    if len(sentences) > 2:
        others = [name for who in list(names.values())[1:] for name in who]
        return f"{sentences[0].rstrip('.')} (and likewise on {', '.join(others)})"
    return "; ".join(sentence.rstrip(".") for sentence in sentences)


def outcome(hostvars: t.Mapping[str, t.Any], members: t.Sequence[str], plan: t.Mapping[str, t.Any], resolved: t.Mapping[str, t.Any],
            checking: bool = False, verb: str = "deploy") -> dict[str, t.Any]:
    """Result, sentence and members' releases.

    :param verb: what was to be done, where nothing could be resolved.
    :returns: C(result) (succeeded, rolled_back, failed), C(sentence), C(members) ([{name, release, state}]), C(lost); of a strategy with an
        idle side also C(shares), as the balancers told them after its last move of them.
    """
    local = hostvars[LOCAL]
    failed = bool(local.get("__deploy_here"))
    evidence = (local.get("__deploy_evidence") or {}).get("evidence") or {}
    title = f"{resolved['verb']} of {resolved['app']}" if resolved else verb
    if not plan:
        away = [name for name in members if lost(resolved, hostvars, name)]
        why = _why(hostvars, members, resolved) or (f"{', '.join(away)} cannot be reached" if away else "it could not be planned")
        refused = full_stop(f"{title.capitalize()} was refused: {why}")
        return {"result": "failed", "sentence": f"{refused} Nothing has been changed.", "members": [], "lost": away}

    label = label_of(plan.get("intended") or plan["release"])
    if failed and local.get("__deploy_lock_taken"):
        return _overtaken(hostvars, members, plan, f"{title.capitalize()} to {label}")
    if failed and checking:
        away = [name for name in members if lost(plan, hostvars, name)]
        would = full_stop(f"{title.capitalize()} to {label} would fail: {_why(hostvars, members, plan) or 'a step failed'}")
        return {"result": "failed", "sentence": f"{would} Nothing has been changed.", "members": [], "lost": away}
    own = getattr(_drivers.strategy(plan.get("strategy") or "rolling"), "outcome", None)
    if own:
        away = [name for name in members if failed and lost(plan, hostvars, name)]
        why = (_why(hostvars, members, plan) or (f"{', '.join(away)} cannot be reached" if away else "a step failed")) if failed else None
        found = own(local, plan, title.capitalize(), why, checking)
        if removed := _removed(local):
            found = {**found, "sentence": full_stop(f"{found['sentence'].rstrip('.')}; {removed}")}
        return _with_evidence(found, f"{title.capitalize()} to {label}", local, evidence, checking)
    rows = []
    held, absent = plan.get("held") or [], plan.get("absent") or []
    theirs = sorted({*(local.get("__deploy_theirs") or ()), *((local.get("__deploy_returned") or {}).get("theirs") or ())} - set(held))
    nowhere = [name for name, where in _gone(local).items() if set(where) >= set(plan.get("balancers") or where)]
    for name in plan["members"]:
        if name in absent:
            rows.append({"name": name, "release": None, "state": "absent"})
        elif failed and lost(plan, hostvars, name):
            rows.append({"name": name, "release": None, "state": "lost"})
        elif name not in plan["going_back_to"] or not failed:
            rows.append({"name": name, "release": label, "state": "removed" if name in nowhere else "drained" if name in held or name in theirs else "active"})
        else:
            at = place(local, name)
            release = {"new": label, "old": label_of(plan["going_back_to"].get(name)), "unknown": None}[at]
            state = "removed" if name in nowhere else "active" if _serves(plan, name, hostvars) else "drained"
            rows.append({"name": name, "release": release, "state": state})
    away = [row["name"] for row in rows if row["state"] == "lost"]

    if not failed:
        sentence = f"{title.capitalize()}: {_moves(plan, label)}"
        if held:
            sentence += f"; {agreeing(held, 'stays out of traffic, as it was', 'stay out of traffic, as they were')} found"
        if theirs:
            sentence += f"; {agreeing(theirs, 'stays out of traffic: somebody else took it', 'stay out of traffic: somebody else took them')} out meanwhile"
        if removed := _removed(local):
            sentence += f"; {removed}"
        if absent:
            were = agreeing(absent, "could not be reached, serves nobody, and runs what it", "could not be reached, serve nobody, and run what they")
            sentence += f"; {were} ran"
        if checking:
            sentence = f"{title.capitalize()} would {_would_move(plan, label)}; nothing has been changed."
        now = _seen.look(rows, local, plan)
        found = {"result": "succeeded", "sentence": full_stop(sentence), "members": now.rows, "lost": away,
                 "beside": [*([now.unknown] if now.unknown else []), *_seen.mended(now, plan, lambda _name: plan["release"])]}
        return _with_evidence(found, f"{title.capitalize()} to {label}", local, evidence, checking)

    why = _why(hostvars, members, plan) or (f"{', '.join(away)} cannot be reached" if away else "a step failed")
    moved_once = [name for name in plan["going_back_to"] if ran(moved(local, name))]
    still_new = [row["name"] for row in rows if row["name"] in moved_once and row["release"] == label and plan["verb"] != "restart"]
    out = [row["name"] for row in rows if row["state"] == "drained" and row["name"] not in held and row["name"] not in theirs]
    problems = [first_line(problem) for problem in local.get("__deploy_problems") or []]
    now = _seen.look(rows, local, plan)
    whole = not (still_new or out or away or problems or local.get("__deploy_stay"))
    parts = [f"{title.capitalize()} to {label} failed: {why.rstrip('.')}"]
    if local.get("__deploy_stay"):
        parts.append("nothing was moved back")
    elif moved_once and whole:
        parts.append(f"{', '.join(moved_once)} went back")
    elif not moved_once:
        parts.append("no member had changed its release")
    parts += cut_on_the_way_back(local)
    if still_new and not local.get("__deploy_stay"):
        parts.append(f"{', '.join(still_new)} kept {label}")
    if away:
        parts.append(f"{', '.join(away)} cannot be reached and may run either release")
    if absent:
        parts.append(f"{agreeing(absent, 'could not be reached from the start and runs what it', 'could not be reached from the start and run what they')} ran")
    if out:
        parts.append(f"{agreeing(out, 'stays', 'stay')} out of traffic")
    if theirs:
        parts.append(f"{agreeing(theirs, 'stays out of traffic, since somebody else took it', 'stay out of traffic, since somebody else took them')} out")
    if removed := _removed(local):
        parts.append(removed)
    # A dead balancer fails at every step, in the same words; a lost host in other words each time, and it is named already.
    known = tuple(f"member {name} cannot be reached" for name in away)
    parts += [problem for problem in dict.fromkeys(text.rstrip(".") for text in problems) if problem not in why and not problem.startswith(known)]
    parts += _who_serves(now)
    # Of what this deploy has not begun nothing can be undone: a rollback would undo the one before.
    begun = (int(local.get("__deploy_begun") or 0) or unsettled(plan)) and any(plan["going_back_to"].values())
    way = _going_on.ways(unfinished(plan), plan["app"]) if begun and (still_new or out or away) else ""
    parts += _seen.mended(now, plan, lambda name: plan["release"] if place(local, name) == "new" or name not in plan["going_back_to"]
                          else plan["going_back_to"][name], way)
    found = {"result": "rolled_back" if whole else "failed", "sentence": full_stop("; ".join(parts)), "members": now.rows, "lost": away}
    return _with_evidence(found, title, local, evidence, checking)


def _counted(plan: t.Mapping[str, t.Any]) -> tuple[int, t.Sequence[str]]:
    """How many members get another release, and who is begun anew since it does not serve. A restart brings all to what they have."""
    again = plan.get("down") or () if plan["verb"] != "restart" else ()
    return len([name for name in plan["going_back_to"] if name not in again]), plan.get("not_serving") or ()


def _moves(plan: t.Mapping[str, t.Any], label: str | None) -> str:
    """What a deploy that went well did, as C(_would_move) foretold it."""
    count, anew = _counted(plan)
    if not count and not anew:
        return f"all {len(plan['members'])} members run {label} already, and nothing was moved"
    begun = agreeing(anew, "was begun anew", "were begun anew")
    if not count:
        others = "" if len(anew) == len(plan["members"]) else ", and nobody else was moved"
        return f"{begun} with {label}, since {'it' if len(anew) == 1 else 'they'} did not serve{others}"
    return f"{count} of {len(plan['members'])} members were moved to {label}" + (f", and {begun}, which did not serve" if anew else "")


def _would_move(plan: t.Mapping[str, t.Any], label: str | None) -> str:
    """What a deploy under check mode would do."""
    count, anew = _counted(plan)
    who = f"begin {', '.join(anew)} anew"
    if anew and not count:
        return f"{who} with {label}, since {'it does' if len(anew) == 1 else 'they do'} not serve"
    return f"move {count} of {len(plan['members'])} members to {label}" + (f", and {who}, which {'does' if len(anew) == 1 else 'do'} not serve" if anew else "")


def _who_serves(now: _seen.Survey) -> list[str]:
    """Parts of the sentence: how many members serve which release; where no balancer told, how many run it."""
    serving: dict[str, list[str]] = {}
    for row in now.rows:
        if row["state"] == ("unknown" if now.unknown else "active"):
            serving.setdefault(row["release"] or "what ran there before", []).append(row["name"])
    verb = "run" if now.unknown else "serve"
    told = [f"{len(names)} of {len(now.rows)} members {verb} {release}" for release, names in serving.items()]
    return [*(told or ["no member serves"]), *([now.unknown] if now.unknown and told else [])]


def unfinished(plan: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What this deploy leaves in the journal, for what ends it."""
    return _going_on.intent(plan)


def _overtaken(hostvars: t.Mapping[str, t.Any], members: t.Sequence[str], plan: t.Mapping[str, t.Any], what: str) -> dict[str, t.Any]:
    """The outcome of a deploy whose lock somebody else took while it worked: what serves is that one's doing by now, so nothing is said of it."""
    taken = hostvars[LOCAL]["__deploy_lock_taken"]
    why = _why(hostvars, members, plan) or taken
    parts = [f"{what} failed: {why.rstrip('.')}", *([] if taken in why else [taken]),
             f"its lock was taken from it, so what serves now is not known here; {_commands.command('status', plan['app'])} tells"]
    rows = [{"name": name, "release": None, "state": "unknown"} for name in plan["members"]]
    return {"result": "failed", "sentence": full_stop("; ".join(parts)), "members": rows, "lost": []}


def _gone(local: t.Mapping[str, t.Any]) -> dict[str, list[str]]:
    """The members whose server somebody removed while the deploy had them out, each with the balancers where."""
    found: dict[str, list[str]] = {}
    for gone in (local.get("__deploy_gone") or {}, (local.get("__deploy_returned") or {}).get("gone") or {}):
        for name, where in gone.items():
            found[name] = sorted({*found.get(name, ()), *where})
    return found


def _removed(local: t.Mapping[str, t.Any]) -> str:
    """That for a sentence: of such a member nobody can say that it is out or back."""
    return "; ".join(f"{name} has no server on {', '.join(where)} any more, since somebody removed it meanwhile, and gets no requests there"
                     for name, where in sorted(_gone(local).items()))


def _with_evidence(found: dict[str, t.Any], what: str, local: t.Mapping[str, t.Any], evidence: t.Mapping[str, t.Any], checking: bool) -> dict[str, t.Any]:
    """An outcome with what was measured: a deploy that went well is no success when requests were lost.

    C(beside) of the outcome are parts of a sentence for that case: who does not serve by now.
    """
    beside = found.pop("beside", [])
    if checking:
        return found
    if found["result"] != "succeeded":
        # What made it fail is told with the numbers of then; the way back is in these.
        numbers = evidence.get("at_the_end")
        return {**found, "sentence": full_stop(f"{found['sentence'].rstrip('.')}; at the end, {numbers}")} if numbers else found
    verdict = evidence.get("verdict", "clean")
    problem = local.get("__deploy_evidence_problem")
    if verdict in ("lost", "degraded", "unconfirmed") or problem:
        why = f"{what} is in place, but {problem or _lower(evidence.get('sentence', verdict))}"
        return {**found, "result": "failed", "sentence": full_stop("; ".join([why.rstrip("."), *beside]))}
    if evidence.get("sentence"):
        return {**found, "sentence": full_stop(f"{found['sentence'].rstrip('.')}; {_lower(evidence['sentence'])}")}
    return found


def _serves(plan: t.Mapping[str, t.Any], name: str, hostvars: t.Mapping[str, t.Any]) -> bool:
    """Whether a member of a failed deploy serves: it was never taken out, or a balancer reported it active again."""
    begun = int(hostvars[LOCAL].get("__deploy_begun") or 0)
    batch = next((batch["n"] for batch in plan["batches"] if name in batch["members"]), 0)
    if (batch > begun and name not in unsettled(plan)) or hostvars[LOCAL].get("__deploy_stay"):
        # What ran there before the first deploy serves as well, whatever it is.
        return bool(plan["going_back_to"].get(name)) or name in (plan.get("capacity") or {}).get("serving", ()) or batch <= begun
    return name in (hostvars[LOCAL].get("__deploy_readmitted") or [])


def _why(hostvars: t.Mapping[str, t.Any], members: t.Sequence[str], plan: t.Mapping[str, t.Any]) -> str:
    """What failed first, in the words of those that failed; where that was a task of a hook, with its name and the hook's."""
    said = {name: _of_hook(plan, hostvars[name], str(hostvars[name].get("__deploy_why") or "")) for name in [LOCAL, *members]}
    # What the controller was told, all were told; only a hook fails on a host by itself.
    return together({name: text for name, text in said.items() if name == LOCAL or text != said[LOCAL]})


def _of_hook(plan: t.Mapping[str, t.Any], facts: t.Mapping[str, t.Any], text: str) -> str:
    task = str(facts.get("__deploy_failed_task") or "")
    hooks = [(name, hook["file"]) for name, hook in (plan.get("hook_tasks") or {}).items() if task and task in hook["tasks"]]
    if len(hooks) != 1:
        return text
    ((name, path),) = hooks
    return f"the hook {name} ({path}) failed at its task '{task}': {text or 'without a word'}"


def cut_on_the_way_back(local: t.Mapping[str, t.Any]) -> list[str]:
    """A part of the sentence: how many connections had to be cut when members went back, if any."""
    count = int(local.get("__deploy_cut") or 0)
    return [f"{count} connection{'s were' if count > 1 else ' was'} cut on the way back"] if count else []


def label_of(release: t.Mapping[str, t.Any] | None) -> str | None:
    if not release:
        return None
    return release.get("label") or release["digest"][:12]


def first_line(text: str) -> str:
    first, _newline, rest = text.strip().partition("\n")
    return first.rstrip() + (" …" if rest else "")


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def full_stop(sentence: str) -> str:
    sentence = sentence.rstrip(". ")
    return sentence if sentence.endswith("?") else sentence + "."
