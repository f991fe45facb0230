# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tutorial needs of systemctl, on hosts without systemd: ``systemctl.py HOST daemon-reload`` and ``systemctl.py HOST restart UNIT``.

HOST is the host's directory; its units are the JSON files that unit.py reads. A drop-in's WorkingDirectory is where a unit's program starts next time.
"""

from __future__ import annotations

import configparser
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "inventories"))

import unit  # noqa: E402  pylint: disable=wrong-import-position


def daemon_reload(host: pathlib.Path) -> None:
    for drop_in in (host / "etc" / "systemd" / "system").glob("*.service.d/*.conf"):
        settings = configparser.ConfigParser()
        settings.read(drop_in)
        path = host / (drop_in.parent.name.removesuffix(".service.d") + ".json")
        if not path.is_file():
            # For a unit that does not exist yet.
            continue
        known = json.loads(path.read_text(encoding="utf-8"))
        known["argv"][known["argv"].index("--chdir") + 1] = settings["Service"]["WorkingDirectory"]
        path.write_text(json.dumps(known), encoding="utf-8")


def main(host: pathlib.Path, verb: str, *names: str) -> int:
    if verb == "daemon-reload":
        daemon_reload(host)
        return 0
    return max(unit.main(verb, str(host / f"{name}.json")) for name in names)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), *sys.argv[2:]))
