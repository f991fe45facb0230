# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checksum files, hostile archives, fetching from files."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import subprocess
import tarfile

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

A, B, C = "a" * 64, "b" * 64, "c" * 64


def member(name, kind=tarfile.REGTYPE, data=b"", link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(data)
    return info, data


def archive(path, *members, mode="w:gz"):
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return str(path)


# --- addresses


@pytest.mark.parametrize("place, shown, secrets", [
    ("https://art.example/shop.tar.gz?X-Signature=abcdef", "https://art.example/shop.tar.gz", {"X-Signature=abcdef"}),
    ("https://ops:pass-word@art.example/shop.tar.gz#abcdefgh", "https://art.example/shop.tar.gz", {"ops:pass-word", "abcdefgh"}),
    # Too short for a secret: it would be found in what has nothing to do with it.
    ("https://art.example/shop.tar.gz?v=2.0.0", "https://art.example/shop.tar.gz", set()),
    ("https://art.example/shop.tar.gz", "https://art.example/shop.tar.gz", set()),
    ("/srv/art/what?really-a-name", "/srv/art/what?really-a-name", set()),
    (None, None, set()), (3, 3, None),
])
def test_what_of_an_address_is_shown_and_what_is_not(place, shown, secrets):
    assert _artifact.shown(place) == shown
    assert secrets is None or _artifact.secrets_in(place) == secrets


def test_sentences_about_a_checksum_file_hold_no_signature():
    where = "https://art.example/SUMS?sig=abcdefgh"
    for ask in (lambda: _artifact.parse_checksums("nothing", where), lambda: _artifact.digest_of_label(ENTRIES, "9.9", None, where),
                lambda: _artifact.digest_of_label([(A, "shop-1.tar.gz"), (B, "app-1.tar.gz")], "1", None, where)):
        with pytest.raises(DowntimeError) as refused:
            ask()
        assert "https://art.example/SUMS " in str(refused.value) and "abcdefgh" not in str(refused.value)


# --- checksum files


def test_checksum_file_in_all_its_forms():
    text = f"{A}  shop-1.0.0.tar.gz\n# a comment\n\n{B.upper()} *./shop-2.0.0.tar.gz\r\nSHA256 (shop-3.0.0.tar.gz) = {C}\n{'d' * 40}  sha1\n"
    assert _artifact.parse_checksums(text, "S") == [(A, "shop-1.0.0.tar.gz"), (B, "shop-2.0.0.tar.gz"), (C, "shop-3.0.0.tar.gz")]


def test_checksum_file_without_a_checksum():
    with pytest.raises(DowntimeError, match="SUMS has no line as sha256sum writes it"):
        _artifact.parse_checksums("<html>404</html>", "SUMS")


ENTRIES = [(A, "shop-1.0.0.tar.gz"), (B, "shop-2.0.0.tar.gz"), (C, "shop-12.0.0.tar.gz")]


@pytest.mark.parametrize("label, place, digest", [
    ("2.0.0", "https://art.example/x/shop-2.0.0.tar.gz?token=1", B),
    ("2.0.0", "/srv/art/shop-2.0.0.tar.gz", B),
    ("2.0.0", None, B),
    ("12.0.0", None, C),
])
def test_label_to_digest(label, place, digest):
    assert _artifact.digest_of_label(ENTRIES, label, place, "SUMS") == digest


def test_label_in_the_directory():
    entries = [(A, "1.0.0/app.tar.gz"), (B, "2.0.0/app.tar.gz")]
    assert _artifact.digest_of_label(entries, "2.0.0", "https://art/shop/2.0.0/app.tar.gz", "S") == B
    assert _artifact.labels_in(entries, "3", "https://art/shop/3/app.tar.gz") == ["1.0.0", "2.0.0"]


def test_unknown_label_lists_those_known():
    with pytest.raises(DowntimeError, match=r"release 9\.9 is unknown: .*SUMS has no line for shop-9\.9\.tar\.gz; it knows 1\.0\.0, 12\.0\.0, 2\.0\.0$"):
        _artifact.digest_of_label(ENTRIES, "9.9", "https://a/shop-9.9.tar.gz", "SUMS")


def test_ambiguous_label():
    with pytest.raises(DowntimeError, match="ambiguous"):
        _artifact.digest_of_label([(A, "x-1.tar.gz"), (B, "y-1.tgz")], "1", None, "SUMS")


def test_release_given_by_digest_finds_its_file():
    assert _artifact.place_for_digest(ENTRIES, B, B, f"https://a/shop-{B}.tar.gz") == ("https://a/shop-2.0.0.tar.gz", "2.0.0")
    assert _artifact.place_for_digest(ENTRIES, "d" * 64, "d" * 64, f"https://a/shop-{'d' * 64}.tar.gz") == (f"https://a/shop-{'d' * 64}.tar.gz", None)


# --- URLs


@pytest.mark.parametrize("url, sentence", [
    ("ftp://a/b", "an http or https URL"), ("file:///etc/passwd", "an http or https URL"), ("https://user:secret@a/b", "carries credentials"),
    ("http:///x", "with a host"), ("http://a:99999/x", "no valid URL"),
])
def test_urls_refused(url, sentence):
    with pytest.raises(DowntimeError, match=sentence) as caught:
        _artifact.check_url("artifact.url", url)
    assert "secret" not in str(caught.value)


# --- fetching


def test_fetch_copies_what_it_verified(tmp_path):
    source, target = tmp_path / "s", tmp_path / "t"
    source.write_bytes(b"x" * 3_000_000)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert _artifact.fetch(str(source), str(target), digest) == 3_000_000
    assert target.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.claim("digest-before-unpacking")
def test_fetch_refuses_another_digest_and_leaves_nothing(tmp_path):
    (tmp_path / "s").write_bytes(b"x")
    with pytest.raises(DowntimeError, match=f"has the sha256 [0-9a-f]{{64}} .[0-9]+ bytes., but {A} is expected: it was not unpacked"):
        _artifact.fetch(str(tmp_path / "s"), str(tmp_path / "t"), A)
    assert not (tmp_path / "t").exists()


def test_fetch_has_a_deadline(tmp_path):
    (tmp_path / "s").write_bytes(b"x" * 4_000_000)
    ticks = iter(range(100))
    with pytest.raises(DowntimeError, match=r"took longer than 2 s \(artifact.deadline\)"):
        _artifact.fetch(str(tmp_path / "s"), str(tmp_path / "t"), A, deadline=2, clock=lambda: next(ticks))
    assert not (tmp_path / "t").exists()


def test_fetch_of_a_missing_file(tmp_path):
    with pytest.raises(DowntimeError, match="artifact.src .*/s cannot be read: No such file"):
        _artifact.fetch(str(tmp_path / "s"), str(tmp_path / "t"), A)


# --- unpacking what is good


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_unpack(tmp_path, mode):
    path = archive(tmp_path / "a", member("./", tarfile.DIRTYPE, mode=0o700), member("bin/run", data=b"#!", mode=0o4777),
                   member("etc", tarfile.DIRTYPE, mode=0o555), member("etc/x", data=b"1", mode=0o200),
                   member("now", tarfile.SYMTYPE, link="etc/x"), member("same", tarfile.LNKTYPE, link="etc/x"), mode=mode)
    before = os.umask(0o077)
    try:
        assert _artifact.unpack(path, str(tmp_path / "out")) == 4
    finally:
        os.umask(before)
    out = tmp_path / "out"
    modes = {name: stat.S_IMODE((out / name).lstat().st_mode) for name in (".", "bin", "bin/run", "etc", "etc/x")}
    assert modes == {".": 0o755, "bin": 0o755, "bin/run": 0o755, "etc": 0o755, "etc/x": 0o600}
    assert os.readlink(out / "now") == "etc/x" and (out / "same").samefile(out / "etc/x")


def test_unpack_strips(tmp_path):
    path = archive(tmp_path / "a", member("shop-1", tarfile.DIRTYPE), member("shop-1/a/f", data=b"1"), member("shop-1/g", tarfile.LNKTYPE, link="shop-1/a/f"))
    assert _artifact.unpack(path, str(tmp_path / "out"), strip=1) == 2
    assert (tmp_path / "out/a/f").read_bytes() == b"1" and (tmp_path / "out/g").read_bytes() == b"1"


def test_a_later_member_replaces_an_earlier_one(tmp_path):
    path = archive(tmp_path / "a", member("f", data=b"old"), member("f", data=b"new"))
    _artifact.unpack(path, str(tmp_path / "out"))
    assert (tmp_path / "out/f").read_bytes() == b"new"


def test_links_inside_may_go_up(tmp_path):
    path = archive(tmp_path / "a", member("a/b/f", data=b"1"), member("a/link", tarfile.SYMTYPE, link="../a/b/f"), member("top", tarfile.SYMTYPE, link="."))
    _artifact.unpack(path, str(tmp_path / "out"))
    assert (tmp_path / "out/a/link").read_bytes() == b"1"


# --- unpacking what is hostile: nothing may appear outside

HOSTILE = {
    "absolute": [member("/{outside}/evil", data=b"x")],
    "dotdot": [member("../evil", data=b"x")],
    "dotdot-inside": [member("a/../../evil", data=b"x")],
    "symlink-absolute": [member("l", tarfile.SYMTYPE, link="/etc")],
    "symlink-up": [member("l", tarfile.SYMTYPE, link="../evil")],
    "symlink-deep-up": [member("a/l", tarfile.SYMTYPE, link="../../evil")],
    "beneath-symlink": [member("d/x", data=b"x"), member("l", tarfile.SYMTYPE, link="d"), member("l/y", data=b"x")],
    "directory-over-symlink": [member("d/x", data=b"x"), member("l", tarfile.SYMTYPE, link="d"), member("l", tarfile.DIRTYPE)],
    "symlink-chain": [member("d1/d2/f", data=b"x"), member("d1/d2/q", tarfile.SYMTYPE, link="../.."), member("r", tarfile.SYMTYPE, link="d1/d2/q/../evil")],
    "hardlink-absolute": [member("h", tarfile.LNKTYPE, link="/etc/passwd")],
    "hardlink-up": [member("h", tarfile.LNKTYPE, link="../secret")],
    "hardlink-to-symlink": [member("f", data=b"x"), member("l", tarfile.SYMTYPE, link="f"), member("h", tarfile.LNKTYPE, link="l")],
    "hardlink-beneath-symlink": [member("d/f", data=b"x"), member("l", tarfile.SYMTYPE, link="d"), member("h", tarfile.LNKTYPE, link="l/f")],
    "hardlink-dangling": [member("h", tarfile.LNKTYPE, link="nothing")],
    "device": [member("dev", tarfile.CHRTYPE)],
    "block-device": [member("dev", tarfile.BLKTYPE)],
    "fifo": [member("pipe", tarfile.FIFOTYPE)],
    "directory-and-file": [member("x/y", data=b"x"), member("x", data=b"x")],
    "file-and-directory": [member("x", data=b"x"), member("x/y", data=b"x")],
    "reserved": [member(".release.json", data=b"{}")],
    "below reserved": [member(".release.json/x", data=b"{}")],
    "too deep": [member("/".join(["d"] * 200) + "/file", data=b"x")],
    "empty": [],
    "only-directories": [member("d", tarfile.DIRTYPE)],
}


@pytest.mark.claim("tar-traversal-refused")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(tmp_path, name):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in").mkdir()
    members = []
    for info, data in HOSTILE[name]:
        info.name = info.name.replace("{outside}", str(tmp_path).lstrip("/"))
        members.append((info, data))
    path = archive(tmp_path / "a", *members)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DowntimeError, match="^the archive "):
        _artifact.unpack(path, str(tmp_path / "in/out"), reserved=(".release.json",))
    assert sorted(os.listdir(tmp_path)) == before and os.listdir(tmp_path / "in") == ["out"]


