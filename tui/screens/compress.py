"""Compress: a text, how much of it to keep, and which of its words are dropped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import getters, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.validation import Integer
from textual.widgets import Checkbox, Footer, Input, Label, Static, TextArea

from tokenflow_tui import keymap
from tokenflow_tui.client import DaemonError, Unreachable
from tokenflow_tui.clipboard import copy
from tokenflow_tui.files import read_text, write_text
from tokenflow_tui.numbers import milliseconds, saved_share, tokens
from tokenflow_tui.ranking import Ranking
from tokenflow_tui.screens.ask import CHARS_PER_TOKEN, AskScreen
from tokenflow_tui.screens.path import PathScreen
from tokenflow_tui.widgets.banner import Banner
from tokenflow_tui.widgets.draft import DraftArea
from tokenflow_tui.widgets.slider import Slider
from tokenflow_tui.widgets.topbar import TopBar
from tokenflow_tui.widgets.words import WordsView

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp

# How long the hands rest before the daemon is asked: each time is a row of the history.
MOVED_S = 0.15
TYPED_S = 0.7
HINT = "Which words stay and which go is shown here: type or paste a text, or load a file (ctrl+l)."


class CompressScreen(Screen[None]):
    """What the slider does is shown at once by the keep probabilities that are known; the daemon
    decides when it rests."""

    app: TokenFlowApp
    CSS_PATH = Path(__file__).with_suffix(".tcss")
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.COMPRESS)

    source = getters.query_one(DraftArea)
    slider = getters.query_one(Slider)
    target = getters.query_one("#target", Input)
    force = getters.query_one("#force", Input)
    question = getters.query_one("#question", Input)
    digits = getters.query_one("#digits", Checkbox)
    words = getters.query_one(WordsView)

    def __init__(self) -> None:
        super().__init__()
        self._wanted: dict[str, Any] = {}  # what to ask for
        self._due: dict[str, Any] | None = None  # what to ask for next
        self._asked: dict[str, Any] | None = None  # what is being answered
        self._answered: dict[str, Any] = {}  # what `_answer` answers
        self._answer: dict[str, Any] = {}
        self._words: list[str] = []
        self._ranking = Ranking((), 0, 0)
        self._problem = ""
        self._length = 0

    def compose(self) -> ComposeResult:
        yield TopBar("compress")
        yield Banner()
        with Horizontal(classes="controls"):
            yield Label("Keep", classes="first")
            yield Slider()
            yield Label("or exactly")
            yield Input(
                id="target",
                placeholder="tokens",
                type="integer",
                validators=[Integer(minimum=1)],
                valid_empty=True,
                max_length=9,
            )
        with Horizontal(classes="controls"):
            yield Label("Never drop", classes="first")
            yield Input(id="force", placeholder="word, word")
            yield Label("For")
            yield Input(id="question", placeholder="a question")
            yield Checkbox("digits", id="digits", compact=True)
        with Horizontal(id="panes"):
            yield DraftArea("compress", "Paste or type a long text, or ctrl+l to load a file…")
            yield WordsView(HINT)
        yield Static(id="problem")
        yield Static(id="facts")
        yield Footer()

    def on_mount(self) -> None:
        self.source.border_title = "Text"
        self.words.border_title = "Kept and dropped"
        self.digits.tooltip = "Never drop a word with a digit"
        self._resting = self.set_timer(MOVED_S, self._ask)
        self.watch(self.app, "health", self._daemon_changed, init=False)
        self._change(MOVED_S)
        self.source.focus()

    def set_text(self, text: str) -> None:
        """In place of the one that is there, which ctrl+z brings back."""
        self.source.replace(text, (0, 0), self.source.document.end)
        self.source.move_cursor((0, 0))
        self.add_class("-words")

    # What is wanted

    @on(Slider.Moved)
    def _slider_moved(self) -> None:
        with self.prevent(Input.Changed):
            self.target.value = ""
        self.add_class("-words")
        self._change(MOVED_S)

    @on(Checkbox.Changed)
    def _digits_switched(self) -> None:
        self._change(MOVED_S)

    @on(Input.Changed)
    def _field_typed(self) -> None:
        self._change(TYPED_S)

    @on(TextArea.Changed)
    def _text_changed(self) -> None:
        before, self._length = self._length, len(self.source.text)
        pasted = abs(self._length - before) > 1
        self._change(MOVED_S if pasted else TYPED_S)

    def _change(self, rest_s: float) -> None:
        """Shows at once what can be known here, and asks the daemon after a rest."""
        self._resting.stop()
        try:
            self._wanted = self._request()
        except ValueError as error:
            self._problem = str(error)
        else:
            self._problem = ""
            self._show_words()
            self._resting = self.set_timer(rest_s, self._ask)
        self._show_facts()

    def _request(self) -> dict[str, Any]:
        """Raises ValueError."""
        request = {
            "text": self.source.text,
            "force_tokens": [word.strip() for word in self.force.value.split(",") if word.strip()],
            "force_reserve_digit": self.digits.value,
            "question": self.question.value.strip(),
            "return_words": True,
        }
        if not self.target.value:
            return request | {"ratio": self.slider.value}
        if not self.target.is_valid:
            raise ValueError("The tokens to keep are a whole number from 1")
        return request | {"target_token": int(self.target.value)}

    # What the daemon says

    def _ask(self) -> None:
        if not self._wanted["text"].strip():
            self._forget()
            return
        self._due = self._wanted
        # What is being answered about the same text is worth waiting for: from then on the
        # daemon knows the text, and any other share of it is quick.
        if self._asked is None or self._asked["text"] != self._wanted["text"]:
            self._compress()

    @work(exclusive=True, group="compress", exit_on_error=False)
    async def _compress(self) -> None:
        while self._due is not None:
            self._asked, self._due, self._problem = self._due, None, ""
            self._show_facts()
            try:
                if self._asked != self._answered:
                    self._answer = await self.app.daemon.post("/api/compress", self._asked)
                    self._answered = self._asked
                    self._take_words()
            except Unreachable as error:
                self._problem = f"{error}; the text is kept, ctrl+r tries again"
                self.app.check_daemon()
            except DaemonError as error:
                self._problem = str(error)
            self._show_words()
        self._asked = None
        self._show_facts()

    def compress_again(self) -> None:
        """What was not answered."""
        if self._problem:
            self._change(MOVED_S)

    def _daemon_changed(self, before: dict[str, Any] | None, health: dict[str, Any] | None) -> None:
        if before is None and health is not None:
            self.compress_again()

    def _forget(self) -> None:
        """There is no text."""
        self.workers.cancel_group(self, "compress")
        self._asked, self._due = None, None
        self._answer, self._answered = {}, {}
        self._take_words()
        self._show_facts()

    def _take_words(self) -> None:
        words = self._answer.get("words", [])
        self._words = [word["text"] for word in words]
        self._ranking = Ranking(
            words,
            self._answer.get("original_tokens", 0),
            self._answer.get("compressed_tokens", 0),
        )
        self._show_decided()

    # What is shown

    def _show_decided(self) -> None:
        self.words.show(
            self._words,
            self._ranking.ranks,
            self._ranking.kept,
            self._answer.get("compressed_text", ""),
        )

    def _show_words(self) -> None:
        """As decided; at another share as it might be decided."""
        if not self._answer:
            return
        budget = self._budget(self._wanted)
        if "target_token" in self._wanted:
            self.slider.value = budget / max(1, self._answer["original_tokens"])
        if budget == self._budget(self._answered):
            self._show_decided()
        else:
            self.words.preview(self._ranking.count(budget))

    def _budget(self, request: dict[str, Any]) -> int:
        """The tokens to keep of the text that was answered last."""
        original: int = self._answer["original_tokens"]
        if "target_token" in request:
            return int(min(original, request["target_token"]))
        return int(request["ratio"] * original + 1e-6)

    def _show_facts(self) -> None:
        problem = self.query_one("#problem", Static)
        problem.display = bool(self._problem)
        if self._problem:
            problem.update(Content(self._problem))
        if not self._wanted or not self._wanted["text"].strip():
            facts = Content("Nothing to compress yet")
        elif self._wanted == self._answered:
            facts = self._answer_facts()
        else:
            facts = self._awaited_facts()
        self.query_one("#facts", Static).update(facts, layout=False)

    def _answer_facts(self) -> Content:
        answer = self._answer
        original, kept = answer["original_tokens"], answer["compressed_tokens"]
        facts = [
            Content.from_markup(
                "[b]$original → $kept[/] tokens", original=tokens(original), kept=tokens(kept)
            ),
            Content.from_markup("[b $text-success]$saved[/]", saved=saved_share(original, kept)),
        ]
        if answer["over_budget"]:
            facts.append(
                Content.from_markup(
                    "[$text-warning]what has to be kept is more than $budget[/]",
                    budget=tokens(self._budget(self._wanted)),
                )
            )
        facts += [
            Content(milliseconds(answer["latency_ms"])),
            Content(answer["model"]),
        ]
        return Content(" · ").join(facts)

    def _awaited_facts(self) -> Content:
        doing = "compressing…" if self._asked is not None else ""
        if self._wanted["text"] != self._answered.get("text"):
            count = len(self._wanted["text"]) / CHARS_PER_TOKEN
            return Content(" · ").join(filter(None, [f"about {tokens(count)} tokens", doing]))
        original, budget = self._answer["original_tokens"], self._budget(self._wanted)
        return Content(" · ").join(
            filter(
                None,
                [
                    Content.from_markup(
                        "[b]$original → about $kept[/] tokens",
                        original=tokens(original),
                        kept=tokens(budget),
                    ),
                    Content(saved_share(original, budget)),
                    Content(doing),
                ],
            )
        )

    # What keys do

    def action_slider(self) -> None:
        if self.slider.has_focus:
            (self.source if self.source.region else self.words).focus()
        else:
            self.slider.focus()

    def action_text_pane(self) -> None:
        """Both beside each other or the words alone; where that is too narrow, one of them."""
        self.toggle_class("-text-hidden" if self.has_class("-wide") else "-words")
        self.call_after_refresh(lambda: (self.source if self.source.region else self.words).focus())

    def action_new(self) -> None:
        self.source.clear()  # ctrl+z brings it back
        self.remove_class("-words", "-text-hidden")
        self.source.focus()

    def action_dropped(self) -> None:
        self.words.only_kept = not self.words.only_kept
        self.words.border_title = "Kept" if self.words.only_kept else "Kept and dropped"
        self.add_class("-words")

    def action_load(self) -> None:
        def loaded(text: str | None) -> None:
            if text is not None:
                self.set_text(text)

        self.app.push_screen(PathScreen("Load the text of a file", read_text), loaded)

    def action_save(self) -> None:
        text = self._compressed()
        if not text:
            return
        named: set[Path] = set()

        def save(file: Path) -> Path:
            again = file in named
            named.add(file)
            write_text(file, text, replace=again)
            return file

        def saved(file: Path | None) -> None:
            if file is not None:
                self.notify(f"Written to {file.resolve()}")

        self.app.push_screen(PathScreen("Save the compressed text", save, "compressed.txt"), saved)

    def action_copy(self) -> None:
        if text := self._compressed():
            copy(self.app, text)

    async def action_to_ask(self) -> None:
        text = self._compressed()
        if not text:
            return
        await self.app.switch_mode("ask")
        ask = self.app.screen_stack[0]
        if isinstance(ask, AskScreen):
            ask.compose_prompt(text)

    def _compressed(self) -> str:
        """Empty, and said, if there is none that is as it was wanted last."""
        if not self._answer or self._wanted != self._answered or self._problem:
            self.notify("There is no compressed text yet", severity="warning")
            return ""
        return str(self._answer["compressed_text"])
