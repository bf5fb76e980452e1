"""The history: found, read, filtered, copied, asked again, relabelled, deleted."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from benchmarks.history_rows import fill
from tests.program import Program
from tests.tui.conftest import MEDIUM, SMALL, WIDE, Drive, shown, until, write
from tests.upstream import Upstream, answer, failure
from tokenflow_tui.app import TokenFlowApp
from tokenflow_tui.filters import Filters
from tokenflow_tui.matches import matches_of
from tokenflow_tui.request import as_markdown, facts, plain
from tokenflow_tui.screens.ask import AskScreen
from tokenflow_tui.screens.compress import CompressScreen
from tokenflow_tui.screens.filter import FilterScreen
from tokenflow_tui.screens.history import PAGE, HistoryScreen
from tokenflow_tui.screens.relabel import RelabelScreen
from tokenflow_tui.screens.rerun import RerunScreen

ROWS = 2 * PAGE + 30
NARROW = (60, 20)


@pytest.fixture(scope="module")
def program(provider: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A daemon with a history of more than two pages."""
    home = tmp_path_factory.mktemp("home")
    fill(home, ROWS)
    program = Program(home, provider)
    program.start()
    yield program
    program.close()


@pytest.fixture(autouse=True)
def no_clipboard_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied goes to the terminal, where the app can be asked for it."""
    monkeypatch.setenv("PATH", "")


def post(program: Program, path: str, body: dict[str, Any]) -> str:
    """The id of the request in the history."""
    with contextlib.closing(program.connection()) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse().read()
    if path in ("/api/compress", "/api/classify"):
        return str(json.loads(response)["id"])
    events = response.decode().split("\n\n")
    usage = next(event for event in events if event.startswith("event: usage"))
    return str(json.loads(usage.partition("data: ")[2])["data"]["id"])


def asked(program: Program, prompt: str) -> str:
    return post(program, "/api/models/select", {"prompt": prompt})


def screen(app: TokenFlowApp) -> HistoryScreen:
    assert isinstance(app.screen_stack[0], HistoryScreen)
    return app.screen_stack[0]


async def opened(pilot: Pilot[None], app: TokenFlowApp) -> HistoryScreen:
    """The history with its first page and the first request's detail."""
    await pilot.press("f4")
    await until(pilot, lambda: isinstance(app.screen, HistoryScreen) and app.screen.requests.rows)
    return screen(app)


async def detail_of(pilot: Pilot[None], history: HistoryScreen, request_id: str) -> dict[str, Any]:
    def is_shown() -> bool:
        return (history.detail.request or {}).get("id") == request_id

    await until(pilot, is_shown)
    assert history.detail.request
    return history.detail.request


async def search(pilot: Pilot[None], history: HistoryScreen, words: str) -> None:
    """Types, and waits until what is shown is what was found."""
    await pilot.press("slash")
    before = history.requests.rows
    await write(pilot, words)
    await until(pilot, lambda: history.requests.rows is not before)
    await until(pilot, lambda: history.requests.matches == matches_of(words))


def ids(history: HistoryScreen) -> list[str]:
    return [row["id"] for row in history.requests.rows]


# The list


