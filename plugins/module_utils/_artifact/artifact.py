# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts: checksum files, fetching with a known digest, unpacking what may be hostile. Private to the collection.

Nothing here knows about roots, slots or services. The action plugin uses the same functions on the controller.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tarfile
import time
import typing as t
import urllib.parse
import zlib

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url

try:
    from lzma import LZMAError
except ImportError:  # Python can be built without it; tarfile then refuses such archives by itself.
    class LZMAError(Exception):  # type: ignore[no-redef]
        """Never raised here."""

DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})\Z")
# What an archive may come to, unless the user says otherwise; and how deep it may go: no tree that people made is deeper.
MOST_MIB = 4096
DEEPEST = 128
CHUNK = 1 << 20
# A part of an address that is shorter is a name, or a number, and no secret.
SECRET = 8
# Checksum files are small; whoever names an archive by mistake must not have it read into memory.
CHECKSUMS_LIMIT = 16 << 20
_GNU_LINE = re.compile(r"\\?([0-9a-fA-F]{64}) [ *](.+)\Z")
_BSD_LINE = re.compile(r"SHA256 \((.+)\) = ([0-9a-fA-F]{64})\Z")
_ENDINGS = (".tar.gz", ".tar.xz", ".tar.bz2", ".tgz", ".txz", ".tbz2", ".tbz", ".tar")

Opener = t.Callable[..., t.Any]


def as_digest(text: str | None) -> str | None:
    """The sha256 in lower case when C(text) is one (with or without C(sha256:)), else None."""
    match = DIGEST.match(text or "")
    return match.group(1).lower() if match else None


def is_url(place: str | None) -> bool:
    """Whether C(place) is meant as a URL rather than as a path."""
    return "://" in (place or "")


def shown(place: t.Any) -> t.Any:
    """An address as it may be shown (C(shown_url)); a path, or another option's value, as it is."""
    return shown_url(place) if isinstance(place, str) and is_url(place) else place


def secrets_in(place: str | None) -> set[str]:
    """What an address carries that is no part of C(shown): a query may be a signature. A few characters are none, and would be found everywhere."""
    found = re.match(r"\w+://(?:(?P<user>[^/?#]*)@)?[^?#]*(?:[?#](?P<query>.*))?", place or "", re.DOTALL)
    return {part for part in (found.groups() if found else ()) if part and len(part) >= SECRET}


class Unlisted(DowntimeError):
    """A checksum file without a line for a release."""

    details = {"unlisted": True}


class Differs(DowntimeError):
    """An artifact that is not what its checksum says."""

    details = {"differs": True}

    def __init__(self, what: str, found: str, expected: str, left_undone: str) -> None:
        super().__init__(f"{what} has the sha256 {found}, but {expected} is expected: it was not {left_undone}; either it was damaged or changed on its "
                         "way there, or the checksum is that of another build")


# --- checksum files -----------------------------------------------------------------------------------------------------


def parse_checksums(text: str, where: str) -> list[tuple[str, str]]:
    """C([(digest, file name)]) of a file as C(sha256sum) writes it (also with C(--tag)); other lines are passed over."""
    entries = []
    for line in text.splitlines():
        line = line.rstrip("\r")
        gnu, bsd = _GNU_LINE.match(line), _BSD_LINE.match(line)
        if gnu:
            entries.append((gnu.group(1).lower(), _plain(gnu.group(2))))
        elif bsd:
            entries.append((bsd.group(2).lower(), _plain(bsd.group(1))))
    if not entries:
        raise DowntimeError(f"artifact.checksums {shown(where)} has no line as sha256sum writes it (64 hexadecimal digits, two spaces, a file name)")
    return entries


def _plain(name: str) -> str:
    name = name.strip()
    while name.startswith("./"):
        name = name[2:]
    return name


def _path_of(place: str | None) -> str:
    """The path that names an artifact, of a URL or a file."""
    if not place:
        return ""
    return urllib.parse.unquote(urllib.parse.urlsplit(place).path) if is_url(place) else place


def _stem(name: str) -> str:
    base = name.rsplit("/", 1)[-1]
    for ending in _ENDINGS:
        if base.endswith(ending):
            return base[:-len(ending)]
    return base


def _names(entry: str, path: str) -> bool:
    return path == entry or path.endswith("/" + entry)


