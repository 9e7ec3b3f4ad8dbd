"""What is piped in is cut into lines, of bounded length."""

from __future__ import annotations

from lines import LineReader


def test_piped_lines_are_cut_at_line_feeds_and_bounded() -> None:
    reader = LineReader(4)
    assert reader.feed(b"one\ntw") == ["one"]
    assert reader.feed(b"o\r\ntoo long\n") == ["two\r", "too l"]
    assert reader.feed(b"end") == []
    assert reader.end() == ["end"] and reader.end() == []
