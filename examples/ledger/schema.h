/*
 * schema.h - the tables and views of a ledger, version 1.
 *
 * 64-bit numbers without a sign (stream, sequence) are kept by their bits, since SQLite's
 * integers have one. A program or mapping whose bytes are no valid name, and a staker that has
 * not 32 bytes, is kept as a BLOB of what came.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEDGER_SCHEMA_H
#define LEDGER_SCHEMA_H

#define LEDGER_APPLICATION_ID 0x4c454447 /* "LEDG", PRAGMA application_id */
#define LEDGER_SCHEMA_VERSION 1          /* PRAGMA user_version */

static const char *const ledger_schema[] = {
    /* How far each stream is recorded; written in the transaction of its events. */
    "CREATE TABLE progress ("
    " stream INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, height INTEGER, time_ns INTEGER)",

    /* What every mapping holds now. owner: the key as text, if it is an address. microcredits:
     * the value, or its member of that name, if it is a u64 below 2^63. */
    "CREATE TABLE mapping_state ("
    " program TEXT, mapping TEXT, key BLOB, value BLOB NOT NULL, owner TEXT,"
    " microcredits INTEGER, height INTEGER, stream INTEGER, sequence INTEGER,"
    " PRIMARY KEY (program, mapping, key)) WITHOUT ROWID",

    /* What happened to them. No value: a removal; no key either: of the whole mapping. */
    "CREATE TABLE mapping_history ("
    " stream INTEGER, sequence INTEGER, height INTEGER, time_ns INTEGER, program TEXT,"
    " mapping TEXT, key BLOB, value BLOB, microcredits INTEGER,"
    " PRIMARY KEY (stream, sequence)) WITHOUT ROWID",
    "CREATE INDEX mapping_history_by_key ON mapping_history (program, mapping, key, height)",

    "CREATE TABLE staking_rewards ("
    " stream INTEGER, sequence INTEGER, height INTEGER, time_ns INTEGER, staker TEXT,"
    " validator TEXT, reward, new_stake, PRIMARY KEY (stream, sequence)) WITHOUT ROWID",
    "CREATE INDEX staking_rewards_by_staker ON staking_rewards (staker, height)",

    /* hash to timestamp are NULL where the bytes do not begin like a block of version 1. */
    "CREATE TABLE blocks ("
    " stream INTEGER, sequence INTEGER, height INTEGER, time_ns INTEGER, bytes INTEGER,"
    " hash TEXT, previous_hash TEXT, round INTEGER, timestamp INTEGER,"
    " PRIMARY KEY (stream, sequence)) WITHOUT ROWID",
    "CREATE INDEX blocks_by_height ON blocks (height)",

    /* Events that never arrived, or that could not be recorded ("refused"). A row here means that
     * the rest may be incomplete. */
    "CREATE TABLE gaps ("
    " id INTEGER PRIMARY KEY, count INTEGER NOT NULL, reasons TEXT NOT NULL,"
    " first_height INTEGER, last_height INTEGER, kinds INTEGER, first_ordinal INTEGER,"
    " last_ordinal INTEGER, time_ns INTEGER)",

    /* Amounts are in microcredits; credits is the same as exact decimal text. */
    "CREATE VIEW account_balances AS SELECT owner AS address, microcredits,"
    " printf('%d.%06d', microcredits / 1000000, microcredits % 1000000) AS credits,"
    " height, lower(hex(substr(key, 4))) AS owner_hex FROM mapping_state"
    " WHERE program = 'credits.aleo' AND mapping = 'account'",
    "CREATE VIEW bonded_stakes AS SELECT owner AS address, microcredits,"
    " printf('%d.%06d', microcredits / 1000000, microcredits % 1000000) AS credits,"
    " height, lower(hex(substr(key, 4))) AS owner_hex FROM mapping_state"
    " WHERE program = 'credits.aleo' AND mapping = 'bonded'",
    "CREATE VIEW supply AS SELECT account, bonded, account + bonded AS total FROM ("
    " SELECT (SELECT coalesce(sum(microcredits), 0) FROM account_balances) AS account,"
    " (SELECT coalesce(sum(microcredits), 0) FROM bonded_stakes) AS bonded)",
    "CREATE VIEW account_history AS SELECT s.owner AS address, h.microcredits, h.height,"
    " h.time_ns, lower(hex(substr(h.key, 4))) AS owner_hex FROM mapping_history h"
    " LEFT JOIN mapping_state s USING (program, mapping, key)"
    " WHERE h.program = 'credits.aleo' AND h.mapping = 'account'",
};

#endif
