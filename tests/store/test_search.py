"""What people type is found, in whatever script, and what isn't there is not."""

from __future__ import annotations

import contextlib
import sqlite3
from itertools import product
from string import ascii_lowercase, digits
from typing import Any

import pytest

from tests.store.rows import compression, generation, write
from tokenflowd.store import Filter, RequestRecord, Store

FOUND = [
    # Scripts without spaces, mixed with others
    ("错误 出现在 网关 的 日志 里", "错误 日志"),
    ("错误 出现在 网关 的 日志 里", "日志 错误"),
    ("错误 出现在 网关 的 日志 里", "错误，日志"),
    ("市议会批准了图书馆的改造计划", "图书馆"),
    ("市议会批准了图书馆的改造计划", "计划"),
    ("市议会批准了图书馆的改造计划", "划"),
    ("请把timeout改成30秒", "timeout"),
    ("请把timeout改成30秒", "TIME"),
    ("请把timeout改成30秒", "改成30秒"),
    ("请把timeout改成30秒", "30"),
    ("请把timeout改成30秒", "秒 把"),
    ("请用Go写一个HTTP服务器", "go 服务器"),
    ("データベースのバックアップを取る", "バックアップ"),
    ("データベースのバックアップを取る", "ベース 取る"),
    ("テ\u3099ータ.txt", "データ.txt"),
    ("テ\u3099ータ.txt", "デ"),
    ("ฉันต้องการสำรองฐานข้อมูล", "ฐานข้อมูล"),
    ("데이터베이스에서 오류가 났습니다", "데이터베이스 오류"),
    ("데이터베이스에서 오류가 났습니다", "베이스"),
    ("هذا هو الكتاب الجديد", "كتاب"),
    ("ההודעה נשלחה", "הודעה"),
    ("यह पुस्तकालय है", "पुस्तक"),
    ("Резервная копия базы", "копия РЕЗЕРВ"),
    ("Ο λόγος του ΛΌΓΟΥ", "λόγου"),
    ("Ο ΛΌΓΟΣ", "λόγος"),
    # Signs and emoji
    ("Is C++ faster than Rust?", "C++"),
    ("Is C++ faster than Rust?", "c++ rust"),
    ("Port it to C#.", "C#"),
    ("Port it to C#.", "c#"),
    ("a .NET service", ".NET"),
    ("let y = f(x) + 1", "f(x)"),
    ("shipped 🙂 today", "🙂"),
    ("shipped 🙂", "🙂"),
    ("I ❤ this and this ❤\ufe0f", "❤\ufe0f"),
    ("thumbs 👍🏽 up", "👍"),
    ("100% of it", "100%"),
    ("a -> b", "->"),
    ("a_b", "_"),
    ('{"name": "x"}', '"name":'),
    ("5 * 3", "*"),
    # Identifiers, in parts and as a whole
    ("call snake_case_name here", "snake_case_name"),
    ("call snake_case_name here", "case"),
    ("call snake_case_name here", "case_na"),
    ("call snake_case_name here", "_name"),
    ("the camelCaseName of it", "camelCaseName"),
    ("the camelCaseName of it", "casename"),
    ("the camelCaseName of it", "Name"),
    ("getUserById(7)", "user"),
    ("getUserById(7)", "userById"),
    ("getUserById(7)", "id"),
    ("a HTTPServer in utf8", "server"),
    ("a HTTPServer in utf8", "8"),
    ("see /var/log/nginx/error.log", "/var/log"),
    ("see /var/log/nginx/error.log", "nginx/error.log"),
    ("see /var/log/nginx/error.log", "log"),
    ("C:\\Users\\me\\notes.txt", "users\\me"),
    ("node-4 is down", "node-4"),
    ("node-4 is down", "4"),
    ("from 10.8.0.31 to 10.8.0.1", "10.8.0.31"),
    ("from 10.8.0.31 to 10.8.0.1", "0.31"),
    ("python-3.11.7-slim", "3.11.7"),
    ("release v2.10.3", "2.10"),
    ("9f86d081884c7d659a2feaa0", "9f86d081"),
    ("a1" * 400, "a1" * 300),
    # Words: in any order, any case, with and without accents, half
    ("restore the backup of db-2", "backup restore"),
    ("restore the backup of db-2", "db-2 rest"),
    ("restore the backup of db-2", "BACKUP"),
    ("restore the backup of db-2", '"backup restore"'),
    ("restore the backup of db-2", "backup?"),
    ("Datensicherungskonzept prüfen", "datensich"),
    ("Datensicherungskonzept prüfen", "PRÜFEN"),
    ("Datensicherungskonzept prüfen", "prufen"),
    ("un cafe\u0301 à Málaga", "café malaga"),
    ("l'été à la pre-école", "l'ete pre-ecole"),
    ("tiếng Việt được dùng", "tieng viet"),
    ("ÜBER alles", "über"),
    ("cafe", "café"),
    # What is syntax elsewhere
    ("black AND white", "AND white"),
    ("NOT near(it)", "NEAR(it)"),
    ("col:value", "col:value"),
    ("say \"hello\" 'there'", '"hello"'),
    ("say \"hello\" 'there'", "'there'"),
    ("^start and end$", "^start"),
]
NOT_FOUND = [
    ("错误 出现在 网关 的 日志 里", "错误 数据库"),
    ("错误 出现在 网关 的 日志 里", "误出"),
    ("市议会批准了图书馆的改造计划", "图_馆"),
    ("市议会批准了图书馆的改造计划", "图%馆"),
    ("market stalls", "市"),
    ("Is C better than C#?", "C++"),
    ("Is C better than C++?", "C#"),
    ("the network is slow", ".NET"),
    ("f (x) and g(x)", "f(x)"),
    ("shipped 🙃 today", "🙂"),
    ("the snake in case of a name", "snake_case"),
    ("an abuser", "user"),
    ("The Locksmith unlocked another", "nother"),
    ("unlocked", "lock"),
    ("GETUSER", "user"),
    ("node 4 and node-5", "node-4"),
    ("from 10.8.0.3", "10.8.0.31"),
    ("from 110.8.0.31", "10.8.0.31"),
    ("from 10x8y0z31", "10.8.0.31"),
    ("error 1503", "503"),
    ("restore the backup", "backup AND restored"),
    ("restore the backup", "backup OR"),
    ("restore the backup", "back*"),
    ("restore the backup", "backups"),
    ("restore the backup", "xyz -backup"),
    ("ab bcd abd", "abcd"),
    ("anything", "?"),
    ("anything", "\u0301"),
]


