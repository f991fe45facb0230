# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of C(deploy_canary), which the registry of variables and the judge share. Private to the collection."""

from __future__ import annotations

import typing as t


def restarts_first(strategy: t.Any, canary: t.Any) -> bool:
    """Whether what serves is restarted before the release comes. The values may be what a person wrote, not checked yet."""
    return strategy == "canary" and isinstance(canary, dict) and canary.get("baseline") == "fresh"


JUDGE: dict[str, t.Any] = {
    "alpha": {"type": "float", "default": 0.01, "description":
              "How likely it may be, over a whole deploy, that a release that fails as often as the old one is taken for a worse one."},
    "min_samples": {"type": "int", "default": 20, "minimum": 1, "description":
                    "Requests, and values of each metric, that each side needs before it is judged."},
    "confidence": {"type": "float", "default": 0.98, "description": "Confidence of the interval of a metric's shift."},
    "tolerance": {"type": "float", "default": 0.25, "description": "Part of its estimated shift by which a metric's interval has to stay clear of none."},
    "pass_score": {"type": "float", "default": 95, "description": "Percent of the metrics that have to pass."},
    "marginal_score": {"type": "float", "default": 75, "description": "Below it the release is worse; from here to V(pass_score) nothing can be said."},
    "margin": {"type": "float", "description":
               "When set, the release passes only once it is shown that it fails less than C(1 + margin) times as often as the old one."},
    "users": {"type": "float", "description":
              "Where users stay on the side that they were sent to: how many of them ask while a share is watched. Errors then count by user, so that a few "
              "for whom everything fails withdraw no release."},
}
METRIC: dict[str, t.Any] = {
    "query": {"type": "str"},
    "direction": {"type": "str", "choices": ["increase", "decrease", "either"], "default": "increase"},
    "critical": {"type": "bool", "default": False},
    "allowed_increase": {"type": "float", "default": 1.0},
    "allowed_decrease": {"type": "float", "default": 1.0},
    "nodata": {"type": "str", "choices": ["inconclusive", "fail", "pass"], "default": "inconclusive"},
}
# No two processes are just as fast: only what takes more than a fifth more time counts. The balancers' own means follow each other closely, since each is
# of the same many requests as the one before, so of them only what takes half as much time again does.
LATENCY: dict[str, dict[str, t.Any]] = {"probe": {"allowed_increase": 1.2}, "balancer": {"allowed_increase": 1.5}}
PROMETHEUS: dict[str, t.Any] = {
    "url": {"type": "str", "description": "Address of the Prometheus server, such as V(https://prometheus.example)."},
    "headers": {"type": "dict", "no_log": True, "description": "HTTP headers for it, such as a token. Kept out of every log."},
    "timeout": {"type": "float", "default": 10.0, "minimum": 0.1, "description": "Seconds that a query may take."},
    "validate_certs": {"type": "bool", "default": True, "description": "Whether its certificate is checked."},
    "ca_path": {"type": "path", "description": "File with the certificates that its own is checked by."},
}
OPTIONS: dict[str, t.Any] = {
    "steps": {"type": "list", "elements": "int", "default": [1, 5, 25, 50, 100], "description":
              "The shares that the release gets, one after the other, in percent. They ascend, and the last one is 100."},
    "step_time": {"type": "float", "default": 60, "minimum": 0, "description": "Seconds that each share below 100 is watched at least."},
    "interval": {"type": "float", "default": 5, "minimum": 0.1, "description": "Seconds between two looks."},
    "warm_up": {"type": "float", "default": 20, "minimum": 0, "description":
                "Seconds of each member's first traffic of the release that are not judged, since caches are cold then. Only what fails half of its requests "
                "goes back in that time."},
    "deadline": {"type": "float", "default": 600, "minimum": 0, "description": "Seconds that a share is held while nothing can be said."},
    "at_deadline": {"type": "str", "choices": ["go_back", "go_on"], "default": "go_back", "description": "What happens when nothing can be said until then."},
    "baseline": {"type": "str", "choices": ["running", "fresh"], "default": "running", "description":
                 "What the release is compared with: the old one as it runs, or (V(fresh)) after a rolling restart under evidence, which the playbook deploy "
                 "makes first, with a record of its own. A process that has run for weeks is no measure for one that has just begun."},
    "errors": {"type": "str", "choices": ["balancer", "probe"], "description":
               "Who counts requests and errors; the balancers where they count, else the probe."},
    "latency": {"type": "str", "choices": ["probe", "balancer", "none"], "description":
                "Who times the requests (metric V(latency_ms)): the probe where O(deploy_evidence_url) is set, else the balancers."},
    "probe_rate": {"type": "float", "minimum": 1, "description":
                   "Probe requests a second of a deploy by canary, in place of O(deploy_evidence_rate). They count as requests of their side, so more of them "
                   "make a small share tell more where users ask little."},
    "judge": {"type": "dict", "default": {}, "options": JUDGE, "description": "How strictly it is judged."},
    "metrics": {"type": "dict", "default": {}, "description":
                "More metrics by name, each with C(query), which Prometheus is asked for each side (C($side), C($pool) and C($release) are replaced), "
                "and C(direction) (V(increase), V(decrease), V(either)), C(critical), C(allowed_increase), C(allowed_decrease), C(nodata) "
                "(V(inconclusive), V(fail), V(pass)). The same options of C(latency_ms) may be given."},
    "prometheus": {"type": "dict", "options": PROMETHEUS, "description": "The Prometheus server that O(deploy_canary.metrics) ask."},
}
