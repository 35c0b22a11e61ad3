"""The tables of a ledger, and what tells its file from others."""

from __future__ import annotations

FILE = "ledger.sqlite"
LOCK = "lock"
NEW = FILE + ".new"  # while it is being made
SCHEMA_VERSION = 4
APPLICATION_ID = 0x4C6F5353  # "LoSS": tells a ledger from any other SQLite file

_RESULTS = """
CREATE TABLE results (                  -- what a stage after the search found
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,                 -- the stage: elimination, fidelity, transfer, confirmation
    created REAL NOT NULL,
    content TEXT NOT NULL               -- JSON; figures name the evaluations that they come from
) STRICT
"""
SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE run (
    created REAL NOT NULL,              -- Unix time, as all times here
    configuration TEXT NOT NULL         -- JSON of RunConfig
) STRICT;
CREATE TABLE sessions (                 -- one row for each process that wrote
    id INTEGER PRIMARY KEY,
    command TEXT NOT NULL,
    started REAL NOT NULL,
    seconds REAL NOT NULL DEFAULT 0,    -- wall time, brought up to date with every evaluation
    workers INTEGER NOT NULL,
    versions TEXT NOT NULL              -- JSON: lossmith, torch, numpy, python, platform
) STRICT;
CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    configuration TEXT NOT NULL,        -- JSON of TaskConfig
    data_checksum TEXT NOT NULL,
    plan TEXT                           -- JSON of Plan: how its losses are trained; NULL: one at a time, in float32
) STRICT;
CREATE TABLE losses (
    key TEXT PRIMARY KEY,               -- of the expression; 'zoo:...' for a loss of the zoo
    formula TEXT NOT NULL,
    flip INTEGER                        -- 1 where the loss is -1 times the formula; NULL for the zoo
) STRICT;
CREATE TABLE candidates (
    number INTEGER PRIMARY KEY,         -- in the order of asking
    stage TEXT NOT NULL,
    iteration INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    loss TEXT NOT NULL REFERENCES losses(key),
    genome TEXT NOT NULL,               -- JSON of Genome.nodes()
    parent INTEGER,                     -- candidate number
    mutation TEXT,                      -- JSON: kind, node, before, after
    refused TEXT NOT NULL,              -- JSON: drafts refused before this one, by reason
    asked INTEGER NOT NULL UNIQUE,      -- place in the order of events (asks and tells)
    told INTEGER UNIQUE,                -- likewise; NULL while the outcome is not known to the search
    evaluation INTEGER REFERENCES evaluations(id),
    rung_seconds TEXT NOT NULL DEFAULT '{{}}' -- JSON: what the rungs took to find it, by the reason each refuses with
) STRICT;
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY,
    loss TEXT NOT NULL REFERENCES losses(key),
    task TEXT NOT NULL REFERENCES tasks(task_id),
    seed INTEGER NOT NULL,
    split TEXT NOT NULL,                -- the split that was scored: validation or test
    reason TEXT NOT NULL,               -- lossmith.verdict.Reason
    detail TEXT NOT NULL,
    score REAL,                         -- accuracy in [0, 1] after the last step; NULL unless reason is 'ok'
    nll REAL,
    ece REAL,
    steps INTEGER NOT NULL,
    seconds REAL NOT NULL,              -- of training
    curve TEXT NOT NULL,                -- JSON: one record per epoch
    worker INTEGER NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions(id),
    finished REAL NOT NULL,
    UNIQUE (loss, task, seed, split)
) STRICT;
CREATE TABLE abandoned (                -- iterations whose failed child had no valid new replacement
    event INTEGER PRIMARY KEY,          -- place in the order of events
    iteration INTEGER NOT NULL
) STRICT;
CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY,
    created REAL NOT NULL,
    content TEXT NOT NULL               -- JSON: task, split, losses, seeds, statistics
) STRICT;
{_RESULTS};
"""

# What makes a ledger of version N one of version N + 1, without touching what it holds.
MIGRATIONS = {
    1: "ALTER TABLE candidates ADD COLUMN rung_seconds TEXT NOT NULL DEFAULT '{}'",
    2: "ALTER TABLE tasks ADD COLUMN plan TEXT",
    3: _RESULTS,
}
