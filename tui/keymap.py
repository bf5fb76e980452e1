"""Every key of the app in one place, each under an id that `keys` in tui.json can remap.

Keys that terminals or TextArea want for themselves have a second one: VS Code's terminal eats
ctrl+p and ctrl+q.
"""

from __future__ import annotations

from textual.binding import Binding

MODES = (("ask", "f2", "Ask"), ("compress", "f3", "Compress"), ("history", "f4", "History"),
         ("metrics", "f5", "Metrics"))  # fmt: skip

APP = [
    *(
        Binding(key, f"show('{mode}')", title, id=f"mode.{mode}", show=False)
        for mode, key, title in MODES
    ),
    Binding("f1", "help", "Help", id="help"),
    Binding("ctrl+p,f8", "command_palette", "Palette", id="palette", priority=True, show=False),
    Binding("ctrl+r", "retry", "Retry", id="retry", show=False),
    Binding("ctrl+o", "jump", "Jump", id="jump", show=False),
    Binding("ctrl+q,f10", "quit", "Quit", id="quit", show=False, priority=True),
]

ASK = [
    Binding("escape", "stop", "Stop", id="ask.stop"),
    Binding("ctrl+n", "new", "New", id="ask.new"),
    Binding("ctrl+b,f9", "sidebar", "Recent", id="ask.sidebar"),
    Binding("f7,ctrl+t", "options", "Options", id="ask.options"),
    Binding("alt+c,f6", "copy_answer", "Copy", id="ask.copy"),
    Binding("alt+a", "attach", "Attach a file", id="ask.attach", show=False),
    Binding("alt+x", "export", "Export the conversation", id="ask.export", show=False),
    Binding("alt+r", "route_panel", "Route panel", id="ask.route", show=False),
    Binding("alt+d", "dropped", "Dropped words", id="ask.dropped", show=False),
]

# Before TextArea, which writes a line break for Enter.
COMPOSER = [
    Binding("enter", "send", "Send", id="composer.send", priority=True),
    Binding(
        "ctrl+j,shift+enter,alt+enter", "newline", "Newline", id="composer.newline", priority=True
    ),
    Binding("alt+e,ctrl+g", "edit", "Editor", id="composer.edit", show=False),
]

# In every list.
LIST = [
    Binding("j", "cursor_down", "Down", id="list.down", show=False),
    Binding("k", "cursor_up", "Up", id="list.up", show=False),
    Binding("g", "first", "First", id="list.first", show=False),
    Binding("G", "last", "Last", id="list.last", show=False),
]
