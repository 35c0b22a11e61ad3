"""The ledger: the durable record of a run, one SQLite file that every stage reads and writes.

One process writes (it holds the lock of the run directory), any number read. Each method that writes is one
transaction, so a process that is killed at any moment leaves a whole ledger. The tables are described in
`docs/ledger.md`.
"""

from lossmith.ledger.ledger import Ledger
from lossmith.ledger.rows import CandidateRow, EvaluationKey, EvaluationRow, LossRow, SessionRow, TaskRow
from lossmith.ledger.schema import FILE, SCHEMA_VERSION

__all__ = [
    "FILE",
    "SCHEMA_VERSION",
    "CandidateRow",
    "EvaluationKey",
    "EvaluationRow",
    "Ledger",
    "LossRow",
    "SessionRow",
    "TaskRow",
]
