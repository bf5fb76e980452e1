"""The schema, as the named steps that led to it. A step that was released never changes."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("tokenflow")


@migrations()
def m001_requests(db: Database) -> None:
    """Requests with their compressions and classifications; every text once, searchable."""
    # One by one: sqlite3's executescript would commit the migration's own transaction.
    for statement in _M001.split(";\n\n"):
        db.execute(statement)


@migrations()
def m002_generations(db: Database) -> None:
    """Answers of providers, the messages that were sent, and what compression took."""
    for statement in _M002.split(";\n\n"):
        db.execute(statement)


@migrations()
def m003_corrections(db: Database) -> None:
    """Categories that somebody corrected, and which classifications they had a part in; an index
    for the figures of a period."""
    for statement in _M003.split(";\n\n"):
        db.execute(statement)


@migrations()
def m004_search(db: Database) -> None:
    """An index of trigrams, which finds signs, emoji and scripts without spaces; large parameters
    once, as texts; the time to the first word beside that to the first byte."""
    for statement in _M004.split(";\n\n"):
        db.execute(statement)


_M001 = """
CREATE TABLE texts (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL
);

CREATE TABLE requests (
    number INTEGER PRIMARY KEY,     -- in the order in which they were finished
    id TEXT NOT NULL UNIQUE,        -- ULID: sorts by the time of the start
    created_at TEXT NOT NULL,       -- ISO 8601, UTC
    kind TEXT NOT NULL,             -- compress, classify
    status TEXT NOT NULL,           -- ok, error
    error_type TEXT,
    error_detail TEXT,
    duration_ms REAL NOT NULL,
    client TEXT NOT NULL,
    model TEXT,
    input_text_id INTEGER REFERENCES texts(id),
    output_text_id INTEGER REFERENCES texts(id)
);

CREATE INDEX requests_input ON requests(input_text_id);

CREATE INDEX requests_output ON requests(output_text_id);

CREATE INDEX requests_kind ON requests(kind, number);

CREATE TABLE compressions (
    request_id TEXT PRIMARY KEY REFERENCES requests(id) ON DELETE CASCADE,
    tokenizer TEXT NOT NULL,
    mode TEXT NOT NULL,             -- budget, llmlingua
    budget INTEGER NOT NULL,        -- tokens that were asked for
    original_tokens INTEGER NOT NULL,
    compressed_tokens INTEGER NOT NULL,
    over_budget INTEGER NOT NULL,   -- 1: what had to be kept exceeds the budget
    options TEXT NOT NULL           -- JSON: what the request asked for besides
);

CREATE TABLE classifications (
    request_id TEXT PRIMARY KEY REFERENCES requests(id) ON DELETE CASCADE,
    top_category TEXT NOT NULL,
    confidence REAL NOT NULL,
    scores TEXT NOT NULL,           -- JSON: category -> score, highest first
    multi_label INTEGER NOT NULL,
    recommended_model TEXT NOT NULL
);

CREATE INDEX classifications_category ON classifications(top_category);

-- Full text is indexed by request, not by text, so that the newest matches are found first.
CREATE VIEW request_texts AS
SELECT r.number, i.text AS input, o.text AS output
FROM requests r
LEFT JOIN texts i ON i.id = r.input_text_id
LEFT JOIN texts o ON o.id = r.output_text_id;

CREATE VIRTUAL TABLE requests_fts USING fts5(
    input, output,
    content='request_texts', content_rowid='number',
    tokenize='unicode61 remove_diacritics 2'
);

CREATE TRIGGER requests_inserted AFTER INSERT ON requests BEGIN
    INSERT INTO requests_fts (rowid, input, output)
    SELECT number, input, output FROM request_texts WHERE number = new.number;
END;

CREATE TRIGGER requests_deleted BEFORE DELETE ON requests BEGIN
    INSERT INTO requests_fts (requests_fts, rowid, input, output)
    SELECT 'delete', number, input, output FROM request_texts WHERE number = old.number;
END;

CREATE VIEW history AS
SELECT r.number, r.id, r.created_at, r.kind, r.status, r.error_type, r.duration_ms, r.client,
       r.model, i.text AS input, o.text AS output,
       c.original_tokens, c.compressed_tokens,
       c.original_tokens - c.compressed_tokens AS saved_tokens,
       k.top_category AS category, k.confidence, k.recommended_model
