# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loopback app of tests/real, with a readiness check that also follows a file, as the driver healthcheck wants it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import sys
import typing as t

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "real"))

import loopback_app  # noqa: E402  pylint: disable=wrong-import-position

OFF_FILE = os.environ["OFF_FILE"]


class SwitchableApp(loopback_app.App):
    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, t.Any]]:
        if path == "/ready" and os.path.exists(OFF_FILE):
            return 503, {"ready": False, "version": self.label}
        return super().answer(path, query)


if __name__ == "__main__":
    loopback_app.App = SwitchableApp  # type: ignore[misc]
    asyncio.run(loopback_app.main())