def found(store: Store, query: str, **more: Any) -> list[str]:
    return [row["id"] for row in store.history.page(Filter(query=query, **more))]


@pytest.fixture
def crowded(store: Store) -> Store:
    """So that every letter and digit is common."""
    words = " ".join(map("".join, product(ascii_lowercase + digits, repeat=3)))
    write(store, compression(words, created_at="2020-01-01T00:00:00.000Z"))
    return store


@pytest.mark.parametrize(("text", "query"), FOUND)
def test_what_stands_in_a_text_is_found(crowded: Store, text: str, query: str) -> None:
    record = compression(text)
    write(crowded, record)
    assert record.id in found(crowded, query)


@pytest.mark.parametrize(("text", "query"), NOT_FOUND)
def test_what_does_not_is_not(store: Store, text: str, query: str) -> None:
    write(store, compression(text))
    assert found(store, query) == []


@pytest.mark.parametrize("query", ["错误 timeout", "timeout 错误", "🙂 错误", "a-1 🙂"])
def test_one_word_may_be_in_the_prompt_and_another_in_the_answer(store: Store, query: str) -> None:
    record = generation("timeout 🙂 in a-1", "是网关的错误")
    both = generation("timeout", "错误 a-1 🙂")
    write(store, record, both, generation("timeout 🙂"), generation(answer="网关的错误"))
    assert found(store, query) == [both.id, record.id]


@pytest.mark.parametrize("query", ["text", "文", "文字", "t", "++"])
def test_the_newest_come_first_and_pages_follow_each_other(store: Store, query: str) -> None:
    records = [compression(f"text 文字 ++ {number}") for number in range(7)]
    write(store, *records)
    newest_first = [record.id for record in reversed(records)]
    first = found(store, query, limit=4)
    assert first == newest_first[:4]
    assert found(store, query, limit=4, before=first[-1]) == newest_first[4:]


def test_a_search_is_one_condition_among_others(store: Store) -> None:
    asked, compressed = generation("错误 日志"), compression("错误 日志")
    write(store, asked, compressed)
    assert found(store, "错误", kind="compress") == [compressed.id]
    assert found(store, "错误", model="small") == [asked.id]
    assert found(store, "错误", since="2999-01-01") == []


@pytest.mark.parametrize("query", ["", "  ", "\u3000", "\0", "\ud800"])
def test_no_words_leave_nothing_out(store: Store, query: str) -> None:
    record = compression()
    write(store, record)
    assert found(store, query) == [record.id]


def test_a_pasted_page_finds_where_it_came_from(store: Store) -> None:
    page = " ".join(f"word{number} 字{number}" for number in range(500))
    record = compression(f"Before it. {page} After it.")
    write(store, record, compression(page.replace("word499", "word")))
    assert found(store, page) == [record.id]


def test_a_request_without_texts_is_in_nobodys_way(store: Store) -> None:
    record = compression("text")
    write(store, RequestRecord("compress", "test", error_type="busy"), record)
    assert found(store, "te") == [record.id]
    assert store.delete(record.id).result(5)
    assert found(store, "te") == []


def test_what_was_deleted_is_in_no_index_after_a_vacuum(store: Store) -> None:
    gone, kept = compression("错误 xylophone"), compression("日志 zebra")
    write(store, gone, kept)
    assert store.delete(gone.id).result(5)
    assert found(store, "错误") == found(store, "xylo") == []
    store.vacuum().result(30)
    with contextlib.closing(sqlite3.connect(store.path)) as reader:
        terms = []
        for index in ("requests_fts", "requests_trigrams"):
            reader.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
            reader.execute(
                f"CREATE VIRTUAL TABLE temp.v_{index} USING fts5vocab(main, {index}, row)"
            )
            terms += [term for (term,) in reader.execute(f"SELECT term FROM temp.v_{index}")]
    assert any("zeb" in term for term in terms)
    assert any("日志" in term for term in terms)
    assert not any("xyl" in term or "错误" in term for term in terms)
    assert found(store, "日志 zebra") == [kept.id]