def test_the_newest_come_first_and_older_ones_as_one_goes_down(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        assert len(ids(history)) == PAGE
        assert f"{PAGE}+ loaded" in shown(app)
        for _ in range(3):
            await pilot.press("G")
            await until(pilot, lambda: history._paging and history._paging.is_finished)
        await until(pilot, lambda: "in all" in shown(app))
        assert len(ids(history)) >= ROWS
        assert ids(history) == sorted(set(ids(history)), reverse=True)
        await pilot.press("g")
        assert history.requests.cursor == 0
        await pilot.press("j", "j", "k")
        assert history.requests.cursor == 1

    drive(scenario)


def test_columns_leave_where_there_is_no_room_for_them(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        for size, present, absent in (
            (NARROW, "saved", "category"),
            (SMALL, "category", "cost"),
            (MEDIUM, "cost", "model"),
            ((210, 48), "model", "nothing"),
        ):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda present=present: f" {present} " in titles(app))
            assert absent not in titles(app)

    drive(scenario)


def titles(app: TokenFlowApp) -> str:
    return next((line for line in shown(app).splitlines() if " age  kind" in line), "")


def test_what_comes_while_one_reads_is_put_above_and_moves_nothing(
    drive: Drive, program: Program
) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await pilot.press("j", "j", "j")
        chosen = history.requests.row
        assert chosen
        newest = post(program, "/api/classify", {"prompt": "What has just come?"})
        app.check_daemon()
        await until(pilot, lambda: ids(history)[0] == newest)
        assert history.requests.row == chosen
        assert "What has just come?" in shown(app)

    drive(scenario)


def test_an_empty_history_says_what_to_do(drive: Drive, provider: Upstream, tmp_path: Path) -> None:
    home = tmp_path / "empty"
    home.mkdir()
    program = Program(home, provider)
    program.start()

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await pilot.press("f4")
        await until(pilot, lambda: "Nothing here yet" in shown(app))
        asked(program, "The first one")
        app.check_daemon()
        await until(pilot, lambda: "The first one" in shown(app))
        assert "Nothing here yet" not in shown(app)

    try:
        drive(scenario, url=program.url)
    finally:
        program.close()


def test_without_a_daemon_what_is_shown_stays_and_comes_back_to_life(
    drive: Drive, provider: Upstream, tmp_path: Path
) -> None:
    home = tmp_path / "own"
    home.mkdir()
    program = Program(home, provider)
    process = program.start()
    url = program.url
    asked(program, "Will this stay?")

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        process.kill()
        process.wait()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "not up to date" in shown(app))
        await until(pilot, lambda: "no daemon answers" in shown(app))
        assert "Will this stay?" in shown(app)
        await pilot.press("t", "escape", "y", "d", "y")  # none of which may end the app
        program.restart_at(url)
        asked(program, "And this comes.")
        app.check_daemon()
        await until(pilot, lambda: "And this comes." in shown(app))
        assert len(ids(history)) == 2

    try:
        drive(scenario, url=url)
    finally:
        program.close()


# Search and filters


def test_a_search_finds_as_one_types_and_marks_what_it_found(
    drive: Drive, program: Program, provider: Upstream
) -> None:
    provider.scripts = [answer("It is the quokka that smiles.")]
    found = asked(program, "Which animal smiles most?")

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        before = ids(history)
        await search(pilot, history, "quok")
        assert ids(history) == [found]  # a word of the answer, and not yet all of it
        assert "1 found" in shown(app)
        await detail_of(pilot, history, found)
        await until(pilot, lambda: "quokka" in shown(app))
        await pilot.press("enter")
        assert history.requests.has_focus
        await pilot.press("escape")
        await until(pilot, lambda: len(ids(history)) == len(before))
        assert not history.words.value

    drive(scenario)


def test_escape_clears_a_search_and_then_leaves_its_line(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await search(pilot, history, "zzzzqqqq")
        await until(pilot, lambda: "Nothing found for zzzzqqqq" in shown(app))
        assert "esc clears the search" in shown(app)
        await pilot.press("escape")
        assert history.words.has_focus
        await until(pilot, lambda: ids(history))
        await pilot.press("escape")
        assert history.requests.has_focus

    drive(scenario)


def test_filters_hold_together_until_one_key_clears_them(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, FilterScreen))
        await until(pilot, lambda: "function-calling" in shown(app))
        await write(pilot, "sel")
        await until(pilot, lambda: app.screen.query_one("#kind", Input)._suggestion)
        await pilot.press("right", "tab")
        await write(pilot, "nsfw")
        await pilot.press("enter")
        await until(
            pilot,
            lambda: (
                {(row["kind"], row["category"]) for row in history.requests.rows}
                == {("select", "nsfw")}
            ),
        )
        assert "select · nsfw" in shown(app)
        await pilot.press("x")
        await until(pilot, lambda: len(ids(history)) == PAGE)
        assert "select · nsfw" not in shown(app)

    drive(scenario)