def digest_of_label(entries: t.Sequence[tuple[str, str]], label: str, place: str | None, where: str) -> str:
    """The digest that a checksum file gives for C(label).

    C(place) (the artifact's URL or path, which contains the label) says which line is meant. Without it the line is the one whose
    file is called after the label: C(2.0.0.tar.gz), C(shop-2.0.0.tar.gz).
    """
    path = _path_of(place)
    if path:
        found = [(digest, name) for digest, name in entries if _names(name, path)]
        longest = max((len(name) for digest, name in found), default=0)
        found = [(digest, name) for digest, name in found if len(name) == longest]
    else:
        found = [(digest, name) for digest, name in entries
                 if _stem(name) == label or any(_stem(name).endswith(mark + label) for mark in "-_@")]
    digests = sorted({digest for digest, name in found})
    if not digests:
        known = labels_in(entries, label, place)
        raise Unlisted(f"release {label} is unknown: artifact.checksums {shown(where)} has no line for {path.rsplit('/', 1)[-1] or label}; "
                       f"it knows {listed(known)}")
    if len(digests) > 1:
        raise DowntimeError(f"release {label} is ambiguous: artifact.checksums {shown(where)} gives {len(digests)} digests for it "
                            f"({', '.join(digest[:12] for digest in digests)})")
    return digests[0]


def labels_in(entries: t.Sequence[tuple[str, str]], label: str, place: str | None) -> list[str]:
    """The labels that a checksum file knows, judged by where C(label) stands in the artifact's path."""
    path = _path_of(place)
    labels = []
    for dummy, name in entries:
        template = "/".join(path.split("/")[-(name.count("/") + 1):])
        before, mark, after = template.rpartition(label) if label else ("", "", "")
        if mark and name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
            labels.append(name[len(before):len(name) - len(after)])
        else:
            labels.append(_stem(name))
    return sorted(set(labels))


def file_of_digest(entries: t.Sequence[tuple[str, str]], digest: str) -> str | None:
    """The name of the file that has C(digest), where a checksum file lists it."""
    return next((name for listed_digest, name in entries if listed_digest == digest), None)


def place_for_digest(entries: t.Sequence[tuple[str, str]], digest: str, given: str, place: str) -> tuple[str, str | None]:
    """Where the artifact of a digest lies, and its label, when C(place) was written with the release's name in it.

    Inventories say C(https://art.example/shop/{{ deploy_release }}.tar.gz). Called with a digest as the release that names no file; the
    checksum file knows what the file is called.
    """
    name = file_of_digest(entries, digest)
    if name is None or given not in place:
        return place, None
    path = _path_of(place)
    template = "/".join(path.split("/")[-(name.count("/") + 1):])
    before, mark, after = template.rpartition(given)
    if not mark or not (name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after)):
        return place, None
    label = name[len(before):len(name) - len(after)]
    # All occurrences: a label may name a directory as well as the file in it.
    return place.replace(given, urllib.parse.quote(label) if is_url(place) else label), label


def listed(names: t.Sequence[str], limit: int = 12) -> str:
    """Names for a sentence: the last ones when there are many, since they are the newest by name."""
    if not names:
        return "none"
    shown = list(names)[-limit:]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


# --- reading ------------------------------------------------------------------------------------------------------------


# Loading HTTP and TLS takes longer than most of what a member is asked to do, so it is done where something is fetched.

def default_opener(request: t.Any, timeout: float) -> t.Any:
    """Open a request with the system's certificates and proxies, as curl would."""
    import urllib.request  # pylint: disable=import-outside-toplevel

    class Redirects(urllib.request.HTTPRedirectHandler):
        """Follows redirects, but hands secrets to nobody else and never falls back to plain HTTP."""

        def redirect_request(self, req: t.Any, fp: t.Any, code: int, msg: str, headers: t.Any, newurl: str) -> t.Any:
            old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
            if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme != "https"):
                raise DowntimeError(f"artifact: {shown_url(req.full_url)} redirects to {shown_url(newurl)}, which is less safe than what was asked for")
            found = super().redirect_request(req, fp, code, msg, headers, newurl)
            if found is not None and (old.scheme, old.netloc) != (new.scheme, new.netloc):
                # Artifact stores redirect to object storage: our token is not meant for it, and some refuse a request that has one.
                found.headers = {"Accept-encoding": "identity", "User-agent": "zero.downtime"}
            return found

    return urllib.request.build_opener(Redirects).open(request, timeout=timeout)


