# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception that carries a sentence for the user. Private to the collection."""

from __future__ import annotations


class DowntimeError(Exception):
    """A refusal or a failure, as one clear sentence.

    The sentence names the option, its value and what would be accepted. Modules and actions hand it on as their C(msg);
    any other exception is a defect of the collection and keeps its traceback.
    """
