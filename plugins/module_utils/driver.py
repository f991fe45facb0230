# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a driver of another collection is made with. Of this collection's C(module_utils), this file alone is public.

Names are added to it, and none is taken away or given another meaning without a new C(API_VERSION).

:data API_VERSION: version of this interface.
:data Driver: describes a driver; C(DRIVER) in the file C(_<name>.py) or C(_<name>/driver.py) of the other collection's module_utils is one.
:data BALANCERS: the option C(balancers) of C(deploy_traffic), where calls run on hosts of the inventory that are balancers.
:data POOL: the options of an entry of C(deploy_traffic.pools).
:data members_spec: options that every C(<name>_members) has.
:data split_spec: options that every C(<name>_split) has.
:data slow_split_spec: options that C(<name>_split) has beside them where a split is set at one moment and effective at another (C(Driver.holds)).
:data push_spec: options that every C(<name>_push) has.
:data floor_of: how many members have to serve, by C(min_active).
:data check_shares: the shares of a split, checked.
:data check_whole: refuses shares for both sides, where only all or nothing can be given (C(Driver.whole)).
:data lock_spec: options that every C(<name>_lock) has (C(Driver.lock_args)).
:data lock_in_document: what C(<name>_lock) returns, where the platform has documents that are written only if they are as they were read.
:data fence_in_document: the same document around a move: C(with fence_in_document(document, params, check_mode)).
:data Changed: what such a document raises where it is not as it was read.
:data Taken: another deploy has the lock, so this one may not move anything any more.
:data fence: holds off a module whose deploy has lost its lock, where the lock lies on the host that the module runs on.
:data DowntimeError: a refusal or a failure, as one sentence.
:data failure: what a module that failed with such a sentence returns.
"""

from __future__ import annotations

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import common_spec as members_spec
from ansible_collections.zero.downtime.plugins.module_utils._driver.members import floor_of
from ansible_collections.zero.downtime.plugins.module_utils._driver.push import common_spec as push_spec
from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import BALANCERS, POOL, Driver
from ansible_collections.zero.downtime.plugins.module_utils._driver.split import check_shares, check_whole
from ansible_collections.zero.downtime.plugins.module_utils._driver.split import common_spec as split_spec
from ansible_collections.zero.downtime.plugins.module_utils._driver.split import slow_spec as slow_split_spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, failure
from ansible_collections.zero.downtime.plugins.module_utils._state.document import Changed
from ansible_collections.zero.downtime.plugins.module_utils._state.document import fence as fence_in_document
from ansible_collections.zero.downtime.plugins.module_utils._state.document import run as lock_in_document
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Taken, fence
from ansible_collections.zero.downtime.plugins.module_utils._state.lock import argument_spec as lock_spec

API_VERSION = 1

__all__ = ["API_VERSION", "BALANCERS", "POOL", "Changed", "Driver", "DowntimeError", "Taken", "check_shares", "check_whole", "failure", "fence",
           "fence_in_document", "floor_of", "lock_in_document", "lock_spec", "members_spec", "push_spec", "slow_split_spec", "split_spec"]
