/*
 * rows.h - events as columns, and the statements that write these into the tables.
 *
 * Many events are one statement, whose parameters are arrays, a column each: INSERT ... SELECT FROM
 * unnest($1, $2 ...). Nearly all of its time goes into the two tables and their indexes. COPY into a
 * temporary table and an upsert from there took a fifth to a third less on one machine, but takes
 * four round trips instead of one, and a right that not every user has.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef POSTGRES_ROWS_H
#define POSTGRES_ROWS_H

#include "server.h"

enum { ROWS_COLUMNS = 10, ROWS_SQL = 4096, ROWS_QUOTED = 132 };

typedef enum rows_table {
    ROWS_HISTORY, /* every update and removal of a mapping */
    ROWS_STATE,   /* what each key of a mapping has now */
    ROWS_REWARDS,
    ROWS_BLOCKS,
    ROWS_GAPS,
    ROWS_TABLES
} rows_table;

typedef enum rows_statement {
    ROWS_CHANGE, /* keys of mappings: history and state */
    ROWS_CLEAR,  /* a whole mapping: history and state */
    ROWS_REWARD,
    ROWS_BLOCK,
    ROWS_GAP,
    ROWS_STATEMENTS
} rows_statement;

/* An array of PostgreSQL's binary format. */
typedef struct rows_column {
    char *data;
    size_t len;
    size_t size;
} rows_column;

typedef struct rows_batch {
    rows_column columns[ROWS_COLUMNS];
    uint32_t rows;
} rows_batch;

typedef struct rows {
    server *server;
    char schema[ROWS_QUOTED];              /* quoted, and so are the tables behind it */
    char tables[ROWS_TABLES][2 * ROWS_QUOTED];
    char sql[ROWS_STATEMENTS][ROWS_SQL];
    rows_batch batches[ROWS_STATEMENTS];
    bool no_memory; /* since the last rows_send */
} rows;

/* Names of 1 to 63 bytes, as the user wrote them, become names in SQL. */
void rows_set_names(rows *self, const char *schema, const char *const tables[ROWS_TABLES]);

/* Makes what is missing of the schema, and sees whether the tables are as they should be. */
int32_t rows_make_schema(rows *self);

/* Whether a frame can be a row: OK, IGNORED for a kind that has no table, MALFORMED. */
int32_t rows_judge(const slipstream_frame *frame);

/* Adds a frame that is OK, at `ordinal`; sends what has to come before it. */
void rows_add(rows *self, const slipstream_frame *frame);

/* Sends what was added since; server_finish says what became of it. NO_MEMORY: nothing is left. */
int32_t rows_send(rows *self);
void rows_forget(rows *self);
void rows_free(rows *self);

#endif
