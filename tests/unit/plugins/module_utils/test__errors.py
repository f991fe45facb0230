# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _probe
from ansible_collections.zero.downtime.plugins.module_utils._errors import shown_url


@pytest.mark.parametrize("url, shown", [
    ("https://user:s3cret@art.example/shop.tar.gz?token=abc#x", "https://art.example/shop.tar.gz"),
    ("https://s3cret@art.example", "https://art.example"),
    ("https://user:p@ss@art.example/a@b", "https://art.example/a@b"),
    ("https://art.example:99999/x", "https://art.example:99999/x"),
    ("https://[::1/x", "https://[::1/x"),
    ("user:s3cret@art.example", "user:s3cret@art.example"),
    ("/a/path", "/a/path"),
])
def test_an_address_is_shown_without_what_is_secret_in_it(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize("url", ["http://user:s3cret@shop.example/", "ftp://user:s3cret@shop.example/", "http://user:s3cret@shop.example:99999/",
                                 "http://user:s3cret@/", "http://user:s3cret@[::1/"])
def test_a_probe_that_refuses_an_address_does_not_tell_its_password(url):
    with pytest.raises(_probe.BadConfig) as refused:
        _probe.parse_target(url)
    assert "s3cret" not in str(refused.value) and "s3cret" not in repr(refused.value.__cause__)
