"""A person at the keyboard, while others talk: what is typed, and what is meant by it.

A `Schedule` comes of a seed alone. The person has posts in mind and types them with mistakes,
each put right: so at any moment between two keys it is known what the prompt has to show,
without asking an editor. Bytes are cut anywhere; what is one key stays together in time.

Lives here: keys, posts, sizes, and when. Never here: an editor, a screen, a process.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from editor import PASTE_CHARACTERS, PASTE_LINES
from text import cells_of

ESCAPE_S = 0.06  # longer than a terminal needs for the rest of a sequence
MEMBERS = ("bob", "bella")  # who else talks; the person's own name is "me"
COLUMNS, ROWS = (10, 200), (5, 50)
OLD = 2  # so many posts back at most the arrow keys go

WORDS = ("so", "well", "hello", "https://example.org/a", "*very*", "`code`", "@me", "whatever,",
         "antidisestablishmentarianism", "1234567890" * 4, "├──┤", "naïve")  # fmt: skip
SCRIPTS = ("世界", "漢字かな交じり文", "한국어", "ѳита", "שלום", "مرحبا", "ＷＩＤＥ",
           "e\u0301te\u0301", "n\u0303a\u0308\u0323", "🙂🙃", "ไทย")  # fmt: skip
NARROW = tuple(word for word in SCRIPTS if cells_of(word) <= len(word))
# About the width of these no two terminals agree: joined emoji, flags, variation selectors,
# skin tones, vowels that take a cell or do not, syllables in parts.
AMBIGUOUS = ("👩\u200d👩\u200d👧", "❤\ufe0f", "👍🏽", "🇩🇪🇫🇷", "🏳\ufe0f\u200d🌈",
             "नि", "\u1112\u1161\u11ab")  # fmt: skip
# Each is one character to a person. No two of them next to one another are one.
PIECES = {
    "e\u0301te\u0301": ["e\u0301", "t", "e\u0301"],
    "n\u0303a\u0308\u0323": ["n\u0303", "a\u0308\u0323"],
    "🇩🇪🇫🇷": ["🇩🇪", "🇫🇷"],
    **{each: [each] for each in AMBIGUOUS if "🇩" not in each},
}


@dataclass(frozen=True)
class Shown:
    """What the prompt holds, and where the cursor stands in it."""

    text: str
    cursor: int


@dataclass(frozen=True)
class Keys:
    data: bytes
    shown: Shown | None = None  # afterwards; None: half a key, or a search, a question, ...


@dataclass(frozen=True)
class Said:
    """Somebody else says something."""

    name: str
    text: str


@dataclass(frozen=True)
class Resized:
    columns: int
    rows: int


@dataclass(frozen=True)
class Waited:
    """Nothing is typed for so long."""

    seconds: float


Step = Keys | Said | Resized | Waited


@dataclass
class Plan:
    """What a schedule is made of."""

    messages: int = 40  # of the others
    posts: int = 4
    resizes: int = 4
    lines: bool = True  # whether posts of others may have line breaks
    ambiguous: bool = True  # whether the prompt may hold what is AMBIGUOUS
    wide: bool = True  # whether any character takes two cells
    inside_keys: bool = True  # whether even an ESC may be cut off from what belongs to it


@dataclass
class Schedule:
    """All that happens, in its order, and what must come of it."""

    steps: list[Step]
    own: list[str]  # the posts that the person means
    others: dict[str, list[str]]


def make_schedule(seed: int, plan: Plan) -> Schedule:
    random = Random(seed)
    person = Person(random, plan)
    for number in range(plan.posts):
        person.write(f"me{number}")
    others: dict[str, list[str]] = {name: [] for name in MEMBERS}
    happens: list[Step] = []
    for number in range(plan.messages):
        name = random.choice(MEMBERS)
        others[name].append(_text(random, f"{name}{number}", plan))
        happens.append(Said(name, others[name][-1]))
    typed = person.steps
    for _ in range(plan.resizes):
        size = Resized(random.randint(*COLUMNS), random.randint(*ROWS))
        happens.insert(random.randint(0, len(happens)), size)
    places = sorted(random.randint(0, len(typed)) for _ in happens)
    steps: list[Step] = []
    at = 0
    for place, step in zip(places, happens, strict=True):
        steps += [*typed[at:place], step]
        at = place
    return Schedule(steps + typed[at:], person.meant, others)


def _word(random: Random, *, ambiguous: bool, wide: bool) -> str:
    scripts = SCRIPTS if wide else NARROW
    kinds = [WORDS, WORDS, scripts, *[AMBIGUOUS] * (ambiguous and wide)]
    return random.choice(random.choice(kinds))


def _text(random: Random, start: str, plan: Plan) -> str:
    """What somebody else says."""
    words = random.choice((0, 1, 3, 6, 12, 40))
    text = start
    for _ in range(words):
        gap = random.choice(" " * 12 + "\n" * plan.lines)
        text += gap + _word(random, ambiguous=True, wide=plan.wide)
    return text


class Person:
    """Types posts. `pieces` and `at` are what the prompt holds, as the person means it."""

    def __init__(self, random: Random, plan: Plan) -> None:
        self._random, self._plan = random, plan
        self.steps: list[Step] = []
        self.meant: list[str] = []
        self._history: list[str] = []
        self._pieces: list[str] = []
        self._at = 0
        self._pasted = False  # a long text, so that Enter asks

    # ------------------------------------------------------------ keys

    @property
    def _shown(self) -> Shown:
        return Shown("".join(self._pieces), len("".join(self._pieces[: self._at])))

    def _press(self, keys: str, *, known: bool = True) -> None:
        """Keys all at once, cut into pieces somewhere. `known`: whether the prompt holds what is
        meant afterwards."""
        data = keys.encode()
        while len(data) > 1 and self._random.random() < 0.3:
            cut = self._random.randrange(1, len(data))
            if self._plan.inside_keys or data[cut - 1 : cut] != b"\x1b":
                self.steps.append(Keys(data[:cut]))
                data = data[cut:]
        self.steps.append(Keys(data, self._shown if known else None))

    def _insert(self, pieces: list[str], keys: str | None = None) -> None:
        self._pieces[self._at : self._at] = pieces
        self._at += len(pieces)
        self._press("".join(pieces) if keys is None else keys)

    def _left(self, count: int) -> None:
        for _ in range(count):
            self._at -= 1
            self._press(self._random.choice(("\x1b[D", "\x1bOD", "\x02")))

    def _right(self, count: int) -> None:
        for _ in range(count):
            self._at += 1
            self._press(self._random.choice(("\x1b[C", "\x06")))

    def _backspace(self, count: int) -> None:
        for _ in range(count):
            self._at -= 1
            del self._pieces[self._at]
            self._press("\x7f")

    def _line_start(self) -> int:
        """Where the line begins that the cursor is in."""
        return max((i + 1 for i in range(self._at) if self._pieces[i] == "\n"), default=0)

    def _wrong(self) -> list[str]:
        return _pieces_of(self._word())

    def _word(self) -> str:
        return _word(self._random, ambiguous=self._plan.ambiguous, wide=self._plan.wide)

    # ------------------------------------------------------------ a post

    def write(self, start: str) -> None:
        if self._history and self._random.random() < 0.15:
            self._say_again()
            return
        manners = (self._plain, self._plain, self._plain, self._typo, self._wrong_word,
                   self._swapped, self._go_home, self._kill_and_yank, self._undo, self._transpose,
                   self._look_back, self._search, self._mention, self._escape, self._delete,
                   self._paste, self._break_line)  # fmt: skip
        slash = self._random.random() < 0.05
        self._insert(list("/" * 2 * slash + start))
        for _ in range(self._random.choice((1, 2, 4, 8, 8))):
            self._random.choice(manners)()
        if not "".join(self._pieces).strip():
            raise AssertionError("a person does not mean to say nothing")
        self._enter()

    def _enter(self) -> None:
        text = "".join(self._pieces)
        asked = self._pasted and (text.count("\n") >= PASTE_LINES or len(text) > PASTE_CHARACTERS)
        if asked:
            self._press("\r", known=False)
            if self._random.random() < 0.3:
                self._press("n")
                self._press("\r", known=False)
        self._said(text)
        self._press("y" if asked else "\r")

    def _said(self, text: str) -> None:
        self.meant.append(text.removeprefix("/") if text.startswith("//") else text)
        if not self._history or self._history[-1] != text:
            self._history.append(text)
        self._pieces, self._at, self._pasted = [], 0, False

    def _say_again(self) -> None:
        """Something said before, found by the arrow keys or by a search."""
        if self._random.random() < 0.5:
            back = self._go_back()
            self._said(self._history[-back])
            self._press("\r")
        else:
            text = self._history[-1]  # to search finds the newest
            query = text.partition("\n")[0][: self._random.randint(1, 4)]
            self._press("\x12" + query, known=False)
            self._said(text)
            self._press("\r")

    def _go_back(self) -> int:
        """Up in the history, as far as a post of several lines."""
        back = 0
        while back < min(OLD, len(self._history)):
            if back and "\n" in self._history[-back]:
                break
            back += 1
            text = self._history[-back]
            self.steps.append(Keys(b"\x1b[A", Shown(text, len(text))))
        return back

    # ------------------------------------------------------------ manners, each ends at the end

    def _plain(self) -> None:
        words = [self._word() for _ in range(3)]
        for word in words[: self._random.randint(1, 3)]:
            self._insert([" ", *_pieces_of(word)])

    def _typo(self) -> None:
        wrong = self._wrong()
        self._insert(wrong)
        self._backspace(len(wrong))

    def _wrong_word(self) -> None:
        self._insert([" "])
        here, wrong = self._at, self._wrong()
        self._insert(wrong)
        del self._pieces[here:]
        self._at = here
        self._press("\x17")

    def _swapped(self) -> None:
        """The first character is forgotten, and put where it belongs."""
        first, *rest = [" ", *self._wrong()]
        self._insert(rest)
        self._left(len(rest))
        self._insert([first])
        self._right(len(rest))

    def _go_home(self) -> None:
        end, self._at = self._at, self._line_start()
        self._press(self._random.choice(("\x01", "\x1b[H")))
        wrong = self._wrong()
        self._insert(wrong)
        self._backspace(len(wrong))
        self._at = end
        self._press(self._random.choice(("\x05", "\x1b[F")))

    def _kill_and_yank(self) -> None:
        start = self._line_start()
        line = self._pieces[start : self._at]
        if not line:
            return
        self._press("\x05")  # else what was killed just before would come back, too
        if self._random.random() < 0.5:
            del self._pieces[start:]
            self._at = start
            self._press("\x15")
        else:
            self._at = start
            self._press("\x01")
            del self._pieces[start:]
            self._press("\x0b")
        self._insert(line, "\x19")

    def _undo(self) -> None:
        self._press("\x05")  # what follows is a step of its own
        here = self._at
        self._insert(list("oops"))
        del self._pieces[here:]
        self._at = here
        self._press("\x1f")

    def _transpose(self) -> None:
        self._insert([" ", "o", "t"])
        self._pieces[-2:] = ["t", "o"]
        self._press("\x14")

    def _look_back(self) -> None:
        if "\n" in self._pieces or not self._history:
            return
        back = self._go_back()
        for _ in range(1, back):
            back -= 1
            text = self._history[-back]
            self.steps.append(Keys(b"\x1b[B", Shown(text, len(text))))
        self._press("\x1b[B")

    def _search(self) -> None:
        self._press("\x12me", known=False)
        self._press("\x07")

    def _mention(self) -> None:
        """The rest of a name is what Tab is for. Both begin with b: it can't know more yet."""
        self._insert([" ", "@", "b"])
        self._press("\t", known=False)
        name = self._random.choice(MEMBERS)
        self._insert([name[1]])
        self._insert([*name[2:], " "], "\t")

    def _escape(self) -> None:
        """Should it be taken for the start of a sequence all the same: Ctrl-G ends that."""
        self._press("\x1b")
        self.steps.append(Waited(ESCAPE_S))
        self._press("\x07")

    def _delete(self) -> None:
        self._insert(["x"])
        self._left(1)
        del self._pieces[self._at]
        self._press("\x1b[3~")

    def _break_line(self) -> None:
        word = self._wrong()
        self._insert(["\n", *word], "\x1b\r" + "".join(word))

    def _paste(self) -> None:
        many = self._random.random() < 0.1
        words = 120 if many else self._random.randint(1, 10)
        pieces: list[str] = [" "]
        for _ in range(words):
            gap = self._random.choice(" " * 8 + "\t\n")
            pieces += [*_pieces_of(self._word()), gap]
        pieces.append(".")
        text = "".join(pieces)
        long = text.count("\n") > PASTE_LINES or len(text) > PASTE_CHARACTERS
        self._pasted |= long
        self._insert(pieces, f"\x1b[200~{text.replace(chr(10), chr(13))}\x1b[201~")


def _pieces_of(word: str) -> list[str]:
    return PIECES.get(word) or list(word)
