"""Every key of the app in one place, each under an id that `keys` in tui.json can remap.

Keys that terminals, browsers or TextArea want for themselves have a second one: VS Code's terminal
eats ctrl+p and ctrl+q, browsers take F5. Those with alt come before the field that has the focus:
terminals send them with the letter, which it would take for typed.
"""

from __future__ import annotations

from textual.binding import Binding

MODES = (("ask", "f2", "Ask"), ("compress", "f3", "Compress"),
         ("history", "f4", "History"), ("metrics", "f5,alt+m", "Metrics"))  # fmt: skip

APP = [
    *(
        Binding(key, f"show('{mode}')", title, id=f"mode.{mode}", show=False, priority=True)
        for mode, key, title in MODES
    ),
    Binding("f1", "help", "Help", id="help"),
    Binding("ctrl+p,f8", "command_palette", "Palette", id="palette", priority=True, show=False),
    Binding("ctrl+r", "retry", "Retry", id="retry", show=False),
    Binding("alt+s", "start_daemon", "Start the daemon", id="start", show=False, priority=True),
    Binding("ctrl+o", "jump", "Jump", id="jump", show=False),
    Binding("ctrl+q,f10", "quit", "Quit", id="quit", show=False, priority=True),
]

ASK = [
    Binding("escape", "stop", "Stop", id="ask.stop"),
    Binding("ctrl+n", "new", "New", id="ask.new"),
    Binding("ctrl+b,f9", "sidebar", "Recent", id="ask.sidebar"),
    Binding("ctrl+t", "options", "Options", id="ask.options"),
    Binding("alt+c", "copy_answer", "Copy", id="ask.copy", priority=True),
    Binding("alt+a", "attach", "Attach a file", id="ask.attach", show=False, priority=True),
    Binding(
        "alt+x", "export", "Export the conversation", id="ask.export", show=False, priority=True
    ),
    Binding("alt+r", "route_panel", "Route panel", id="ask.route", show=False, priority=True),
    Binding("alt+d", "dropped", "Dropped words", id="ask.dropped", show=False, priority=True),
]

# Before TextArea, which writes a line break for Enter.
COMPOSER = [
    Binding("enter", "send", "Send", id="composer.send", priority=True),
    Binding(
        "ctrl+j,shift+enter,alt+enter", "newline", "Newline", id="composer.newline", priority=True
    ),
]

# In every text that is kept as a draft.
DRAFT = [Binding("alt+e,ctrl+g", "edit", "Editor", id="draft.edit", show=False, priority=True)]

COMPRESS = [
    Binding("escape", "slider", "Slider", id="compress.slider"),
    Binding("ctrl+b,f9", "text_pane", "Text", id="compress.text"),
    Binding("alt+d", "dropped", "Dropped", id="compress.dropped", priority=True),
    Binding("alt+c", "copy", "Copy", id="compress.copy", priority=True),
    Binding("alt+a,f12", "to_ask", "To Ask", id="compress.ask", priority=True),
    Binding("ctrl+l,alt+l", "load", "Load", id="compress.load", priority=True),
    Binding("ctrl+s,alt+w", "save", "Save", id="compress.save", priority=True),
    Binding("ctrl+n", "new", "New", id="compress.new", show=False),
]

SLIDER = [
    Binding("left", "move(-0.05)", "Less", id="slider.less", show=False),
    Binding("right", "move(0.05)", "More", id="slider.more", show=False),
    Binding("shift+left,h", "move(-0.01)", "A little less", id="slider.finer_less", show=False),
    Binding("shift+right,l", "move(0.01)", "A little more", id="slider.finer_more", show=False),
    Binding("home", "least", "Least", id="slider.least", show=False),
    Binding("end", "most", "Most", id="slider.most", show=False),
]

# In every list.
LIST = [
    Binding("j", "cursor_down", "Down", id="list.down", show=False),
    Binding("k", "cursor_up", "Up", id="list.up", show=False),
    Binding("g", "first", "First", id="list.first", show=False),
    Binding("G", "last", "Last", id="list.last", show=False),
]

# In lists that draw themselves.
ROWS = [
    Binding("down", "cursor_down", "Down", id="rows.down", show=False),
    Binding("up", "cursor_up", "Up", id="rows.up", show=False),
    Binding("pagedown,ctrl+d", "page_down", "A page down", id="rows.page_down", show=False),
    Binding("pageup,ctrl+u", "page_up", "A page up", id="rows.page_up", show=False),
    Binding("home", "first", "First", id="rows.first", show=False),
    Binding("end", "last", "Last", id="rows.last", show=False),
    Binding("enter", "open", "Open", id="rows.open"),
]

HISTORY = [
    Binding("escape", "back", "Back", id="history.back", show=False),
    Binding("slash", "search", "Search", id="history.search", key_display="/"),
    Binding("f", "filter", "Filter", id="history.filter"),
    Binding("x", "clear_filters", "Clear filters", id="history.clear", show=False),
    Binding("y", "copy_answer", "Copy", id="history.copy"),
    Binding("Y", "copy_prompt", "Copy the prompt", id="history.copy_prompt", show=False),
    Binding("r", "rerun", "Re-run", id="history.rerun"),
    Binding("R", "rerun_otherwise", "Re-run otherwise", id="history.rerun_otherwise", show=False),
    Binding("c", "compress", "Send to Compress", id="history.compress", show=False),
    Binding("t", "relabel", "Relabel", id="history.relabel"),
    Binding("e", "export", "Export", id="history.export"),
    Binding("d", "delete", "Delete", id="history.delete"),
    Binding("ctrl+r", "reload", "Load again", id="history.reload", show=False),
]

METRICS = [
    *(
        Binding(key, f"period('{key}')", f"The last {title}", id=f"metrics.{days}", show=False)
        for key, title, days in (
            ("1", "24 hours", 1),
            ("7", "7 days", 7),
            ("3", "30 days", 30),
            ("9", "90 days", 90),
            ("y", "year", 364),
        )
    ),
    Binding("h,left", "figure(-1)", "Figure before", id="metrics.previous", show=False),
    Binding("l,right", "figure(1)", "Figure", id="metrics.next", key_display="←→"),
    Binding("t", "tables", "Tables", id="metrics.tables"),
    Binding("ctrl+r", "refresh", "Refresh", id="metrics.refresh"),
]

# Beside LIST, for a text that is read.
DETAIL = [
    Binding("n", "next_part", "Next part", id="detail.next", show=False),
    Binding("p", "previous_part", "Part before", id="detail.previous", show=False),
]

DIALOG = [Binding("escape", "dismiss(None)", "Close", id="dialog.close", show=False)]

CONFIRM = [
    Binding("y,enter", "dismiss(True)", "Yes", id="confirm.yes", show=False),
    Binding("n", "dismiss(False)", "No", id="confirm.no", show=False),
]

SEARCH = [
    Binding("down,tab", "screen.to_list", "List", id="search.list"),
    Binding("escape", "screen.back", "Clear", id="search.clear"),
]