def test_a_filter_that_means_nothing_is_not_applied(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, FilterScreen))
        app.screen.query_one("#since", Input).value = "soon"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query_one("#since").has_focus)
        app.screen.query_one("#since", Input).value = "today"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
        await until(pilot, lambda: "today  x clears" in shown(app))
        assert history._filters == Filters(since="today")

    drive(scenario)


def test_a_span_begins_at_a_midnight_of_this_place() -> None:
    def begin(span: str) -> datetime:
        return datetime.fromisoformat(Filters(since=span).parameters()["since"]).astimezone()

    today = begin("today")
    assert (today.hour, today.minute) == (0, 0)
    assert datetime.now(UTC) - today < timedelta(days=1, hours=1)
    assert begin("7 days").date() == today.date() - timedelta(days=7)
    assert begin("2026-01-31").isoformat().startswith("2026-01-31T00:00:00")
    with pytest.raises(ValueError, match="soon"):
        begin("soon")


# The detail


def test_all_that_is_known_of_a_request_is_shown(
    drive: Drive, program: Program, provider: Upstream
) -> None:
    provider.scripts = [answer("## Because\n\n", "- of **scattering**")]
    request_id = asked(program, "Why is the sky blue?")

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        request = await detail_of(pilot, history, request_id)
        await until(pilot, lambda: "FIGURES" in shown(app))
        text = shown(app)
        for seen in ("PROMPT", "ANSWER", "Because", "• of scattering", "CATEGORIES", "first token"):
            assert seen in text
        for category in request["scores"]:
            assert category in text

    drive(scenario, size=WIDE)


