"""The address book: where members may be found, in a text file that people may edit.

What lives here: what an address is and how a person writes one; the file, line by line;
and what is known of each address (who told us, which member answered, when last tried and
last answered). A line that a person wrote belongs to the person: what is not understood is
complained about once and kept to the byte, what is unchanged is never rewritten, and an
edit made while selchat runs is merged with what selchat learned in the meantime.

What must never be here: sockets, dialing, the choice of whom to dial, clocks (times come
in as text, "2026-11-22T08:43:00Z", and are compared as text).
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import NamedTuple

from records import Record

# The design asks for 128 remembered addresses or more; eight times that still reads in
# about 20 ms, and lets a room of thousands be found again after most of it has moved.
MAX_ADDRESSES = 1024
# 1024 lines with everything known take about 165 bytes each (IPv4) or 190 (IPv6): this is
# room for them and for a person's remarks, and bounds what a start has to read.
MAX_FILE_BYTES = 256 * 1024
MAX_HOST_CHARACTERS = 253  # RFC 1035 (255 bytes on the wire, two of them not letters)
MAX_QUOTED_CHARACTERS = 60  # what is wrong with it stays on one 80-column line, nearly
MAX_PORT = 65535  # TCP: 16 bits

# Who told us, from the least trusted to the most.
SOURCES = ("hearsay", "link", "you")

# RFC 1123 labels. An empty or longer one makes the system's resolver raise odd errors.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
# Resolvers read such a name as a number ("127.1", "0x7f.1"): it is IPv4 or nothing.
_NUMBER_AT_END = r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)"
_SCOPE = r"[A-Za-z0-9._-]{1,15}"  # an interface's name; Linux: 15 characters

# The keys of a line that are ours: what a value looks like, and how to say so.
_FIELDS = {
    "from": ("|".join(SOURCES), "you, link or hearsay"),
    "member": (r"[0-9a-f]{64}", "64 hexadecimal digits, in lower case"),
    "tried": (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z",
        "a time such as 2026-11-22T08:43:00Z",
    ),
}
_FIELDS["answered"] = _FIELDS["tried"]

HEADER = """\
# The address book of selchat: one address a line. Edit it as you like, any time.
#   PORT (on this machine), HOST:PORT or [IPv6]:PORT, and after it, all optional:
#   from=you         who told: you (never forgotten), link (the member itself, while
#                    linked to us) or hearsay (another member). Without it: you
#   member=ID        the member that lives there
#   tried=TIME       when it was last dialed
#   answered=TIME    when it last answered
# Anything after a # is a remark. A line that you delete is forgotten.
"""


class BadAddress(ValueError):
    """Not an address; the text is the sentence that a person reads."""


class Address(NamedTuple):
    """Where a node listens. Make it with parse_address, which knows one spelling of each."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Known(Record):
    """What is known of one address."""

    address: Address
    source: str  # one of SOURCES
    member: str | None = None  # a claim until `answered` is set, proven from then on
    tried: str | None = None
    answered: str | None = None


class _Line(Record):
    raw: str  # without its line feed; bytes that are no UTF-8 are in it as surrogates
    address: Address | None  # None: a remark, a blank line, or one that we can't use


# When the file was last changed, how large it is, and which file it is.
_Stamp = tuple[int, int, int]


def _quoted(text: str) -> str:
    """Text from anywhere, safe to show: one line, plain ASCII, short."""
    shown = ascii(text[:MAX_QUOTED_CHARACTERS])
    if len(shown) <= MAX_QUOTED_CHARACTERS:
        return shown
    return shown[: MAX_QUOTED_CHARACTERS - 3] + "..."


