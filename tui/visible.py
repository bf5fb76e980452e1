"""Control characters as something to look at: a terminal would obey them."""

from __future__ import annotations

_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "␡",
    **dict.fromkeys((*range(0x80, 0xA0), 0x2028, 0x2029), "\ufffd"),
}


def visible(text: str) -> str:
    """As many characters; line breaks (\\n) and tabs are left to the one who draws."""
    return text if text.isprintable() else text.translate(_PICTURES)
