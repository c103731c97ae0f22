"""Codes of the refusals and problems that the rules themselves can give.

Each code is explained in docs/errors.md; a test holds the two lists equal.
"""

from __future__ import annotations

from typing import Final

CODES: Final = {
    "unknown_collection": "the catalogue has no collection of this name",
    "unknown_record": "nothing is known of a record with this id",
    "unknown_op": "the mutation's op is none of create, set, delete, restore",
    "bad_id": "a record id that is no UUID",
    "bad_mutation": "the mutation does not have the shape the protocol gives it",
    "withheld": "the device kept back what it wrote, because it is larger than the hub takes at once",
    "invalid": "an unknown field, a value that does not fit its kind, or an operation it has not",
    "missing_parent": "the record that this one belongs to is not known",
    "record_deleted": "the writer knew that the record was deleted and edited it all the same",
    "not_owner": "the writer's authority class may not write this cell",
    "out_of_scope": "the person may not write this record and never had it",
    "tx_refused": "another mutation of the same tx was refused, so this one was not carried out",
    "unknown_person": "`by` names a person who is not enrolled on this replica",
    "base_clamped": "settled, but its base lay above all that this replica was ever served",
    "held_schema": "what was asked for fitted an older catalogue and does not fit the present one",
    "held_before": "the record, or the one it belongs to, is made by a mutation that is held",
    "held_tx": "another mutation of the same tx is held, so this one is held with it",
    "held_fault": "a mistake of the server kept it from being judged; a person looks at it",
    "held_fenced": "the device was revoked; its unsent work waits for a person",
    "verdict_expired": "this mutation was settled before; its verdict is no longer kept",
}
