# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Questions to name servers, and updates of a zone (RFC 2136) signed with a key (RFC 8945). Private to the collection.

dnspython does the protocol. It is imported where it is needed first, so that one clear sentence can tell that it is not
installed.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import socket
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer

ALGORITHMS = ("hmac-sha256", "hmac-sha224", "hmac-sha384", "hmac-sha512", "hmac-sha1")
PORT = 53
# What a zone that is no zone answers with, and what a server says that may not tell or do something.
NOT_SERVED = ("NOTAUTH", "REFUSED", "SERVFAIL", "NXDOMAIN", "NOTZONE")


class Refused(DowntimeError):
    """The server refused an update because a prerequisite did not hold: what the zone has is not what the update was
    made for."""


class Unknown(NoAnswer):
    """An update was sent, and no answer came: nobody knows whether it was made."""


def library() -> t.Any:
    """dnspython. Raises DowntimeError where it is not installed for the Python that this runs with."""
    try:
        # pylint: disable=import-outside-toplevel
        import dns.flags
        import dns.message
        import dns.name
        import dns.query
        import dns.rcode
        import dns.rdata
        import dns.rdatatype
        import dns.rdtypes.ANY.TXT
        import dns.rrset
        import dns.tsig
        import dns.tsigkeyring
        import dns.update
    except ImportError as error:
        import sys  # pylint: disable=import-outside-toplevel

        raise DowntimeError(
            f"the driver rfc2136 needs dnspython, which {sys.executable} does not have; "
            "pip install dnspython, for the Python that runs ansible-playbook, installs it"
        ) from error
    return dns


class Server(t.NamedTuple):
    """A name server: C(host) is an address or a name, C(label) what people know it by."""

    host: str
    port: int
    label: str


def parse_server(text: str, option: str) -> Server:
    """A server from C(ADDRESS), C(ADDRESS:PORT) or C([ADDRESS]:PORT). Raises DowntimeError for anything else."""
    host, port = text.strip(), str(PORT)
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        port = rest[1:] if bracket and rest.startswith(":") else port if bracket and not rest else ""
    elif host.count(":") == 1:
        host, _colon, port = host.partition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or " " in host:
        raise DowntimeError(
            f"{option} is '{text}'; a name or an address, with a port behind a colon if need be, is accepted, such as "
            "192.0.2.53 or [2001:db8::53]:5353"
        )
    return Server(host, int(port), text.strip())


@dataclasses.dataclass(frozen=True)
class Records:
    """What one server has under a name: each type with its values, in one order, and the time to live.

    :param values: by type, such as C({"A": ("192.0.2.1",)}); empty where the name has nothing.
    :param ttl: the longest one, in seconds; None without values.
    """

    values: dict[str, tuple[str, ...]]
    ttl: int | None = None