def test_the_detail_follows_the_cursor_to_where_it_comes_to_rest(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await pilot.press(*"jjjjjjjj")
        assert history.requests.row
        request = await detail_of(pilot, history, history.requests.row["id"])
        start = plain(request["input"])[:20].strip()
        await until(pilot, lambda: start in shown(app))

    drive(scenario, size=WIDE)


def test_a_click_chooses_and_a_second_one_opens(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await pilot.click(history.requests, offset=(20, 4))  # below the titles
        assert history.requests.cursor == 3
        await pilot.click(history.requests, offset=(20, 5), times=2)
        await until(pilot, lambda: history.detail.has_focus)
        assert history.requests.cursor == 4

    drive(scenario)


def test_a_failure_is_told_with_its_sentence(
    drive: Drive, program: Program, provider: Upstream
) -> None:
    provider.scripts = [failure(400, "the prompt is not to its taste")]
    body = {"prompt": "Anything", "model": "llama-3.1-8b-instant"}
    with contextlib.suppress(StopIteration):  # no usage of an answer that failed
        post(program, "/api/generate", body)

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        assert history.requests.row
        request = await detail_of(pilot, history, history.requests.row["id"])
        assert request["status"] == "error"
        await until(pilot, lambda: "not to its taste" in shown(app))

    drive(scenario, size=WIDE)


def test_a_long_text_is_cut_on_the_screen_only(
    drive: Drive, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "word " * 6_000 + "the very end"
    request_id = post(program, "/api/classify", {"prompt": text})
    monkeypatch.chdir(tmp_path)

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await detail_of(pilot, history, request_id)
        await pilot.press("enter")
        await until(pilot, lambda: history.detail.has_focus)
        await pilot.press("n", "n")  # past the prompt
        await pilot.press("k", "k", "k", "k")
        await until(pilot, lambda: "10,012 more characters" in shown(app))
        await pilot.press("Y")
        await until(pilot, lambda: app.clipboard == text)
        await pilot.press("e")
        await until(pilot, lambda: list(tmp_path.glob("*.md")))

    drive(scenario, size=WIDE)
    (exported,) = tmp_path.glob("*.md")
    assert text in exported.read_text("utf-8")


def test_a_narrow_screen_shows_one_thing_at_a_time(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        assert not history.detail.region
        await pilot.press("j", "enter")
        await until(pilot, lambda: "FIGURES" in shown(app) or "PROMPT" in shown(app))
        await until(pilot, lambda: history.detail.has_focus)
        assert not history.requests.region
        await pilot.press("escape")
        await until(pilot, lambda: history.requests.region and history.requests.has_focus)

    drive(scenario, size=NARROW)


# What keys do


def test_answers_and_prompts_are_copied(drive: Drive, program: Program, provider: Upstream) -> None:
    provider.scripts = [answer("Forty-", "two.")]
    asked(program, "What is the answer?")

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        await pilot.press("y")
        await until(pilot, lambda: app.clipboard == "Forty-two.")
        await pilot.press("Y")
        await until(pilot, lambda: app.clipboard == "What is the answer?")

    drive(scenario)


def test_copied_by_the_first_tool_of_the_system_that_works(
    drive: Drive, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "copied"
    for name, script in (("wl-copy", "exit 1"), ("xclip", f"exec /bin/cat > {copied}")):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    request_id = post(program, "/api/classify", {"prompt": "What is copied?"})

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await detail_of(pilot, history, request_id)
        await pilot.press("Y")
        await until(pilot, lambda: copied.exists() and copied.read_text() == "What is copied?")
        assert app.clipboard == ""

    drive(scenario, size=WIDE)


def test_a_request_is_exported_as_a_document(program: Program, provider: Upstream) -> None:
    provider.scripts = [answer("Forty-two.")]
    request = program.recorded(asked(program, "What is the answer?"))
    document = as_markdown(request)
    assert document.startswith("# Select, ")
    assert f"- model: {request['model']} groq" in document
    assert "## Prompt\n\nWhat is the answer?\n\n## Answer\n\nForty-two.\n" in document


def test_a_prompt_is_asked_again(drive: Drive, program: Program, provider: Upstream) -> None:
    provider.scripts = [answer("Once."), answer("Twice.")]
    asked(program, "Again?")

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, AskScreen) and "Twice." in shown(app))

    drive(scenario)
    assert provider.bodies[-1]["messages"] == [{"role": "user", "content": "Again?"}]


def test_a_draft_is_not_lost_to_a_prompt_that_is_asked_again(
    drive: Drive, program: Program, provider: Upstream
) -> None:
    asked(program, "Again?")
    count = len(provider.requests)

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await write(pilot, "a thought")
        await opened(pilot, app)
        await pilot.press("r")
        await until(pilot, lambda: app._notifications)
        assert isinstance(app.screen, AskScreen)
        assert app.screen.composer.text == "a thought"

    drive(scenario)
    assert len(provider.requests) == count


def test_a_prompt_is_asked_again_of_another_model(
    drive: Drive, program: Program, provider: Upstream
) -> None:
    provider.scripts = [answer("Here.")]
    asked(program, "And elsewhere?")

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, RerunScreen))
        dialog = app.screen
        assert isinstance(dialog, RerunScreen)
        dialog.model.value = "m1"
        dialog.compress.value = "a lot"  # which is no ratio
        await pilot.press("enter")
        assert app.screen is dialog
        dialog.compress.value = "0.5"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, AskScreen) and "Here." in shown(app))
        assert (app.state.settings.model, app.state.settings.compress) == ("m1", "0.5")

    drive(scenario)
    assert provider.bodies[-1]["model"] == "m1"


def test_a_text_is_sent_to_compress(drive: Drive, program: Program) -> None:
    post(program, "/api/compress", {"text": "Some text that is long.", "ratio": 0.5})

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        assert history.requests.row
        assert history.requests.row["kind"] == "compress"
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, CompressScreen))
        assert isinstance(app.screen, CompressScreen)
        compress = app.screen
        await until(pilot, lambda: compress.source.text == "Some text that is long.")

    drive(scenario)