def parse_address(text: str) -> Address:
    """Read PORT, HOST:PORT or [IPv6]:PORT; raises BadAddress, and nothing else."""
    trimmed = text.strip(" \t")
    if trimmed.isascii() and trimmed.isdecimal():
        return Address("127.0.0.1", _port(trimmed, text))
    host, colon, port = trimmed.rpartition(":")
    if not colon or port.endswith("]"):
        raise BadAddress(
            f"{_quoted(text)} has no port: write PORT, HOST:PORT or [IPv6]:PORT,"
            " such as 127.0.0.1:5000"
        )
    if host.startswith("[") and host.endswith("]"):
        return Address(_ipv6(host[1:-1], text), _port(port, text))
    if ":" in host:
        raise BadAddress(
            f"{_quoted(text)} has too many colons: write an IPv6 address in brackets,"
            " such as [::1]:5000"
        )
    return Address(_host(host, text), _port(port, text))


def _port(digits: str, text: str) -> int:
    # Five digits at most before int(): it refuses very long numbers with an error of its own.
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= 5
    if is_number and 1 <= int(digits) <= MAX_PORT:
        return int(digits)
    raise BadAddress(f"{_quoted(text)} has no valid port: write a number from 1 to {MAX_PORT}")


def _host(host: str, text: str) -> str:
    # ASCII first: lower() turns some other letters (the Kelvin sign) into ASCII ones.
    name = host.lower() if host.isascii() else ""
    numbers = _ipv4(name)  # what nearly all are, before any pattern has to be compiled for it
    if numbers:
        return numbers
    if len(name) > MAX_HOST_CHARACTERS or not re.fullmatch(_HOST_NAME, name):
        raise BadAddress(
            f"{_quoted(text)} has no valid host: write letters, digits, dots and hyphens,"
            f" {MAX_HOST_CHARACTERS} characters at most, such as 127.0.0.1:5000"
        )
    if name == "localhost":
        return "127.0.0.1"
    if re.fullmatch(_NUMBER_AT_END, name):
        raise BadAddress(
            f"{_quoted(text)} has no valid IPv4 address: write four numbers from 0 to 255,"
            " such as 127.0.0.1:5000"
        )
    return name


def _ipv4(host: str) -> str | None:
    import ipaddress  # here and below: a start that needs no address shall not pay for it

    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        return None


def _ipv6(host: str, text: str) -> str:
    import ipaddress

    _, percent, scope = host.partition("%")
    try:
        parsed = ipaddress.IPv6Address(host)
    except ValueError:
        parsed = None
    if parsed is None or (percent and not re.fullmatch(_SCOPE, scope)):
        raise BadAddress(
            f"{_quoted(text)} has no valid IPv6 address in its brackets: write one such as"
            " [::1]:5000"
        )
    # IPv4 in disguise, as a listener for both reports it: one address, one spelling.
    return str(parsed.ipv4_mapped or parsed)


# How far an address reaches, from nowhere beyond this machine to everywhere.
THIS_MACHINE, THIS_LINK, PRIVATE, EVERYWHERE = range(4)


def scope_of(address: Address) -> int | None:
    """How far an address reaches. None for a host name, for no single machine's address, and for
    what is no address in its one spelling."""
    return _scope_of(address.host)


@lru_cache(maxsize=1024)  # asked for all links, about a hundred, whenever one comes: 6 us each
def _scope_of(name: str) -> int | None:
    import ipaddress

    try:
        host = ipaddress.ip_address(name)
    except ValueError:
        return None
    if str(host) != name or host.is_multicast or host.is_unspecified:
        return None
    _, percent, scope = name.partition("%")
    if percent and not (host.is_link_local and re.fullmatch(_SCOPE, scope)):
        return None  # no other needs to say on which wire; and Python takes anything for one
    if host.version == 4 and int(host) >> 24 in (0, 255):
        return None  # "this network", and everybody on it
    if host.is_loopback:
        return THIS_MACHINE
    if host.is_link_local:
        return THIS_LINK
    if host.is_global:
        return EVERYWHERE
    return None if host.is_reserved else PRIVATE


@lru_cache(maxsize=1024)  # asked for all links at once, of which there are about a hundred
def site_of(host: str) -> str:
    """What stands for all addresses that one subscriber may have: the address itself, of IPv6 its
    first 48 bits (RFC 6177)."""
    if ":" not in host:
        return host
    import ipaddress

    return ipaddress.IPv6Address(host).packed[:6].hex()