FROM requests r
LEFT JOIN texts i ON i.id = r.input_text_id
LEFT JOIN texts o ON o.id = r.output_text_id
LEFT JOIN compressions c ON c.request_id = r.id
LEFT JOIN classifications k ON k.request_id = r.id;

CREATE VIEW daily_metrics AS
SELECT date(created_at) AS day, kind, count(*) AS requests,
       sum(status = 'error') AS errors,
       sum(original_tokens) AS original_tokens,
       sum(saved_tokens) AS saved_tokens,
       round(avg(duration_ms), 1) AS mean_ms
FROM history GROUP BY day, kind
"""

_M002 = """
CREATE TABLE generations (
    request_id TEXT PRIMARY KEY REFERENCES requests(id) ON DELETE CASCADE,
    wanted_model TEXT NOT NULL,     -- that was named, or ranks first
    provider TEXT,                  -- that answered; NULL: none did
    model TEXT,
    route TEXT NOT NULL,            -- why these models were asked
    attempts TEXT NOT NULL,         -- JSON: who was asked in vain, and what they said
    parameters TEXT NOT NULL,       -- JSON: what was sent besides model and messages
    partial INTEGER NOT NULL,       -- 1: the answer broke off
    finish_reason TEXT,             -- in the provider's words: stop, length, tool_calls
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    tokens_counted_by TEXT,         -- provider, or tokenflow where it reports none
    ttft_ms REAL,                   -- from the request to the first word of the answer
    latency_ms REAL,                -- from the request to the end of the answer
    cost_usd REAL,                  -- NULL: the price is not known
    compress_decision TEXT,         -- why the prompt was compressed or not; NULL: nobody asked
    saved_usd REAL,                 -- what the tokens that were left out would have cost
    saved_ms REAL                   -- estimated: reading them, less compressing them
);

CREATE INDEX generations_model ON generations(provider, model);