def test_member_over_its_own_symlink_replaces_the_link_only(tmp_path):
    path = archive(tmp_path / "a", member("f", data=b"keep"), member("l", tarfile.SYMTYPE, link="f"), member("l", data=b"new"))
    _artifact.unpack(path, str(tmp_path / "out"))
    assert (tmp_path / "out/f").read_bytes() == b"keep" and not (tmp_path / "out/l").is_symlink()


# --- unpacking what is damaged


@pytest.mark.claim("truncated-archive-refused")
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated_archives(tmp_path, mode, share):
    whole = archive(tmp_path / "a", *(member(f"f{number}", data=os.urandom(5000)) for number in range(20)), mode=mode)
    data = open(whole, "rb").read()
    if mode == "w":
        # Without compression the end is only zeros; cut before them.
        data = data.rstrip(b"\0")
    (tmp_path / "cut").write_bytes(data[:int(len(data) * share)])
    with pytest.raises(DowntimeError, match="^the archive is truncated"):
        _artifact.unpack(str(tmp_path / "cut"), str(tmp_path / "out"))


def test_tar_cut_between_two_members(tmp_path):
    whole = archive(tmp_path / "a", member("f", data=b"x" * 512), member("g", data=b"x" * 512), mode="w")
    (tmp_path / "cut").write_bytes(open(whole, "rb").read()[:1024])
    with pytest.raises(DowntimeError, match="no end mark"):
        _artifact.unpack(str(tmp_path / "cut"), str(tmp_path / "out"))