def is_loopback(address: Address) -> bool:
    """Whether the address can't leave this machine. A host name could: it doesn't count."""
    return address.host == "localhost" or scope_of(_plain(address)) == THIS_MACHINE


def _plain(address: Address) -> Address:
    """In its one spelling, if it has one."""
    try:
        return parse_address(str(address))
    except BadAddress:
        return address


def is_name(address: tuple[str, int]) -> bool:
    """Whether its host is a name that has to be looked up."""
    host = address[0]
    return ":" not in host and not re.fullmatch(_NUMBER_AT_END, host)


def _words(raw: str) -> tuple[list[str], str]:
    """Split a line into its words and its remark. (Some editors begin a file with a BOM.)"""
    text = raw.removeprefix("\ufeff").rstrip("\r")
    remark = re.search(r"(?:^|(?<=[ \t]))#", text)
    end = remark.start() if remark else len(text)
    return re.findall(r"[^ \t]+", text[:end]), text[end:]


def _read_line(raw: str) -> Known | None:
    """What a line says, None if nothing. The ValueError's text goes on after "line 3 "."""
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8 text") from None
    words, _ = _words(raw)
    if not words:
        return None
    try:
        address = parse_address(words[0])
    except BadAddress as error:
        raise ValueError(f"is not an address: {error}") from None
    fields: dict[str, str] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"has {_quoted(word)} after the address: put a # before a remark")
        if key in fields:
            raise ValueError(f"says {key}= twice: keep one of them")
        if key in _FIELDS:  # other keys are a later version's: kept, and not looked into
            fields[key] = _checked(key, value)
    # Without from= a person wrote it: we never leave it out.
    source = fields.get("from", "you")
    return Known(address, source, *(fields.get(key) for key in ("member", "tried", "answered")))


def _checked(key: str, value: str) -> str:
    shape, said = _FIELDS[key]
    if not re.fullmatch(shape, value):
        raise ValueError(f"has {_quoted(f'{key}={value}')}: {key}= takes {said}")
    return value


def _rewritten(raw: str, known: Known) -> str:
    """The line with what is known now; the address as it was spelled, and the rest, stay."""
    words, remark = _words(raw)
    fields = {"from": known.source, "member": known.member}
    fields |= {"tried": known.tried, "answered": known.answered}
    ours = [f"{key}={value}" for key, value in fields.items() if value]
    others = [word for word in words[1:] if word.partition("=")[0] not in _FIELDS]
    line = "  ".join([words[0], *ours, *others, remark]).rstrip(" ")
    return line + "\r" if raw.endswith("\r") else line


def _merged(base: Known | None, ours: Known, theirs: Known) -> Known:
    """Ours where we changed it since the file said `base`, else what the file says now."""
    base = base or Known(ours.address, ours.source)
    return Known(
        ours.address,
        theirs.source if ours.source == base.source else ours.source,
        theirs.member if ours.member == base.member else ours.member,
        theirs.tried if ours.tried == base.tried else _later(ours.tried, theirs.tried),
        theirs.answered
        if ours.answered == base.answered
        else _later(ours.answered, theirs.answered),
    )


def _later(one: str | None, other: str | None) -> str | None:
    return max(one or "", other or "") or None


def _size(line: _Line) -> int:
    return len(line.raw.encode("utf-8", "surrogateescape")) + 1


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


