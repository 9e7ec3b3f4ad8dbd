"""The line editor: what is typed becomes lines.

    bytes typed --> LineEditor.feed() --> Line, Interrupt, EndOfInput, ClearScreen, Answer

Lives here: what keys do, the history and the search in it, completion, questions. Never
here: reading (bytes are handed in), clocks (times are handed in), drawing, any import of
another module of selchat but those it is made of: keys, buffer, layout, text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from buffer import LINE_CHARACTERS, Buffer
from keys import KeyReader, Pasted, Pressed, Stroke, Typed
from layout import Layout, View
from records import Record
from text import edges, harmless

HISTORY_LINES = 500  # what bash keeps
QUERY_CHARACTERS = 200  # a row or two: nobody searches for more, and it has to be shown
MAX_CANDIDATES = 100  # the members of a big room; nobody presses Tab more often than that
# A classic screenful: of more than that nobody has seen what is about to be sent.
PASTE_LINES = 24
PASTE_CHARACTERS = 24 * 80

_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # controls but tab and line feed

Complete = Callable[[str], tuple[int, list[str]]]


class Line(Record):
    """Enter was pressed. A paste of several lines is one Line with "\n" in it."""

    text: str


class Interrupt(Record):
    """Ctrl-C arrived as a byte."""


class EndOfInput(Record):
    """Ctrl-D on an empty line."""


class ClearScreen(Record):
    """Ctrl-L."""


class Answer(Record):
    """What was said to the question of `ask`."""

    yes: bool


Key = Line | Interrupt | EndOfInput | ClearScreen | Answer


class Hint(Record):
    """What to show above the prompt: harmless text, and what may be chosen from."""

    text: str
    choices: tuple[str, ...] = ()
    chosen: int = -1  # an index into choices; -1: none yet


class _Search:
    """Backwards through the history, while the text that was there waits in the buffer."""

    def __init__(self) -> None:
        self.query = ""
        self.place = 0  # how many lines back what was found is; 0: nothing yet
        self.cursor = 0  # where the query stands in it
        self.failed = False


class _Completion:
    """The candidates of one word, one of which may stand in the buffer already."""

    def __init__(self, before: str, typed: str, after: str, candidates: list[str]) -> None:
        self.before = before  # what stands before the word,
        self.typed = typed  # what was typed of it,
        self.after = after  # and what follows
        self.candidates = candidates
        self.chosen = -1


class _Question(Record):
    text: str
    sends: bool = False  # whether a yes sends the text, and is no Answer


class LineEditor:
    """A text that is being typed. It reads nothing: bytes and the time are handed in.

    There is one mode at most: a search, a completion or a question, and each of them says
    by `hint` what it is about.
    """

    def __init__(self, complete: Complete | None = None, history: Iterable[str] = ()) -> None:
        """`complete` is given the text before the cursor. It says where the word begins that
        is to be completed, and what may stand there. `history` begins with the oldest."""
        self._complete = complete
        self._reader = KeyReader()
        self._buffer = Buffer()
        self._layout = Layout()
        self._history: deque[str] = deque(maxlen=HISTORY_LINES)
        self._draft = ""  # the text that was being typed, while the history is shown
        self._mode: _Search | _Completion | _Question | None = None
        self._last_query = ""
        self._pasted_lines = self._pasted_characters = 0  # of this paste
        self._long_paste = False  # whether there was one since the last line
        self._keys: list[Key] = []  # what the next `feed` returns
        self.remember(history)

    def remember(self, history: Iterable[str]) -> None:
        """What was typed before, the oldest first, for the arrow keys and the search."""
        for line in history:
            self._remember(_clean(line))

    @property
    def text(self) -> str:
        return self._buffer.text

    @property
    def cursor(self) -> int:
        """An index into `text`, never inside of what a person sees as one character."""
        return self._buffer.cursor

    def feed(self, data: bytes, now: float) -> list[Key]:
        """Bytes that were typed; what became complete by them."""
        for stroke in self._reader.feed(data, now):
            self._take(stroke)
        keys, self._keys = self._keys, []
        return keys

    def deadline(self) -> float | None:
        """When to call `expire`: a lone ESC is a key of its own once nothing follows it."""
        return self._reader.deadline()

    def expire(self, now: float) -> list[Key]:
        return self.feed(b"", now)

    def ask(self, question: str) -> None:
        """Until there is an `Answer`, y and n are all that can be typed. A question that is
        still open is forgotten."""
        if isinstance(self._mode, _Search):
            self._end_search(take=False)
        self._mode = _Question(question)

    def clear(self) -> bool:
        """Away with all that was begun; False if that was nothing. The text can be undone
        back. An open question of `ask` is answered, which the next `feed` tells."""
        if isinstance(self._mode, _Question) and self._mode.sends:
            self._mode = None  # the text stays, to be changed
            return True
        begun = bool(self._mode or self._reader.pasting or self.text)
        if isinstance(self._mode, _Question):
            self._keys.append(Answer(False))
        self._mode = None
        self._reader.reset()
        self._buffer.settle()
        if self.text:
            self._buffer.replace("", 0, 0, "clear")
        return begun

    def hint(self) -> Hint | None:
        mode = self._mode
        if isinstance(mode, _Question):
            return Hint(f"{harmless(mode.text)} {'[Y/n]' if mode.sends else '[y/N]'}")
        if isinstance(mode, _Search):
            return Hint(("nothing found: " if mode.failed else "search: ") + harmless(mode.query))
        if isinstance(mode, _Completion):
            return Hint("", tuple(harmless(each).rstrip() for each in mode.candidates), mode.chosen)
        if len(self.text) == LINE_CHARACTERS:
            return Hint(f"that is all a post can hold: {LINE_CHARACTERS:,} characters")
        return None

    def view(self, columns: int, rows: int, head_cells: int) -> View:
        """What to show in place of the prompt's text, see `layout.View`."""
        text, cursor = self.text, self.cursor
        if isinstance(self._mode, _Question):
            text, cursor = "", 0
        elif isinstance(self._mode, _Search) and self._mode.place:
            text, cursor = self._history[-self._mode.place], self._mode.cursor
        return self._layout.view(text, cursor, columns, rows, head_cells)

    # ------------------------------------------------------------ strokes

    def _take(self, stroke: Stroke) -> None:
        mode = self._mode
        if isinstance(mode, _Question):
            return self._answer(mode, stroke)
        if isinstance(mode, _Search) and self._searched(mode, stroke):
            return
        if isinstance(mode, _Completion) and self._completed(mode, stroke):
            return
        if isinstance(stroke, Typed):
            self._buffer.type(stroke.text)
        elif isinstance(stroke, Pasted):
            self._paste(stroke.text)
        else:
            self._press(stroke.name)

    def _press(self, name: str) -> None:
        if name in _COMMANDS:
            _COMMANDS[name](self)
        elif name in _EDITS:
            _EDITS[name](self._buffer)

    def _begin_paste(self) -> None:
        self._buffer.settle()  # a paste is one step to undo
        self._pasted_lines = self._pasted_characters = 0

    def _paste(self, text: str) -> None:
        self._pasted_lines += text.count("\n")
        self._pasted_characters += len(text)
        self._long_paste |= _is_long(self._pasted_lines, self._pasted_characters)
        self._buffer.insert(text, "paste")

    def _break_line(self) -> None:
        self._buffer.insert("\n", "type")

    def _enter(self) -> None:
        # A paste often ends with a line break that nobody means.
        text = self.text.rstrip("\n")
        lines = text.count("\n") + 1
        if self._long_paste and _is_long(lines, len(text)):
            what = f"these {lines} lines" if lines > 1 else "this line"
            if len(text) >= LINE_CHARACTERS:
                what = f"what fits into one post, {what}, and not the rest"
            question = f"send {what} ({len(text):,} characters) as one post?"
            self._mode = _Question(question, sends=True)
        else:
            self._send()

    def _send(self) -> None:
        text = self.text.rstrip("\n")
        self._remember(text)
        self._buffer.reset()
        self._draft, self._long_paste = "", False
        self._keys.append(Line(text))

    def _interrupt(self) -> None:
        self._keys.append(Interrupt())

    def _clear_screen(self) -> None:
        self._keys.append(ClearScreen())

    def _delete_or_end(self) -> None:
        if self.text:
            self._buffer.delete()
        else:
            self._keys.append(EndOfInput())

    # ------------------------------------------------------------ questions

    def _answer(self, question: _Question, stroke: Stroke) -> None:
        """What was typed behind the answer is text again."""
        if isinstance(stroke, Typed):
            for index, character in enumerate(stroke.text):
                if character in "yYnN":
                    self._answered(question, character in "yY")
                    rest = stroke.text[index + 1 :]
                    return self._take(Typed(rest)) if rest else None
        elif isinstance(stroke, Pressed):
            if stroke.name in ("enter", "escape", "ctrl-g", "ctrl-c", "ctrl-d"):
                # To go on with what one was about to do; else nothing is done by mistake.
                self._answered(question, stroke.name == "enter" and question.sends)

    def _answered(self, question: _Question, yes: bool) -> None:
        self._mode = None
        if not question.sends:
            self._keys.append(Answer(yes))
        elif yes:
            self._send()

    # ------------------------------------------------------------ history

    def _remember(self, text: str) -> None:
        if text.strip() and (not self._history or self._history[-1] != text):
            self._history.append(text)

    def _older(self) -> None:
        if not self._buffer.up():
            self._recall(1)

    def _newer(self) -> None:
        if not self._buffer.down():
            self._recall(-1)

    def _recall(self, step: int) -> None:
        place = self._buffer.place + step
        if not 0 <= place <= len(self._history):
            return
        if self._buffer.place == 0:
            self._draft = self.text
        text = self._history[-place] if place else self._draft
        self._buffer.replace(text, len(text), place, "recall")

    # ------------------------------------------------------------ search

    def _begin_search(self) -> None:
        self._mode = _Search()

    def _searched(self, search: _Search, stroke: Stroke) -> bool:
        """Whether the stroke belongs to the search; else it has ended."""
        if isinstance(stroke, Typed):
            for character in stroke.text[: QUERY_CHARACTERS - len(search.query)]:
                search.query += character
                if not search.failed:  # else more of it can't be found either
                    self._find(search, max(search.place, 1))
            return True
        name = stroke.name if isinstance(stroke, Pressed) else ""
        if name == "ctrl-r" and search.query:
            self._find(search, search.place + 1)
        elif name == "ctrl-r":
            search.query = self._last_query
            self._find(search, 1)
        elif name == "backspace":
            search.query = search.query[: edges(search.query)[-2]] if search.query else ""
            search.place = 0
            self._find(search, 1)
        else:
            given_up = name in ("escape", "ctrl-g")
            self._end_search(take=not given_up)
            return given_up
        return True

    def _find(self, search: _Search, place: int) -> None:
        """The newest line with the query in it, from that place back, that is another one
        than what is shown."""
        search.failed = False
        if not search.query:
            return
        shown = self._history[-search.place] if search.place else None
        for back in range(place, len(self._history) + 1):
            line = self._history[-back]
            if search.query in line and (line != shown or back == search.place):
                search.place = back
                places = edges(line)
                search.cursor = places[bisect_left(places, line.rfind(search.query))]
                return
        search.failed = True

    def _end_search(self, *, take: bool) -> None:
        search, self._mode = self._mode, None
        assert isinstance(search, _Search)
        self._last_query = search.query or self._last_query
        if take and search.place:
            if self._buffer.place == 0:
                self._draft = self.text
            self._buffer.settle()
            found = self._history[-search.place]
            self._buffer.replace(found, search.cursor, search.place, "search")

    # ------------------------------------------------------------ completion

    def _begin_completion(self) -> None:
        if self._complete is None:
            return
        before, after = self.text[: self.cursor], self.text[self.cursor :]
        start, found = self._complete(before)
        start = min(max(start, 0), len(before))
        candidates = [_clean(each) for each in found[:MAX_CANDIDATES]]
        if not candidates:
            return
        completion = _Completion(before[:start], before[start:], after, candidates)
        self._buffer.settle()
        if len(candidates) == 1:
            self._put(completion, candidates[0])
            self._buffer.settle()
            return
        self._mode = completion
        common = _common_start(candidates)
        if len(common) > len(completion.typed):
            self._put(completion, common)

    def _completed(self, completion: _Completion, stroke: Stroke) -> bool:
        """Whether the stroke belongs to the completion; else it has ended."""
        name = stroke.name if isinstance(stroke, Pressed) else ""
        count = len(completion.candidates)
        if name == "tab":
            completion.chosen = (completion.chosen + 1) % count
        elif name == "shift-tab":
            completion.chosen = (max(completion.chosen, 0) - 1) % count
        else:
            self._mode = None
            given_up = name in ("escape", "ctrl-g")
            if given_up and self.text != completion.before + completion.typed + completion.after:
                self._buffer.undo()
            self._buffer.settle()
            return given_up
        self._put(completion, completion.candidates[completion.chosen])
        return True

    def _put(self, completion: _Completion, word: str) -> None:
        """The word in place of what was typed of it, as much as there is room for."""
        before = (completion.before + word)[: LINE_CHARACTERS - len(completion.after)]
        self._buffer.replace(
            before + completion.after, len(before), self._buffer.place, "completion"
        )