CREATE TABLE messages (
    request_id TEXT NOT NULL REFERENCES requests(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    role TEXT NOT NULL,
    text_id INTEGER NOT NULL REFERENCES texts(id),  -- as sent; JSON where it is not plain text
    PRIMARY KEY (request_id, position)
) WITHOUT ROWID;

CREATE INDEX messages_text ON messages(text_id);

ALTER TABLE compressions ADD COLUMN model_tokens INTEGER;

ALTER TABLE compressions ADD COLUMN compress_ms REAL;

DROP VIEW daily_metrics;

DROP VIEW history;

CREATE VIEW history AS
SELECT r.number, r.id, r.created_at, r.kind, r.status, r.error_type, r.duration_ms, r.client,
       r.model, i.text AS input, o.text AS output,
       c.original_tokens, c.compressed_tokens,
       c.original_tokens - c.compressed_tokens AS saved_tokens,
       k.top_category AS category, k.confidence, k.recommended_model,
       g.provider, g.wanted_model, g.partial, g.finish_reason, g.prompt_tokens,
       g.completion_tokens, g.ttft_ms, g.cost_usd, g.saved_usd
FROM requests r
LEFT JOIN texts i ON i.id = r.input_text_id
LEFT JOIN texts o ON o.id = r.output_text_id
LEFT JOIN compressions c ON c.request_id = r.id
LEFT JOIN classifications k ON k.request_id = r.id
LEFT JOIN generations g ON g.request_id = r.id;

CREATE VIEW daily_metrics AS
SELECT date(created_at) AS day, kind, count(*) AS requests,
       sum(status = 'error') AS errors,
       sum(original_tokens) AS original_tokens,
       sum(saved_tokens) AS saved_tokens,
       round(avg(duration_ms), 1) AS mean_ms,
       sum(prompt_tokens) AS prompt_tokens,
       sum(completion_tokens) AS completion_tokens,
       round(avg(ttft_ms), 1) AS mean_ttft_ms,
       sum(cost_usd) AS cost_usd,
       sum(saved_usd) AS saved_usd
FROM history GROUP BY day, kind
"""

_M003 = """
CREATE TABLE corrections (
    request_id TEXT PRIMARY KEY REFERENCES requests(id) ON DELETE CASCADE,
    category TEXT NOT NULL,         -- that it should have been
    created_at TEXT NOT NULL,       -- ISO 8601, UTC
    model TEXT NOT NULL,            -- the sentence encoder that made the vector
    vector BLOB NOT NULL            -- of the prompt: float32, little-endian, of length 1
);

CREATE INDEX corrections_category ON corrections(category);

CREATE INDEX requests_created_at ON requests(created_at);

-- The request whose correction had the greatest say in the scores; it may be gone since.
ALTER TABLE classifications ADD COLUMN corrected_by TEXT
"""

_M004 = """
-- Two spaces, so that the last characters begin a trigram, too.
CREATE VIEW request_trigram_texts AS
SELECT number, input || '  ' AS input, output || '  ' AS output FROM request_texts;

-- Without positions, which would make it five times as large: whoever searches compares the texts.
CREATE VIRTUAL TABLE requests_trigrams USING fts5(
    input, output,
    content='request_trigram_texts', content_rowid='number',
    tokenize='trigram', detail=none
);

CREATE TRIGGER requests_trigrams_inserted AFTER INSERT ON requests BEGIN
    INSERT INTO requests_trigrams (rowid, input, output)
    SELECT number, input, output FROM request_trigram_texts WHERE number = new.number;
END;

CREATE TRIGGER requests_trigrams_deleted BEFORE DELETE ON requests BEGIN
    INSERT INTO requests_trigrams (requests_trigrams, rowid, input, output)
    SELECT 'delete', number, input, output FROM request_trigram_texts WHERE number = old.number;
END;

INSERT INTO requests_trigrams (requests_trigrams) VALUES ('rebuild');

-- Parameters whose JSON is long. In generations.parameters they are null.
CREATE TABLE generation_parameters (
    request_id TEXT NOT NULL REFERENCES requests(id) ON DELETE CASCADE,
    name TEXT NOT NULL,             -- tools, functions, response_format, ...
    text_id INTEGER NOT NULL REFERENCES texts(id),  -- JSON
    PRIMARY KEY (request_id, name)
) WITHOUT ROWID;

CREATE INDEX generation_parameters_text ON generation_parameters(text_id);

-- From the request to the first word of the answer. From here on, ttft_ms is the time to the first
-- byte of anything: a role, reasoning, a tool call.
ALTER TABLE generations ADD COLUMN first_word_ms REAL;

-- Until here, it was the time to the first word or tool call.
UPDATE generations SET first_word_ms = ttft_ms WHERE finish_reason IS NOT 'tool_calls';

DROP VIEW daily_metrics;

DROP VIEW history;

CREATE VIEW history AS
SELECT r.number, r.id, r.created_at, r.kind, r.status, r.error_type, r.duration_ms, r.client,
       r.model, i.text AS input, o.text AS output,
       c.original_tokens, c.compressed_tokens,
       c.original_tokens - c.compressed_tokens AS saved_tokens,
       k.top_category AS category, k.confidence, k.recommended_model,
       g.provider, g.wanted_model, g.partial, g.finish_reason, g.prompt_tokens,
       g.completion_tokens, g.ttft_ms, g.first_word_ms, g.cost_usd, g.saved_usd
FROM requests r
LEFT JOIN texts i ON i.id = r.input_text_id
LEFT JOIN texts o ON o.id = r.output_text_id
LEFT JOIN compressions c ON c.request_id = r.id
LEFT JOIN classifications k ON k.request_id = r.id
LEFT JOIN generations g ON g.request_id = r.id;

CREATE VIEW daily_metrics AS
SELECT date(created_at) AS day, kind, count(*) AS requests,
       sum(status = 'error') AS errors,
       sum(original_tokens) AS original_tokens,
       sum(saved_tokens) AS saved_tokens,
       round(avg(duration_ms), 1) AS mean_ms,
       sum(prompt_tokens) AS prompt_tokens,
       sum(completion_tokens) AS completion_tokens,
       round(avg(ttft_ms), 1) AS mean_ttft_ms,
       round(avg(first_word_ms), 1) AS mean_first_word_ms,
       sum(cost_usd) AS cost_usd,
       sum(saved_usd) AS saved_usd
FROM history GROUP BY day, kind
"""