def test_a_request_is_deleted_after_a_yes(drive: Drive, program: Program) -> None:
    gone = post(program, "/api/classify", {"prompt": "This goes"})
    post(program, "/api/classify", {"prompt": "This stays"})

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await pilot.press("j")
        assert history.requests.row
        assert history.requests.row["id"] == gone
        after = ids(history)[2]
        await pilot.press("d")
        await until(pilot, lambda: "Delete this classify request?" in shown(app))
        await pilot.press("n")
        assert ids(history)[1] == gone
        await pilot.press("d")
        await until(pilot, lambda: "Delete this classify request?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: gone not in ids(history))
        assert history.requests.row["id"] == after
        await detail_of(pilot, history, after)

    drive(scenario)
    assert not program.recorded(gone)


def test_a_category_is_corrected_and_taken_back(drive: Drive, program: Program) -> None:
    request_id = post(program, "/api/classify", {"prompt": "Translate this into French, please"})
    found = program.recorded(request_id)["category"]

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        history = await opened(pilot, app)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, RelabelScreen))
        await until(pilot, lambda: f"{found} " in shown(app) and "found" in shown(app))
        await pilot.press("tab")
        await write(pilot, "poetry")
        await pilot.press("enter")
        await until(pilot, lambda: "corrected to poetry" in shown(app))
        assert program.recorded(request_id)["corrected_category"] == "poetry"
        await pilot.press("t")
        await until(pilot, lambda: "Take the correction back" in shown(app))
        await pilot.press("G", "enter")
        await until(pilot, lambda: "corrected to poetry" not in shown(app))
        assert "corrected_category" not in program.recorded(request_id)
        assert history.requests.row

    drive(scenario, size=WIDE)


def test_what_was_not_classified_has_no_category_to_correct(drive: Drive, program: Program) -> None:
    post(program, "/api/compress", {"text": "Some text that is long.", "ratio": 0.5})

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        await pilot.press("t")
        await until(pilot, lambda: app._notifications)
        assert "It was not classified" in next(iter(app._notifications)).message
        assert isinstance(app.screen, HistoryScreen)

    drive(scenario)


def test_the_first_word_is_told_where_something_came_before_it() -> None:
    request = {"kind": "chat", "created_at": "2026-03-06", "duration_ms": 1.0, "latency_ms": 2000.0}
    for first_word_ms, told in ((900.0, True), (250.0, False), (None, False)):
        speed = dict(facts({**request, "ttft_ms": 250.0, "first_word_ms": first_word_ms}))["speed"]
        assert speed.startswith("first token after 250 ms")
        assert ("first word after 900 ms" in speed) == told


# Words


@pytest.mark.parametrize(
    ("query", "text", "marked"),
    [
        ('lock "the', "The Locksmith unlocked another", ["The", "Lock"]),
        ("世界", "你好世界", ["世界"]),
        ("错误 timeout", "请把timeout改成30秒，错误", ["timeout", "错误"]),
        (
            "user",
            "getUserById, user_id, HTTPUser, 2user and abuser",
            ["User", "user", "User", "user"],
        ),
        ("cafe", "Café, cafe\u0301, cafè, decaf", ["Café", "cafe\u0301", "cafè"]),
        ("CAFÉ", "cafe", ["cafe"]),
        ("C++ c#", "C, C++ and C#", ["C++", "C#"]),
        ("f(x) .net", "f(x), f x, .NET, network", ["f(x)", ".NET"]),
        ("8.0.3", "10.8.0.31 and 18.0.3", ["8.0.3"]),
        ("🙂 [a-z]*", "a 🙂 [a-z]*", ["🙂", "[a-z]*"]),
        ("backup? 'db-2'", "the backup of db-2", ["backup", "db-2"]),
        ("bert Robert", "Robert", ["Robert"]),
        ("\u0301", "cafe", []),
    ],
)
def test_what_the_search_finds_is_marked(query: str, text: str, marked: list[str]) -> None:
    matches = matches_of(query)
    assert matches
    assert [match.group() for match in matches.finditer(text)] == marked


def test_no_words_mark_nothing() -> None:
    assert matches_of(" \u3000 ") is None


def test_nothing_in_a_text_reaches_the_terminal_but_letters() -> None:
    assert plain("a\x1b[31mb\x9bc\r\n\td") == "a [31mb c\n\td"