def check_url(option: str, url: str) -> None:
    """Refuse URLs that this module cannot or should not fetch."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        # Its own words may have a part of a password in them.
        raise DowntimeError(f"{option} is no valid URL: its host or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not host or not port_ok:
        raise DowntimeError(f"{option} is {shown_url(url)}; an http or https URL with a host is accepted "
                            "(for a file on the host: artifact.src with artifact.remote_src)")
    if "@" in parts.netloc:
        raise DowntimeError(f"{option} carries credentials in the URL ({shown_url(url)}); put them into artifact.headers, which is never logged")


def open_url(option: str, url: str, headers: t.Mapping[str, str] | None, timeout: float, opener: Opener = default_opener) -> t.Any:
    """A response to read from; each way in which it fails is one sentence."""
    import urllib.request  # pylint: disable=import-outside-toplevel

    check_url(option, url)
    wanted = {"Accept-encoding": "identity", "User-agent": "zero.downtime"}
    wanted.update({str(name).capitalize(): str(value) for name, value in (headers or {}).items()})
    with _spoken(option, url, timeout):
        return opener(urllib.request.Request(url, headers=wanted), timeout=timeout)


class _spoken:
    """Turns what goes wrong while talking to a server into one sentence."""

    def __init__(self, option: str, url: str, timeout: float) -> None:
        self.option, self.url, self.timeout = option, shown_url(url), timeout

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: t.Any, error: t.Any, trace: t.Any) -> None:
        if error is None or isinstance(error, DowntimeError):
            return
        import http.client  # pylint: disable=import-outside-toplevel
        import urllib.error  # pylint: disable=import-outside-toplevel

        reason = error.reason if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError) else error
        if isinstance(reason, DowntimeError):
            raise reason
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            raise DowntimeError(f"{self.option}: {self.url} answers {error.code} {error.reason}") from error
        if isinstance(reason, TimeoutError) or "timed out" in str(reason):
            raise DowntimeError(f"{self.option}: {self.url} sent nothing for {self.timeout:g} s (artifact.timeout)") from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return
        if isinstance(error, (OSError, http.client.HTTPException, ValueError)):
            raise DowntimeError(f"{self.option}: {self.url} cannot be fetched: {reason or type(error).__name__}") from error


def read_text(option: str, place: str, headers: t.Mapping[str, str] | None = None, timeout: float = 30, opener: Opener = default_opener) -> str:
    """A small text file from a URL or a path."""
    if is_url(place):
        with _spoken(option, place, timeout):
            with open_url(option, place, headers, timeout, opener) as response:
                data = response.read(CHECKSUMS_LIMIT + 1)
                missing = _missing(response, len(data))
            if missing and len(data) <= CHECKSUMS_LIMIT:
                raise DowntimeError(f"{option}: {shown_url(place)} is truncated: {missing} bytes are missing")
    else:
        try:
            with open(place, "rb") as handle:
                data = handle.read(CHECKSUMS_LIMIT + 1)
        except OSError as error:
            raise DowntimeError(f"{option} {place} cannot be read: {error.strerror or error}") from error
    if len(data) > CHECKSUMS_LIMIT:
        raise DowntimeError(f"{option} {shown(place)} is larger than {CHECKSUMS_LIMIT >> 20} MiB and so no checksum file")
    return data.decode("utf-8", "replace")


def _missing(response: t.Any, received: int) -> int:
    """Bytes that were announced and did not come: http.client ends such a body without an error."""
    length = response.headers.get("Content-Length") if getattr(response, "headers", None) is not None else None
    return max(0, int(length) - received) if length and length.isdigit() else 0


def sha256_of(path: str, option: str = "artifact.src") -> str:
    """The digest of a file."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            for block in iter(lambda: handle.read(CHUNK), b""):
                digest.update(block)
    except OSError as error:
        raise DowntimeError(f"{option} {path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def probe(place: str, headers: t.Mapping[str, str] | None, timeout: float, opener: Opener = default_opener) -> None:
    """Make sure that an artifact can be had, without fetching it."""
    if is_url(place):
        with _spoken("artifact.url", place, timeout):
            open_url("artifact.url", place, headers, timeout, opener).close()
    else:
        try:
            with open(place, "rb") as handle:
                handle.read(1)
        except OSError as error:
            raise DowntimeError(f"artifact.src {place} cannot be read: {error.strerror or error}") from error


def fetch(place: str, target: str, digest: str, headers: t.Mapping[str, str] | None = None, timeout: float = 30, deadline: float = 900,
          opener: Opener = default_opener, clock: t.Callable[[], float] = time.monotonic) -> int:
    """Copy an artifact from a URL or path of this host to the new file C(target), hashing on the way; returns its size.

    Files of the host are copied too: what is unpacked later is then what was verified, whoever rewrites the original meanwhile.
    When it fails, C(target) does not exist.
    """
    try:
        if is_url(place):
            option, shown = "artifact.url", shown_url(place)
            with _spoken(option, place, timeout):
                with open_url(option, place, headers, timeout, opener) as response:
                    found, size = _copy(response, target, clock, deadline, f"{option}: {shown}")
                    missing = _missing(response, size)
            if missing:
                raise DowntimeError(f"{option}: {shown} is truncated: {size} bytes came, {missing} are missing")
        else:
            option, shown = "artifact.src", place
            try:
                source = open(place, "rb")
            except OSError as error:
                raise DowntimeError(f"{option} {place} cannot be read: {error.strerror or error}") from error
            with source:
                found, size = _copy(source, target, clock, deadline, f"{option} {shown}")
        if found != digest:
            raise Differs(f"{option} {shown}", f"{found} ({size} bytes)", digest, "unpacked")
        return size
    except BaseException:
        _forget(target)
        raise


def _copy(source: t.Any, target: str, clock: t.Callable[[], float], deadline: float, what: str) -> tuple[str, int]:
    end = clock() + deadline
    digest, size = hashlib.sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as copy:
        while True:
            # read1 hands over what has come, so that the deadline is looked at even while a server drips.
            block = source.read1(CHUNK) if hasattr(source, "read1") else source.read(CHUNK)
            if not block:
                break
            digest.update(block)
            copy.write(block)
            size += len(block)
            if clock() > end:
                raise DowntimeError(f"{what} took longer than {deadline:g} s (artifact.deadline); {size} bytes had come")
    return digest.hexdigest(), size


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


# --- unpacking ----------------------------------------------------------------------------------------------------------


def unpack(archive: str, target: str, strip: int = 0, reserved: t.Collection[str] = (), most_mib: int = MOST_MIB) -> int:
    """Unpack a tar archive into the new directory C(target); returns the number of files.

    :param most_mib: the size of all files together beyond which it is refused, whatever the archive's own size: a few bytes may stand for a full disk.

    Every member is looked at before it is written, and written by this function: tarfile's own extraction differs between Python versions in
    what it lets pass. Refused are absolute names, C(..), anything beneath or onto a symbolic link, links that lead out, devices, FIFOs.
    Owners of the archive are not taken over (files belong to who unpacks), nor set-id bits, nor write permission for group and others.
    The caller removes C(target) when this fails.
    """
    os.mkdir(target, 0o700)
    # Not its real path: that would lead by names again where the caller works by a directory's descriptor.
    root, real = target, os.path.realpath(target)
    directories: list[tuple[str, int]] = []
    links: list[tuple[str, str]] = []
    files = size = 0
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                name = _inside(member.name, strip)
                if name is None:
                    continue
                depth = name.count("/") + 1
                if depth > DEEPEST:
                    raise DowntimeError(f"the archive holds a path of {depth} levels ({member.name[:60]}…); at most {DEEPEST} are accepted")
                size += member.size if member.isreg() else 0
                if size > most_mib << 20:
                    raise DowntimeError(f"the archive unpacks to more than {most_mib} MiB (artifact.max_size); {member.name} is the first file beyond that")
                if name.split("/", maxsplit=1)[0] in reserved:
                    raise DowntimeError(f"the archive holds {member.name}, a name that the collection keeps for itself")
                path = os.path.join(root, name)
                if name:
                    _parents(root, name, member.name)
                if member.isdir():
                    if name:
                        _directory(path, member.name)
                        directories.append((path, (member.mode & 0o755) | 0o700))
                    continue
                if not name:
                    raise DowntimeError(f"the archive holds {member.name!r}, which names no file")
                _make_room(path, member.name)
                if member.isreg():
                    _file(tar, member, path)
                    files += 1
                elif member.issym():
                    _symlink(member, name, path, strip)
                    links.append((path, member.name))
                    files += 1
                elif member.islnk():
                    _hardlink(member, root, path, strip)
                    files += 1
                else:
                    raise DowntimeError(f"the archive holds {member.name}, which is neither file, directory nor link (a device or FIFO)")
            _whole(tar)
    except (EOFError, zlib.error, LZMAError, tarfile.TarError) as error:
        raise DowntimeError(f"the archive is truncated, damaged or no tar archive: {error}") from error
    except OSError as error:
        # gzip and bz2 report damage as OSError without an errno.
        if error.errno is None:
            raise DowntimeError(f"the archive is truncated, damaged or no tar archive: {error}") from error
        raise
    for path, name in links:
        # A link may lead through other links; only the finished tree tells where it ends.
        end = os.path.realpath(path)
        if end != real and not end.startswith(real + os.sep):
            raise DowntimeError(f"the archive holds the symbolic link {name}, which leads out of the release")
    for path, mode in reversed(directories):
        # A later member may have replaced nothing but a directory by itself, so the path is still one.
        os.chmod(path, mode)
    # The archive's own "./" is often 0700 (made by mktemp); the service's user must get in.
    os.chmod(root, 0o755)
    if not files:
        raise DowntimeError("the archive holds no file" + (f" below {strip} leading directories (artifact.strip_components)" if strip else ""))
    return files


def _inside(name: str, strip: int) -> str | None:
    """The member's path below the release; None when C(strip) leaves nothing of it."""
    if name.startswith("/") or "\0" in name:
        raise DowntimeError(f"the archive holds {name!r}, an absolute or invalid path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DowntimeError(f"the archive holds {name}, a path with '..'")
    if strip and len(parts) <= strip:
        return None
    return "/".join(parts[strip:])


def _parents(root: str, name: str, shown: str) -> None:
    """Make the directories above C(name); none of them may be a link."""
    path = root
    for part in name.split("/")[:-1]:
        path = os.path.join(path, part)
        _directory(path, shown)


def _directory(path: str, shown: str) -> None:
    try:
        os.mkdir(path, 0o755)
        # mkdir obeys the umask, a release must not depend on it.
        os.chmod(path, 0o755)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise DowntimeError(f"the archive holds {shown}, a path that runs over a file or symbolic link of the same archive") from None


def _make_room(path: str, shown: str) -> None:
    """A member named twice replaces the first one, as tar does it; never through a link."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            raise DowntimeError(f"the archive holds {shown} both as a directory and as a file")
        os.unlink(path)
    except FileNotFoundError:
        pass


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    source = tar.extractfile(member)
    if source is None:
        raise DowntimeError(f"the archive holds {member.name}, which cannot be read")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with source, os.fdopen(handle, "wb") as copy:
        left = member.size
        while left:
            block = source.read(min(CHUNK, left))
            if not block:
                raise DowntimeError(f"the archive is truncated: it ends within {member.name}")
            copy.write(block)
            left -= len(block)
        copy.flush()
        os.fchmod(copy.fileno(), (member.mode & 0o755) | 0o600)


def _symlink(member: tarfile.TarInfo, name: str, path: str, strip: int) -> None:
    aim = member.linkname
    if aim.startswith("/"):
        raise DowntimeError(f"the archive holds the symbolic link {member.name}, which leads out of the release (to {aim})")
    lexical = os.path.normpath(os.path.join(os.path.dirname(name), aim))
    if lexical == ".." or lexical.startswith("../"):
        raise DowntimeError(f"the archive holds the symbolic link {member.name}, which leads out of the release (to {aim})")
    os.symlink(aim, path)


def _hardlink(member: tarfile.TarInfo, root: str, path: str, strip: int) -> None:
    aim = _inside(member.linkname, strip)
    source = os.path.join(root, aim or "")
    if aim:
        above = root
        for part in aim.split("/")[:-1]:
            above = os.path.join(above, part)
            if not os.path.lexists(above) or not stat.S_ISDIR(os.lstat(above).st_mode):
                aim = None
                break
    if not aim or not os.path.lexists(source) or not stat.S_ISREG(os.lstat(source).st_mode):
        raise DowntimeError(f"the archive holds the hard link {member.name}, whose aim {member.linkname} is no file unpacked before it")
    os.link(source, path)


def _whole(tar: tarfile.TarFile) -> None:
    """tarfile takes an archive that just stops for one that is complete; every writer ends with a block of zeros."""
    stream = t.cast(t.Any, tar.fileobj)
    if stream.tell() - tar.offset < tarfile.BLOCKSIZE:
        raise DowntimeError("the archive is truncated: it has no end mark")
    while stream.read(CHUNK):
        # To the end of the compressed stream, where its own checksum stands.
        pass