def test_flipped_byte_at_the_end(tmp_path):
    whole = archive(tmp_path / "a", member("f", data=b"x" * 512))
    data = bytearray(open(whole, "rb").read())
    data[-6] ^= 1
    (tmp_path / "bad").write_bytes(bytes(data))
    with pytest.raises(DowntimeError, match="damaged"):
        _artifact.unpack(str(tmp_path / "bad"), str(tmp_path / "out"))


def test_no_archive_at_all(tmp_path):
    (tmp_path / "bad").write_text("<html>not found</html>" * 100)
    with pytest.raises(DowntimeError, match="no tar archive"):
        _artifact.unpack(str(tmp_path / "bad"), str(tmp_path / "out"))


def test_full_disk_is_not_called_damage(tmp_path, monkeypatch):
    path = archive(tmp_path / "a", member("f", data=b"x"))

    def full(tar, info, target):
        raise OSError(errno.ENOSPC, "No space left on device", target)
    monkeypatch.setattr(_artifact, "_file", full)
    with pytest.raises(OSError) as caught:
        _artifact.unpack(path, str(tmp_path / "out"))
    assert caught.value.errno == errno.ENOSPC


def test_unpack_refuses_what_would_fill_the_disk(tmp_path):
    path = archive(tmp_path / "big.tar.gz", member("a", data=b"0" * (700 << 10)), member("b", data=b"0" * (700 << 10)))
    with pytest.raises(DowntimeError, match=r"unpacks to more than 1 MiB \(artifact.max_size\); b is the first file beyond that"):
        _artifact.unpack(path, str(tmp_path / "out"), most_mib=1)
    assert _artifact.unpack(path, str(tmp_path / "fits"), most_mib=2) == 2


@pytest.mark.claim("archive-bomb")
def test_unpack_refuses_a_sparse_file_that_is_larger_than_allowed(tmp_path):
    """A few hundred bytes that tar makes two gigabytes of."""
    with open(tmp_path / "hole", "wb") as hole:
        hole.truncate(2 << 30)
    subprocess.run(["tar", "--sparse", "-czf", str(tmp_path / "sparse.tar.gz"), "-C", str(tmp_path), "hole"], check=True)
    assert (tmp_path / "sparse.tar.gz").stat().st_size < 1000
    with pytest.raises(DowntimeError, match="unpacks to more than 1024 MiB"):
        _artifact.unpack(str(tmp_path / "sparse.tar.gz"), str(tmp_path / "out"), most_mib=1024)
    assert os.listdir(tmp_path / "out") == []