class Client:
    """Speaks for one zone, with one key.

    :param zone: the zone's name.
    :param server: where updates go: the primary server.
    :param key: name, secret (base64) and algorithm.
    :param timeout: seconds that one question may take.
    :param query: of dnspython, C(dns.query); tests pass another one.
    """

    def __init__(
        self, zone: str, server: Server, key: tuple[str, str, str], timeout: float = 3.0, query: t.Any = None
    ) -> None:
        self.dns = library()
        self.zone, self.server, self.timeout = self.absolute(zone, "zone"), server, timeout
        self.key_name, secret, self.algorithm = key
        try:
            base64.b64decode(secret, validate=True)
            self._key = self.dns.tsig.Key(self.key_name, secret, self.algorithm)
        except (binascii.Error, ValueError, self.dns.exception.DNSException) as error:
            # The secret itself is in none of these words.
            raise DowntimeError(
                f"key_secret of key {self.key_name} is not shown, since it is secret; base64, as tsig-keygen prints "
                "it, is accepted"
            ) from error
        self._query = query or self.dns.query

    # -- names ---------------------------------------------------------------------------------------------------------
    def absolute(self, text: str, option: str) -> t.Any:
        """A whole name. Raises DowntimeError for what is none."""
        try:
            return self.dns.name.from_text(text)
        except self.dns.exception.DNSException as error:
            raise DowntimeError(f"{option} is '{text}', which is no name in DNS: {error}") from error

    def below(self, text: str, option: str = "name") -> t.Any:
        """A name of the zone: whole where it ends as the zone does, and else relative to it; C(@) is the zone
        itself."""
        if text == "@":
            return self.zone
        name = self.absolute(text, option)
        if name.is_subdomain(self.zone):
            return name
        if text.endswith("."):
            raise DowntimeError(f"{option} is '{text}', which is no name of zone {self.shown(self.zone)}")
        return self.dns.name.from_text(text, self.zone)

    @staticmethod
    def shown(name: t.Any) -> str:
        """A name for a sentence."""
        return str(name.to_text(omit_final_dot=True))

    # -- questions -----------------------------------------------------------------------------------------------------
    def ask(
        self,
        name: t.Any,
        kind: str,
        server: Server | None = None,
        signed: bool = True,
        recurse: bool = False,
        stream: bool = False,
    ) -> t.Any:
        """One question; the answer, whatever it says. Raises NoAnswer where none comes, and DowntimeError where the key
        is refused.

        :param server: the primary, where nobody is named.
        :param signed: with the key. Only the primary has to know it.
        :param recurse: whether the server is to ask others, as a resolver does.
        :param stream: by TCP from the start, for large answers.
        """
        message = self.dns.message.make_query(name, kind)
        if not recurse:
            message.flags &= ~self.dns.flags.RD
        if signed:
            message.use_tsig(self._key)
        return self._exchange(message, server or self.server, stream)

    def answered(self, name: t.Any, kind: str, server: Server | None = None, **options: t.Any) -> t.Any:
        """The set of records that answers a question, or None where there is none. Raises DowntimeError where the
        server does not serve the zone."""
        answer = self.ask(name, kind, server, **options)
        self._served(answer, name, server or self.server, options.get("recurse", False))
        return answer.get_rrset(answer.answer, name, self.dns.rdataclass.IN, self.dns.rdatatype.from_text(kind))

    def _served(self, answer: t.Any, name: t.Any, server: Server, recurse: bool) -> None:
        """Refuse an answer of somebody who has nothing to say of the zone."""
        code = answer.rcode()
        if code == self.dns.rcode.NXDOMAIN or (
            code == self.dns.rcode.NOERROR and (recurse or answer.flags & self.dns.flags.AA)
        ):
            return
        word = self.dns.rcode.to_text(code) if code else "an answer that is not its own"
        raise DowntimeError(
            f"name server {server.label} does not serve zone {self.shown(self.zone)}: asked for {self.shown(name)} it "
            f"answered {word}"
        )

    def records(self, name: t.Any, kinds: t.Sequence[str], server: Server | None = None, **options: t.Any) -> Records:
        """What a server has under a name, of these types."""
        values, ttls = {}, []
        for kind in kinds:
            found = self.answered(name, kind, server, **options)
            if found:
                values[kind] = tuple(sorted(record.to_text() for record in found))
                ttls.append(found.ttl)
        return Records(values, max(ttls, default=None))

    def texts(self, name: t.Any) -> list[bytes]:
        """The values of the TXT records under a name, on the primary; each with its strings joined."""
        found = self.answered(name, "TXT", stream=True)
        return [b"".join(record.strings) for record in found or ()]

    def check_zone(self) -> None:
        """Raises DowntimeError unless the primary serves this very zone, and accepts the key."""
        found = self.answered(self.zone, "SOA")
        if not found:
            raise DowntimeError(
                f"zone is '{self.shown(self.zone)}', which is no zone on name server {self.server.label}; the name of "
                "one that it serves is needed"
            )

    def name_servers(self) -> list[Server]:
        """Those that the zone names, each by its first address."""
        found = []
        for record in self.answered(self.zone, "NS") or ():
            name = self.shown(record.target)
            found.append(Server(self._address_of(record.target) or name, PORT, name))
        if not found:
            raise DowntimeError(
                f"zone {self.shown(self.zone)} on {self.server.label} has no NS records; deploy_traffic.servers names "
                "its servers"
            )
        return sorted(found)

    def _address_of(self, name: t.Any) -> str | None:
        """What the zone itself says of its server, if it does: nobody else has to know it then."""
        if not name.is_subdomain(self.zone):
            return None
        values = self.records(name, ("A", "AAAA")).values
        return next((value for kind in ("A", "AAAA") for value in values.get(kind, ())), None)

    # -- updates -------------------------------------------------------------------------------------------------------
    def update(self) -> t.Any:
        """An update of the zone, empty yet; C(send) signs and sends it."""
        found = self.dns.update.UpdateMessage(self.zone)
        found.use_tsig(self._key)
        return found

    def text_record(self, value: bytes) -> t.Any:
        """A TXT record of any length: its strings have 255 bytes at most."""
        parts = [value[at : at + 255] for at in range(0, len(value), 255)] or [b""]
        return self.dns.rdtypes.ANY.TXT.TXT(self.dns.rdataclass.IN, self.dns.rdatatype.TXT, parts)

    def send(self, update: t.Any) -> None:
        """Send an update. Raises Refused where a prerequisite does not hold, Unknown where no answer comes, and
        DowntimeError where it is refused."""
        try:
            answer = self._exchange(update, self.server, stream=True)
        except NoAnswer as error:
            raise Unknown(f"{error}, so nobody knows whether the update was made") from error
        code = answer.rcode()
        if code == self.dns.rcode.NOERROR:
            return
        word = self.dns.rcode.to_text(code)
        if word in ("NXRRSET", "YXRRSET", "NXDOMAIN", "YXDOMAIN"):
            raise Refused(
                f"name server {self.server.label} refused the update ({word}): zone {self.shown(self.zone)} is not as "
                "it was read"
            )
        if word == "REFUSED":
            raise DowntimeError(
                f"name server {self.server.label} refused the update of zone {self.shown(self.zone)} (REFUSED): "
                f"key {self.key_name} ({self.algorithm}) may not change it; allow-update, or update-policy, of the "
                "zone has to let it"
            )
        raise DowntimeError(
            f"name server {self.server.label} refused the update of zone {self.shown(self.zone)} ({word})"
        )

    # -- the wire ------------------------------------------------------------------------------------------------------
    def _exchange(self, message: t.Any, server: Server, stream: bool) -> t.Any:
        exceptions = self.dns.exception
        try:
            where = _address(server)
            if stream:
                return self._query.tcp(message, where, self.timeout, port=server.port)
            return self._query.udp_with_fallback(message, where, self.timeout, port=server.port)[0]
        except (
            self.dns.tsig.PeerError,
            self.dns.tsig.BadKey,
            self.dns.tsig.BadSignature,
            self.dns.tsig.BadTime,
        ) as error:
            raise DowntimeError(
                f"name server {server.label} does not accept key {self.key_name} ({self.algorithm}): {_why(error)}"
            ) from error
        except self.dns.message.UnknownTSIGKey as error:
            raise DowntimeError(
                f"name server {server.label} does not accept key {self.key_name} ({self.algorithm}): it signed with "
                "another one"
            ) from error
        except exceptions.Timeout as error:
            raise NoAnswer(f"name server {server.label} gave no answer within {self.timeout:g} s") from error
        except (OSError, EOFError) as error:
            raise NoAnswer(
                f"name server {server.label} cannot be asked: "
                f"{_lower(getattr(error, 'strerror', None) or str(error) or 'it hung up')}"
            ) from error
        except exceptions.DNSException as error:
            raise DowntimeError(
                f"name server {server.label} gave an answer that cannot be read: {type(error).__name__}: {error}"
            ) from error


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _address(server: Server) -> str:
    """Where to ask: questions go to addresses."""
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise NoAnswer(f"name server {server.label} has no address: {_lower(error.strerror or 'unknown')}") from error
    return str(found[0][4][0])


def _why(error: Exception) -> str:
    """What a server has against a key, in words."""
    words = {
        "PeerBadKey": "it has no such key (BADKEY)",
        "PeerBadSignature": "the secret is another one there (BADSIG)",
        "PeerBadTime": "its clock and this machine's are too far apart (BADTIME)",
        "PeerBadTruncation": "its signature is cut short (BADTRUNC)",
        "BadSignature": "its answer is signed with another secret",
        "BadKey": "its answer is signed with another key",
        "BadTime": "its answer is of another time",
    }
    return words.get(type(error).__name__, type(error).__name__)
