"""The doctor: facts about a node's connections to sentences that a person understands.

    diagnose(facts) -> sentences, each with what to do about it, if anything is to be done

Lives here: what a failure means, and words for numbers. Never here: where the facts come from
(facts.py), looking at anything else, state, clocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from contacts import show
from facts import ClockFacts, DialFacts, NetFacts, PeerFacts

# Addresses, members or clocks that get a sentence, or a name, of their own: more would push
# what matters out of a screen of 24 rows. The others are counted.
MOST_NAMED = 5
# Of what a far end gives as its reason; ours are shorter.
MAX_REASON_CHARACTERS = 60
# A clock that is off by less does not confuse anybody; delays alone make as much.
CLOCK_S = 5.0
# From so many on, a number of entries is not a fact but a boast: rooms have fewer.
MANY = 1_000_000_000

# What a dial failed with (a part of the reason), what that means, and what to do. The first
# that fits counts. The reasons are those of the system, in lower case (net.py), and ours.
_MEANINGS = (
    ("connection refused", "nothing listens there; {has} started?"),
    ("did not finish the handshake", "no answer; a firewall, or a wrong address"),
    ("timed out", "no answer; a firewall, or a wrong address"),
    ("no route to host", "no way leads there; is that machine on, and in your network?"),
    ("network is unreachable", "no way leads there; is this machine connected to a network?"),
    ("host is down", "that machine does not answer; is it on?"),
    ("too many open files", "this machine has no more sockets; ulimit -n says how many"),
    ("permission denied", "this machine does not allow that; a firewall of its own?"),
    ("full", "it is linked to as many as it can; others lead to it, or ask later"),
    ("its user has ended the link", "its user does not want this link"),
    ("refused the knock", "it does not know our room; an invite of another one?"),
    ("hung up before the knock", "it hung up at once; too busy, or no selchat at all"),
    ("closed without a goodbye", "it hung up; another room, or no selchat at all"),
    ("connection reset", "it hung up; another room, or no selchat at all"),
    ("broken pipe", "it hung up; another room, or no selchat at all"),
    ("tls: ", "a stranger; another room, or no selchat at all"),
    ("goodbye", "it was just leaving"),
)
_BROKEN = "it does not speak as a selchat should; another version of it?"


def diagnose(facts: NetFacts) -> list[str]:
    """How this node is connected, the good first, then what is wrong and what to do."""
    return [
        *_linked(facts),
        *_reachable(facts),
        *_dials(facts.dials),
        *_behind(facts),
        *_clocks(facts.clocks),
        *_refused(facts.refused),
    ]


# ---------------------------------------------------------------- words


def span(seconds: float) -> str:
    """A time in one number that a person can take in."""
    if seconds < 0.001:
        return "under 1 ms"
    if seconds < 1.0:
        return f"{seconds * 1000:.0f} ms"
    for unit_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def ago(seconds: float) -> str:
    return "just now" if seconds < 1.0 else f"{span(seconds)} ago"


def size(count: int) -> str:
    """A number of bytes."""
    for unit_bytes, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit_bytes:
            return f"{count / unit_bytes:.1f} {unit}"
    return f"{count} B"


def entries(count: int) -> str:
    """A number of entries; a far end may claim any."""
    if count >= MANY:
        return "countless entries"
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _listed(labels: Iterable[str]) -> str:
    """A few names, and how many more there are."""
    named = list(labels)
    rest = len(named) - MOST_NAMED
    shown = named[:MOST_NAMED] + [f"{rest} more"] * (rest > 0)
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


# ---------------------------------------------------------------- links


def _linked(facts: NetFacts) -> list[str]:
    if not facts.peers:
        return [_alone(facts)]
    trips = [peer.round_trip_s for peer in facts.peers if peer.round_trip_s is not None]
    longest = span(max(trips, default=0.0))
    up_to = "" if longest.startswith("under") else "up to "
    away = f"; a round trip takes {up_to}{longest}" if trips else ""
    said = [f"linked to {_listed(peer.label for peer in facts.peers)}{away}"]
    unanswered = [peer.label for peer in facts.peers if peer.round_trip_s is None]
    if unanswered:
        said.append(f"no answer yet from {_listed(unanswered)}: a slow line, or a busy machine")
    return said


def _alone(facts: NetFacts) -> str:
    if any(not dial.is_self for dial in facts.dials):
        return "linked to nobody: no address that is known leads to a member"
    return (
        "linked to nobody, and no address to try: /connect ADDRESS links to somebody, or "
        "somebody links to you"
    )


def _reachable(facts: NetFacts) -> list[str]:
    if not facts.port:
        return ["nobody can link to you: this node does not listen; start it with a port"]
    at = show((facts.host, facts.port))
    found = {peer.label: peer.finds_us for peer in facts.peers if peer.finds_us is not None}
    if found:
        where = " and ".join(map(show, list(dict.fromkeys(found.values()))[:MOST_NAMED]))
        return [f"others can link to you at {where}: {_listed(found)} did"]
    if facts.was_called:
        return [f"others can link to you at {at}: you were called"]
    if _is_here(facts.host) and not all(_is_here(peer.address[0]) for peer in facts.peers):
        return [
            f"nobody on other machines can link to you: this node listens on {at} only; started "
            "with --host :: it can be called where no router or firewall is in the way"
        ]
    if facts.peers:
        return [
            f"nobody has linked to you at {at} yet, all links go out from here: either nobody "
            f"has tried, or a router or firewall keeps them out{_seen(facts.peers)}"
        ]
    return [f"listening on {at}; nobody has called yet"]


def _is_here(host: str) -> bool:
    """Whether it is this machine for itself."""
    return host.startswith("127.") or host == "::1"


def _seen(peers: tuple[PeerFacts, ...]) -> str:
    hosts = list(dict.fromkeys(peer.sees_us for peer in peers if peer.sees_us))
    return f"; they see you at {_listed(hosts)}" if hosts else ""


# ---------------------------------------------------------------- dials


def _dials(dials: tuple[DialFacts, ...]) -> list[str]:
    named = [dial for dial in dials if dial.named]
    said = [_dial(dial) for dial in named[:MOST_NAMED]]
    if len(named) > MOST_NAMED:
        said.append(_grouped(named[MOST_NAMED:], "more of the addresses that you have named"))
    others = [dial for dial in dials if not dial.named]
    if others:
        said.append(_grouped(others, "of the addresses that were heard of"))
    return said


def _dial(dial: DialFacts) -> str:
    at = show(dial.address)
    if dial.is_self:
        return f"{at} is this very node; name the address of somebody else"
    who = f"{dial.label} at {at}" if dial.label else at
    tries = f"{dial.failures} times, last " if dial.failures > 1 else ""
    failure = dial.failure[:MAX_REASON_CHARACTERS]
    reason = f"{who} failed ({tries}{ago(dial.failed_s)}): {failure}"
    linked = " (it has called you, so you are linked all the same)" if dial.linked else ""
    return f"{reason}: {_meaning(dial)}{linked}"


def _meaning(dial: DialFacts) -> str:
    if ":" in dial.address[0] and "network is unreachable" in dial.failure.lower():
        return "no way leads there; this machine may have no IPv6, which is fine if you are linked"
    for part, meaning in _MEANINGS:
        if part in dial.failure.lower():
            return meaning.format(has=f"has {dial.label}" if dial.label else "has it")
    return _BROKEN


def _grouped(dials: list[DialFacts], which: str) -> str:
    """How many fail for which reason."""
    reasons = Counter(dial.failure[:MAX_REASON_CHARACTERS] for dial in dials).most_common()
    shown = [f"{count} with {reason!r}" for reason, count in reasons[:MOST_NAMED]]
    rest = sum(count for _, count in reasons[MOST_NAMED:])
    shown += [f"{rest} with others"] * (rest > 0)
    return f"no link by {len(dials)} {which} ({', '.join(shown)})"


# ---------------------------------------------------------------- who is behind


def _behind(facts: NetFacts) -> list[str]:
    said = []
    ahead = [peer.label for peer in facts.peers if peer.ahead]
    if ahead:
        said.append(
            f"you are catching up: {_listed(ahead)} {'has' if len(ahead) == 1 else 'have'} "
            f"{entries(facts.missing)} that you have not"
        )
    lacking = sorted((peer for peer in facts.peers if peer.lacks), key=_lacks, reverse=True)
    for peer in lacking[:MOST_NAMED]:
        said.append(f"{peer.label} is behind: {entries(peer.lacks)} still to be sent there")
    if len(lacking) > MOST_NAMED:
        said.append(f"{len(lacking) - MOST_NAMED} more are behind by less")
    return said


def _lacks(peer: PeerFacts) -> int:
    return peer.lacks


# ---------------------------------------------------------------- clocks


def _clocks(clocks: tuple[ClockFacts, ...]) -> list[str]:
    """Whose clock is off: ours, where several others agree with one another and not with us."""
    off = [clock for clock in clocks if abs(clock.behind_s) > CLOCK_S]
    if not off:
        return []
    differences = [clock.behind_s for clock in clocks]
    agree = max(differences) - min(differences) <= CLOCK_S
    if len(off) == len(clocks) > 1 and agree:
        # The least is the one that was delayed least.
        ours = _off(-min(differences))
        return [
            f"your clock is {ours} those of {_listed(clock.label for clock in clocks)}, "
            "which agree: set it right"
        ]
    if len(clocks) == 1:
        (clock,) = clocks
        return [
            f"{clock.label}'s clock is {_off(clock.behind_s)} yours; with two clocks nobody "
            "can tell which is right"
        ]
    said = [f"{clock.label}'s clock is {_off(clock.behind_s)} yours" for clock in off]
    if len(said) > MOST_NAMED:
        said[MOST_NAMED:] = [f"{len(said) - MOST_NAMED} more clocks differ from yours"]
    return said


def _off(behind_s: float) -> str:
    return f"{span(abs(behind_s))} {'behind' if behind_s > 0 else 'ahead of'}"


def _refused(labels: tuple[str, ...]) -> list[str]:
    if not labels:
        return []
    return [
        f"you have disconnected {_listed(labels)}: what they say comes through others; "
        "/connect ADDRESS links again"
    ]
