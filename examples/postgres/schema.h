/*
 * schema.h - the tables, and the statements that write them. Included by rows.c alone.
 *
 * (stream, sequence) names an event for good: what comes again after a crash is there already and
 * changes nothing. Both are unsigned in the contract; a value of 2^63 or more is stored as what
 * the same 64 bits mean with a sign. Amounts are in microcredits. Names and addresses are text
 * where they are Aleo's, or printable; else their bytes in hex behind "\x".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef POSTGRES_SCHEMA_H
#define POSTGRES_SCHEMA_H

#define EVENT_COLUMNS                                                                     \
    "stream bigint NOT NULL, sequence bigint NOT NULL, height bigint, time timestamptz NOT NULL"

/* %1$s is the table; the server names the indexes. */
static const char *const tables[ROWS_TABLES][3] = {
    /* key is NULL: the whole mapping was removed; value is NULL: the key was. id grows in the
     * order of delivery. */
    [ROWS_HISTORY] =
        {"CREATE TABLE %1$s (id bigint GENERATED ALWAYS AS IDENTITY, " EVENT_COLUMNS
         ", program text NOT NULL, mapping text NOT NULL, key bytea, value bytea,"
         " PRIMARY KEY (stream, sequence))"},
    /* A key that was removed stays, with value NULL, so that an older event that comes late (a
     * dead letter that is delivered again) does not bring it back. Keys are found by their hash:
     * one of several kilobytes fits into no index. */
    [ROWS_STATE] =
        {"CREATE TABLE %1$s (program text NOT NULL, mapping text NOT NULL,"
         " key bytea NOT NULL, value bytea, " EVENT_COLUMNS ")",
         "CREATE UNIQUE INDEX ON %1$s (program, mapping, sha256(key))"},
    [ROWS_REWARDS] =
        {"CREATE TABLE %1$s (" EVENT_COLUMNS ", staker text NOT NULL,"
         " validator text NOT NULL, reward numeric(20) NOT NULL, new_stake numeric(20) NOT NULL,"
         " PRIMARY KEY (stream, sequence))",
         "CREATE INDEX ON %1$s (staker, height)"},
    [ROWS_BLOCKS] =
        {"CREATE TABLE %1$s (" EVENT_COLUMNS ", block bytea NOT NULL,"
         " PRIMARY KEY (stream, sequence))",
         "CREATE INDEX ON %1$s (height)"},
    /* Events that never arrived: a row here means that the rest may be incomplete. kinds and
     * reasons are the sets of the contract. */
    [ROWS_GAPS] =
        {"CREATE TABLE %1$s (time timestamptz NOT NULL, count bigint NOT NULL,"
         " reasons bigint NOT NULL, kinds bigint NOT NULL, first_height bigint,"
         " last_height bigint, lost_stream bigint NOT NULL, first_sequence bigint NOT NULL,"
         " last_sequence bigint NOT NULL)"},
};

/* The types of a statement's arrays: i bigint, m timestamptz, t text, b bytea. */
#define ALL "$1, $2, $3, $4"

static const struct {
    const char *types;
    rows_table first; /* %1$s */
    rows_table other; /* %2$s */
    const char *sql;
} statements[ROWS_STATEMENTS] = {
    [ROWS_CHANGE] =
        {"iiimttbb", ROWS_HISTORY, ROWS_STATE,
         "WITH fresh AS (INSERT INTO %1$s (stream, sequence, height, time, program, mapping, key,"
         " value) SELECT e.a, e.b, e.c, e.d, e.e, e.f, e.g, e.h"
         " FROM unnest(" ALL ", $5, $6, $7, $8) WITH ORDINALITY AS e(a, b, c, d, e, f, g, h, n)"
         " ORDER BY n ON CONFLICT (stream, sequence) DO NOTHING RETURNING *)"
         " INSERT INTO %2$s AS s (program, mapping, key, value, stream, sequence, height, time)"
         " SELECT DISTINCT ON (program, mapping, key) program, mapping, key, value, stream,"
         " sequence, height, time FROM fresh ORDER BY program, mapping, key, id DESC"
         " ON CONFLICT (program, mapping, sha256(key)) DO UPDATE SET value = excluded.value,"
         " stream = excluded.stream, sequence = excluded.sequence, height = excluded.height,"
         " time = excluded.time"
         " WHERE s.stream <> excluded.stream OR s.sequence < excluded.sequence"},
    [ROWS_CLEAR] =
        {"iiimttbb", ROWS_HISTORY, ROWS_STATE,
         "WITH fresh AS (INSERT INTO %1$s (stream, sequence, height, time, program, mapping, key,"
         " value) SELECT * FROM unnest(" ALL ", $5, $6, $7, $8)"
         " ON CONFLICT (stream, sequence) DO NOTHING RETURNING *)"
         " UPDATE %2$s AS s SET value = NULL, stream = fresh.stream, sequence = fresh.sequence,"
         " height = fresh.height, time = fresh.time FROM fresh"
         " WHERE s.program = fresh.program AND s.mapping = fresh.mapping AND s.value IS NOT NULL"
         " AND (s.stream <> fresh.stream OR s.sequence < fresh.sequence)"},
    [ROWS_REWARD] =
        {"iiimtttt", ROWS_REWARDS, ROWS_REWARDS,
         "INSERT INTO %1$s (stream, sequence, height, time, staker, validator, reward, new_stake)"
         " SELECT a, b, c, d, e, f, g::numeric, h::numeric"
         " FROM unnest(" ALL ", $5, $6, $7, $8) AS e(a, b, c, d, e, f, g, h)"
         " ON CONFLICT (stream, sequence) DO NOTHING"},
    [ROWS_BLOCK] =
        {"iiimb", ROWS_BLOCKS, ROWS_BLOCKS,
         "INSERT INTO %1$s (stream, sequence, height, time, block)"
         " SELECT * FROM unnest(" ALL ", $5) ON CONFLICT (stream, sequence) DO NOTHING"},
    /* It replaces gaps that it covers: after a crash they are told again, neighbours perhaps as
     * one. */
    [ROWS_GAP] =
        {"miiiiiiii", ROWS_GAPS, ROWS_GAPS,
         "WITH e AS (SELECT * FROM unnest(" ALL ", $5, $6, $7, $8, $9)"
         " AS e(a, b, c, d, e, f, g, h, i)), gone AS (DELETE FROM %1$s AS g USING e"
         " WHERE g.lost_stream = e.g AND e.g <> 0 AND g.first_sequence >= e.h"
         " AND g.last_sequence <= e.i)"
         " INSERT INTO %1$s (time, count, reasons, kinds, first_height, last_height, lost_stream,"
         " first_sequence, last_sequence) SELECT * FROM e"},
};

#endif
