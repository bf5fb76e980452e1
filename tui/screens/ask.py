"""Ask: a conversation, streamed; recent requests on the left, the route on the right."""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import getters, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static
from textual.worker import Worker

from tokenflow_tui import keymap
from tokenflow_tui.client import DaemonError, Unreachable
from tokenflow_tui.clipboard import copy
from tokenflow_tui.files import fenced_text
from tokenflow_tui.numbers import counted, tokens
from tokenflow_tui.screens.options import OptionsScreen
from tokenflow_tui.screens.path import PathScreen
from tokenflow_tui.widgets.banner import Banner
from tokenflow_tui.widgets.composer import Composer
from tokenflow_tui.widgets.recent import Recent
from tokenflow_tui.widgets.topbar import TopBar
from tokenflow_tui.widgets.turn import Turn, score_bars

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp

# Turns with more widgets than this in all leave the screen, the oldest first; the history has them.
MAX_WIDGETS = 1_000
# Of English prose; an estimate while one types.
CHARS_PER_TOKEN = 4.3
ROUTE_WIDTH = 34
WELCOME = """\
[b]Ask anything.[/] The prompt is classified, and the model that ranks first for its kind answers.
[dim]ctrl+t for another model, a system prompt, or to compress what is sent.[/]"""


class AskScreen(Screen[None]):
    app: TokenFlowApp
    CSS_PATH = "ask.tcss"
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.ASK)

    composer = getters.query_one(Composer)
    transcript = getters.query_one("#transcript", VerticalScroll)
    recent = getters.query_one(Recent)

    def __init__(self) -> None:
        super().__init__()
        self._messages: list[dict[str, str]] = []
        self._attachments: list[str] = []
        self._turn: Turn | None = None
        self._answering: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        yield TopBar("ask")
        yield Banner()
        with Horizontal(id="body"):
            yield Recent()
            with Vertical(id="conversation"):
                with VerticalScroll(id="transcript"):
                    yield Static(Content.from_markup(WELCOME), id="welcome")
                yield Composer("ask", "Ask…")
                yield Static(id="estimate")
            with VerticalScroll(id="route"):
                yield Static(id="route-facts")
        yield Footer()

    def on_mount(self) -> None:
        self.transcript.anchor()
        self.set_class(not self.app.state.settings.sidebar, "-recent-hidden")
        self.composer.focus()
        self._show_estimate()

    # What is about to be sent

    @on(Composer.Changed)
    def _show_estimate(self) -> None:
        settings = self.app.state.settings
        count = len("".join([self.composer.text, *self._attachments])) / CHARS_PER_TOKEN
        facts = [settings.model, f"compress {settings.compress}"]
        if count:
            facts.append(f"about {tokens(count)} tokens")
        if count and settings.compress not in ("off", "auto"):
            facts[-1] = f"about {tokens(count)}→{tokens(count * float(settings.compress))} tokens"
        if self._attachments:
            facts.append(f"{counted(len(self._attachments), 'file')} attached")
        if settings.system:
            facts.append("system prompt")
        if self._messages:
            facts.append(f"{counted(len(self._messages) // 2, 'turn')} of context")
        self.query_one("#estimate", Static).update(Content(" · ".join(facts)), layout=False)

    def ask(self, prompt: str) -> None:
        """Puts the prompt into the composer and sends it."""
        self.composer.text = prompt
        self.composer.action_send()

    def compose_prompt(self, text: str) -> None:
        """Puts the text into the composer, after what is there."""
        self.composer.move_cursor(self.composer.document.end)
        self.composer.insert(f"\n\n{text}" if self.composer.text.strip() else text)
        self.composer.focus()

    @on(Composer.Sent)
    def _send(self, sent: Composer.Sent) -> None:
        if self.is_answering:
            self.notify("The answer before is still coming: esc stops it", severity="warning")
            return
        self._answering = self._answer("\n\n".join([sent.text, *self._attachments]))

    def action_attach(self) -> None:
        self.app.push_screen(
            PathScreen("Attach the text of a file", fenced_text), self._take_attachment
        )

    def _take_attachment(self, attachment: str | None) -> None:
        if attachment:
            self._attachments.append(attachment)
            self._show_estimate()

    @property
    def is_answering(self) -> bool:
        return self._answering is not None and not self._answering.is_finished

    # The answer

    @work(exclusive=True, group="answer", exit_on_error=False)
    async def _answer(self, prompt: str) -> None:
        turn = self._turn = Turn(prompt)
        self.query_one("#welcome").display = False
        await self.transcript.mount(turn)
        self.transcript.anchor()
        showing = self.run_worker(turn.answer.show(), group="show", exit_on_error=False)
        turn.ending = "stopped"  # unless it comes to another end
        try:
            turn.ending = await self._stream(turn, prompt)
        except Unreachable as error:
            turn.ending = f"interrupted, ctrl+r asks again: {error}"
            self.app.check_daemon()
        except DaemonError as error:
            turn.ending = str(error)
        finally:
            turn.answer.end()
            if turn.answer.text:
                self._messages += [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": turn.answer.text},
                ]
            self.call_later(self._after, turn)  # not in an app that is closing
        await showing.wait()
        self._prune()

    def _after(self, turn: Turn) -> None:
        turn.describe()
        self._show_estimate()
        self.recent.refresh_recent()

    async def _stream(self, turn: Turn, prompt: str) -> str:
        """How the answer ended; empty if as it should."""
        path, body = self._request(prompt)
        async with aclosing(self.app.daemon.stream(path, body)) as events:
            async for event in events:
                if event.name == "text_chunk":
                    turn.answer.feed(event.data)
                elif event.name == "metadata":
                    turn.metadata = event.data
                    self._clear_sent()
                    turn.describe()
                    self._show_route()
                elif event.name == "usage":
                    turn.usage = event.data
                elif event.name == "error":
                    return str(event.data["detail"])
                elif event.name == "end_stream":
                    return turn.without_words
        return "interrupted, ctrl+r asks again: the daemon ended the answer"

    def _request(self, prompt: str) -> tuple[str, dict[str, Any]]:
        settings = self.app.state.settings
        body: dict[str, Any] = {
            "prompt": prompt,
            "messages": self._messages,
            "system": settings.system,
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
        }
        if settings.compress != "off":
            body["compress"] = "auto" if settings.compress == "auto" else float(settings.compress)
        if settings.model == "auto":
            return "/api/models/select", body
        return "/api/generate", body | {"model": settings.model}

    def _clear_sent(self) -> None:
        """The prompt has arrived: it is in the history now."""
        self.composer.clear_sent()
        self._attachments.clear()
        self._show_estimate()

    def _prune(self) -> None:
        turns = list(self.transcript.query(Turn))
        while len(turns) > 1 and len(self.transcript.query("*")) > MAX_WIDGETS:
            turns.pop(0).remove()

    def _show_route(self) -> None:
        metadata = self._turn.metadata if self._turn else {}
        facts = [Content.from_markup("[b]ROUTE[/]")]
        if scores := metadata.get("all_categories"):
            facts.append(score_bars(scores, ROUTE_WIDTH - 4))
        if self._turn and metadata:
            facts.append(Content(f"{self._turn.model}: {metadata.get('route', '')}"))
        facts += [
            Content.from_markup(
                "[$warning]$model[/] [dim]$problem[/]",
                model=attempt.get("model", ""),
                problem=str(attempt.get("error", "")),
            )
            for attempt in metadata.get("attempts", [])
        ]
        self.query_one("#route-facts", Static).update(Content("\n\n").join(facts))

    # What keys do

    def action_stop(self) -> None:
        if self.is_answering and self._answering is not None:
            self._answering.cancel()
        else:
            self.composer.focus()

    def action_new(self) -> None:
        self.action_stop()
        self._messages, self._turn = [], None
        self._attachments.clear()
        self.transcript.query(Turn).remove()
        self.query_one("#welcome").display = True
        self._show_route()
        self._show_estimate()
        self.composer.focus()

    def action_sidebar(self) -> None:
        if self.has_class("-narrow"):  # there it lies over the conversation
            self.toggle_class("-recent-over")
        else:
            self.toggle_class("-recent-hidden")
            self.app.state.settings.sidebar = not self.has_class("-recent-hidden")
            self.app.state.save_settings()
        self.call_after_refresh(self._focus_recent)

    def _focus_recent(self) -> None:
        (self.recent if self.recent.region else self.composer).focus()

    def action_route_panel(self) -> None:
        self.toggle_class("-route-hidden" if self.has_class("-wide") else "-route-shown")

    def action_dropped(self) -> None:
        if self._turn is None or not self._turn.toggle_dropped():
            self.notify("That prompt was sent as it is")

    def ask_again(self) -> None:
        """The last prompt once more, if its answer did not come to its end."""
        if self._turn is not None and self._turn.ending and not self.is_answering:
            self._answering = self._answer(self._turn.prompt)

    def action_copy_answer(self) -> None:
        copy(self.app, self._turn.answer.text if self._turn else "")

    def action_options(self) -> None:
        self.app.push_screen(OptionsScreen(), lambda _: self._show_estimate())

    def action_export(self) -> None:
        """The conversation as Markdown, into the folder where the app was started."""
        if not self._messages:
            self.notify("There is no conversation to export", severity="warning")
            return
        file = Path(f"tokenflow-{datetime.now():%Y%m%d-%H%M%S}.md")
        names = {"user": "You", "assistant": "Assistant"}
        parts = [f"## {names[said['role']]}\n\n{said['content']}\n" for said in self._messages]
        try:
            with file.open("x", encoding="utf-8") as new:  # and never what a link leads to
                new.write("\n".join(parts))
        except OSError as error:
            self.notify(f"{file}: {error.strerror}", severity="error")
            return
        self.notify(f"Written to {file.resolve()}")

    @on(Recent.Chosen)
    async def _open(self, chosen: Recent.Chosen) -> None:
        """An earlier request as the beginning of a conversation that can go on."""
        try:
            detail = await self.app.daemon.get(f"/api/history/{chosen.request_id}")
        except DaemonError as error:
            self.notify(str(error), severity="error")
            return
        self.action_new()
        self.query_one("#welcome").display = False
        turn = self._turn = Turn(detail.get("input", ""))
        await self.transcript.mount(turn)
        if detail.get("category"):
            turn.metadata |= {
                "prompt_category": detail["category"],
                "confidence_score": detail.get("confidence", 0),
                "all_categories": detail.get("scores", {}),
            }
        turn.metadata |= {
            "selected_model": detail.get("model", ""),
            "provider": detail.get("provider", ""),
            "route": detail.get("route", ""),
        }
        turn.usage = detail
        turn.describe()
        answer = detail.get("output", "") if isinstance(detail.get("output"), str) else ""
        turn.answer.text = answer
        await turn.answer.show_whole(answer)
        self._messages = [
            {"role": "user", "content": turn.prompt},
            {"role": "assistant", "content": answer},
        ]
        self._show_route()
        self._show_estimate()
