"""Control characters as something to look at: a terminal would obey them."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "␡",
    **dict.fromkeys((*range(0x80, 0xA0), 0x2028, 0x2029), "\ufffd"),
}
_DRAWN = {**_PICTURES, ord("\n"): " ", ord("\t"): " "}  # a line has neither


def visible(text: str) -> str:
    """As many characters; line breaks (\\n) and tabs are left to the one who draws."""
    return text if text.isprintable() else text.translate(_PICTURES)


class VisibleFilter(LineFilter):
    """The last gate before the terminal, for whatever any widget draws. Widgets that show text of
    others call `visible` themselves, so that what they measure is what is drawn."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.control or segment.text.isprintable()
            else Segment(segment.text.translate(_DRAWN), segment.style)
            for segment in segments
        ]
