"""Text of others on a terminal: prompts, answers, what providers and files say.

A terminal obeys control characters: an answer could rename its window, write into the clipboard
(OSC 52) or rewrite what stands above. They are shown instead (as `cat -v` does), in Unicode's
pictures of them. ECMA-48 has a second set of them (C1, U+0080 to U+009F), which some terminals
obey in UTF-8, too.
"""

from __future__ import annotations

import re

_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "␡",
    **dict.fromkeys((*range(0x80, 0xA0), 0x2028, 0x2029), "\ufffd"),
}
_BARE_CONTROLS = re.compile("[\x7f-\x9f]")


def visible(text: str) -> str:
    """`text` without anything that a terminal obeys but line breaks and tabs."""
    return text if text.isprintable() else text.replace("\r\n", "\n").translate(_PICTURES)


def visible_json(text: str) -> str:
    """JSON with the control characters escaped that JSON itself lets stand in strings."""
    return _BARE_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