class AddressBook:
    """The addresses of one profile. Only load() and save() touch the disk."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._known: dict[Address, Known] = {}  # what we know, in the order of the file
        # The file as we last read or wrote it: its lines, what they say, and its stamp.
        self._lines: list[_Line] = []
        self._filed: dict[Address, Known] = {}
        self._stamp: _Stamp | None = None
        self._too_large = False
        self._anew: set[Address] = set()  # learned since: wins over a deletion in the file
        self._broken: list[str] = []  # complaints about the file as it is
        self._said: set[str] = set()  # complaints that the caller has had

    @property
    def changed(self) -> bool:
        """Whether save() has anything of ours to write."""
        return self._known != self._filed

    def entries(self) -> list[Known]:
        return list(self._known.values())

    def learn(self, address: Address, source: str, member: str | None = None) -> bool:
        """Take an address in. False: the book is full of the person's own addresses.

        Raises BadAddress for an address that couldn't be read back from the file.
        """
        address = self._canonical(address)
        rank = SOURCES.index(_checked("from", source))
        if member is not None:
            member = _checked("member", member)
        known = self._known.get(address)
        # Gossip about an address that we have is no news, else no deletion would last.
        if known is None or source == "you":
            self._anew.add(address)
        if known is None:
            if not self._make_room():
                return False
            self._known[address] = Known(address, source, member)
            return True
        known_rank = SOURCES.index(known.source)
        # A mere claim never replaces a member that answered, nor a better source's claim.
        if member and (known.member is None or (known.answered is None and rank >= known_rank)):
            known = known.but(member=member)
        self._known[address] = known.but(source=SOURCES[max(rank, known_rank)])
        return True

    def note_tried(self, address: Address, when: str) -> None:
        """Only learn() takes an address in: one that the book lacks was deleted, and stays so."""
        address = self._canonical(address)
        when = _checked("tried", when)
        if address in self._known:
            self._known[address] = self._known[address].but(tried=when)

    def note_answered(self, address: Address, member: str, when: str) -> None:
        """A member proved that it lives there. As for note_tried, the book must have it."""
        address = self._canonical(address)
        member, when = _checked("member", member), _checked("answered", when)
        if address in self._known:
            known = self._known[address]
            self._known[address] = known.but(member=member, answered=when)

    def forget(self, address: Address) -> None:
        self._known.pop(self._canonical(address), None)

    def load(self) -> list[str]:
        """Read the file, in place of all that is known; returns one complaint a broken line."""
        self._known, self._lines, self._filed = {}, [], {}
        self._anew.clear()
        self._read()
        self._said = set(self._broken)
        return list(self._broken)

    def save(self) -> list[str]:
        """Merge with the person's edits and write, both only if needed; new complaints."""
        if self._stamp_on_disk() != self._stamp:
            self._merge()
        complaints = list(self._broken)
        if self.changed and not self._too_large:
            lines = self._fitting()
            if lines is None:
                complaints.append(
                    f"{self._name} has no room for what was learned ({MAX_FILE_BYTES // 1024}"
                    " KiB at most): take lines out"
                )
            else:
                self._write(lines)
        if not self._too_large:
            self._anew.clear()
        news = [complaint for complaint in complaints if complaint not in self._said]
        self._said = set(complaints)
        return news

    @property
    def _name(self) -> str:
        return os.path.basename(self._path)

    def _canonical(self, address: Address) -> Address:
        # Also keeps a host with a line feed in it, from whoever, out of the file.
        return address if address in self._known else parse_address(str(address))

    def _stalest(self) -> list[Address]:
        """What may be forgotten, in that order: least recently answered, then oldest."""
        candidates = [entry for entry in self._known.values() if entry.source != "you"]
        candidates.sort(key=lambda entry: entry.answered or "")  # stable: keeps the file's order
        return [entry.address for entry in candidates]

    def _make_room(self) -> bool:
        if len(self._known) >= MAX_ADDRESSES:
            for address in self._stalest()[:1]:
                del self._known[address]
        return len(self._known) < MAX_ADDRESSES

    def _stamp_on_disk(self) -> _Stamp | None:
        try:
            return _stamp(os.stat(self._path))
        except FileNotFoundError:
            return None

    def _read(self) -> bool:
        """Read the file into _lines, _filed and _known; False: too large, all left as it was."""
        data, stamp = b"", None
        try:
            with open(self._path, "rb") as file:
                # The stamp first: an edit in between is then seen next time.
                stamp = _stamp(os.fstat(file.fileno()))
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            pass  # an empty book: nothing was ever saved, or the person threw it away
        self._stamp = stamp
        self._too_large = len(data) > MAX_FILE_BYTES
        if self._too_large:
            self._broken = [
                f"{self._name} is larger than {MAX_FILE_BYTES // 1024} KiB and is neither read"
                " nor written: take lines out"
            ]
        else:
            self._take(data.decode("utf-8", "surrogateescape"))
        return not self._too_large

    def _take(self, text: str) -> None:
        self._lines, self._filed, self._broken = [], {}, []
        first_at: dict[Address, int] = {}
        raws = text.split("\n")
        if not raws[-1]:
            raws.pop()  # after the last line feed there is no line
        for number, raw in enumerate(raws, 1):
            address = None
            try:
                known = _read_line(raw)
                if known is not None:
                    if known.address in first_at:
                        # Kept, but tied to the address: to forget it takes both lines out.
                        address = known.address
                        raise ValueError(f"repeats the address of line {first_at[address]}")
                    if len(first_at) >= MAX_ADDRESSES:
                        raise ValueError(f"is one too many: {MAX_ADDRESSES} addresses at most")
                    address = known.address
                    first_at[address] = number
                    self._filed[address] = known
            except ValueError as error:
                self._broken.append(f"{self._name} line {number} {error}")
            self._lines.append(_Line(raw, address))
        self._known = dict(self._filed)

    def _merge(self) -> None:
        """Somebody edited the file: read it again, and add what we did since we last had it."""
        ours, base = self._known, self._filed
        if not self._read():
            return
        for address, filed in base.items():
            # We forgot it; a line that the person changed since is there on purpose.
            if address not in ours and self._filed.get(address) == filed:
                del self._known[address]
        for address, known in ours.items():
            theirs = self._known.get(address)
            if theirs is not None:
                self._known[address] = _merged(base.get(address), known, theirs)
            elif (address not in base or address in self._anew) and self._make_room():
                self._known[address] = known

    def _rendered(self) -> list[_Line]:
        """The file as it should be: each line to the byte unless what is known has changed."""
        lines = list(self._lines)
        if not lines:
            lines = [_Line(raw, None) for raw in HEADER.splitlines()]
        rendered, seen = [], set()
        for line in lines:
            known = self._known.get(line.address) if line.address else None
            if line.address and known is None:
                continue  # forgotten
            if known is None or known.address in seen or known == self._filed[known.address]:
                rendered.append(line)
            else:
                rendered.append(_Line(_rewritten(line.raw, known), known.address))
            seen.add(line.address)
        for address, known in self._known.items():
            if address not in seen:
                rendered.append(_Line(_rewritten(str(address), known), address))
        return rendered

    def _fitting(self) -> list[_Line] | None:
        """The lines to write, after forgetting what makes them too large; None: can't be."""
        lines = self._rendered()
        excess = sum(map(_size, lines)) - MAX_FILE_BYTES
        if excess <= 0:
            return lines
        sizes: dict[Address | None, int] = {}
        for line in lines:
            sizes[line.address] = sizes.get(line.address, 0) + _size(line)
        for address in self._stalest():
            if excess <= 0:
                break
            del self._known[address]
            excess -= sizes[address]
        return self._rendered() if excess <= 0 else None

    def _write(self, lines: list[_Line]) -> None:
        """All or nothing: a new file takes the place of the old one in one step."""
        text = "".join(f"{line.raw}\n" for line in lines)
        # Through a link, not in its place: some people keep such files elsewhere.
        target = os.path.realpath(self._path)
        draft = f"{target}.{os.getpid()}.new"
        try:
            os.unlink(draft)
        except FileNotFoundError:
            pass  # as it should be; else it is of a killed process that had our number
        # 0600: who talks to whom is nobody else's business.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
                file.flush()
                os.fsync(file.fileno())  # a power cut must not leave a person's lines empty
                stamp = _stamp(os.fstat(file.fileno()))
            os.replace(draft, target)
        except BaseException:
            try:
                os.unlink(draft)
            except OSError:
                pass  # the first error is the one to tell
            raise
        self._lines, self._filed, self._stamp = lines, dict(self._known), stamp