def _is_long(lines: int, characters: int) -> bool:
    return lines > PASTE_LINES or characters > PASTE_CHARACTERS


def _clean(text: str) -> str:
    """As if it had been typed: no controls, and not too long."""
    return _UNWANTED.sub("", text)[:LINE_CHARACTERS]


def _common_start(words: list[str]) -> str:
    first, last = min(words), max(words)  # what these two share, all between them share
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]


# The keys of every shell, so that nobody has to learn any.
_EDITS: Mapping[str, Callable[[Buffer], None]] = {
    **dict.fromkeys(("left", "ctrl-b"), Buffer.left),
    **dict.fromkeys(("right", "ctrl-f"), Buffer.right),
    **dict.fromkeys(("home", "ctrl-a"), Buffer.home),
    **dict.fromkeys(("end", "ctrl-e"), Buffer.end),
    **dict.fromkeys(("ctrl-left", "alt-left", "alt-b"), Buffer.word_left),
    **dict.fromkeys(("ctrl-right", "alt-right", "alt-f"), Buffer.word_right),
    "backspace": Buffer.backspace,
    "delete": Buffer.delete,
    "alt-backspace": Buffer.kill_word_before,
    **dict.fromkeys(("alt-d", "ctrl-delete"), Buffer.kill_word_after),
    "ctrl-w": Buffer.kill_to_space,
    "ctrl-u": Buffer.kill_line_before,
    "ctrl-k": Buffer.kill_line_after,
    "ctrl-y": Buffer.yank,
    "ctrl-t": Buffer.transpose,
    "ctrl-_": Buffer.undo,
}
_COMMANDS: Mapping[str, Callable[[LineEditor], None]] = {
    "enter": LineEditor._enter,
    "alt-enter": LineEditor._break_line,
    "tab": LineEditor._begin_completion,
    "paste": LineEditor._begin_paste,
    **dict.fromkeys(("up", "ctrl-p"), LineEditor._older),
    **dict.fromkeys(("down", "ctrl-n"), LineEditor._newer),
    "ctrl-r": LineEditor._begin_search,
    "ctrl-l": LineEditor._clear_screen,
    "ctrl-d": LineEditor._delete_or_end,
    "ctrl-c": LineEditor._interrupt,
}
