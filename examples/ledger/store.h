/*
 * store.h - a ledger's database: one file, one writer, every event recorded once.
 *
 * A function that returns a status leaves the reason of a failure in store->error:
 *     RETRY, NO_MEMORY   it may work later
 *     FAILED, MALFORMED  this event never will
 *     FATAL              the file is unusable
 * A run is all or nothing: after a failure inside of one comes store_undo_run.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEDGER_STORE_H
#define LEDGER_STORE_H

#include <slipstream.h>
#include <sqlite3.h>
#include <stdbool.h>

enum {
    STORE_READ_PROGRESS,
    STORE_WRITE_PROGRESS,
    STORE_PUT_STATE,
    STORE_PUT_HISTORY,
    STORE_REMOVE_KEY,
    STORE_REMOVE_MAPPING,
    STORE_PUT_REWARD,
    STORE_PUT_BLOCK,
    STORE_REMOVE_GAPS,
    STORE_PUT_GAP,
    STORE_STATEMENTS
};

/* What goes into mapping_history. */
typedef enum store_history {
    STORE_ALL,     /* every update and removal */
    STORE_CHANGES, /* no update that leaves the value as it was */
    STORE_NONE
} store_history;

/* How far a stream is recorded. Events of one stream come in the order of their sequences, so
 * the last one says it all. */
typedef struct store_position {
    uint64_t stream; /* 0: none */
    uint64_t sequence;
    uint64_t height;
    int64_t time_ns;
    bool moved; /* since it was written to the table */
} store_position;

typedef struct store {
    sqlite3 *db;
    sqlite3_stmt *statements[STORE_STATEMENTS];
    store_history history;
    char *path;
    int lock;                /* descriptor of the lock file; -1: the place is not ours yet */
    bool in_run;             /* between store_begin_run and store_end_run */
    bool alone;              /* the open transaction holds no run but the last one */
    store_position position; /* of the stream that was looked at last */
    store_position before;   /* the same, when the run began */
    int failed;              /* first error of a bind, until its statement runs */
    char error[SLIPSTREAM_ERROR_MAX];
} store;

/* ---- store.c ----------------------------------------------------------------------- */

/* Opens or makes the database at the absolute `path`, a malloc'ed text that the store takes
 * over. With `handover` another ledger may still be at it: its place is taken with the first
 * run. After a failure call store_close, too. */
int32_t store_open(store *self, char *path, store_history history, bool handover);

/* Closes whatever is open and undoes what is not committed. */
void store_close(store *self);

/* True while a transaction is open, that is, while something waits for store_commit. */
bool store_is_pending(const store *self);

/* Opens a run, and a transaction around it if none is open. */
int32_t store_begin_run(store *self);
int32_t store_end_run(store *self);

/* Takes the open run back. False if runs before it are lost with it, which happens when SQLite
 * has to undo the whole transaction. */
bool store_undo_run(store *self);

/* Makes durable what is pending. After a failure either all of it still is, see
 * store_is_pending, or all of it is undone. */
int32_t store_commit(store *self);

/* Fill store->error; the first returns `status`, the second what `code` means. */
int32_t store_fail(store *self, int32_t status, const char *format, ...);
int32_t store_fail_sqlite(store *self, int code, const char *doing);

/* ---- record.c ---------------------------------------------------------------------- */

/* Prepares the statements. */
int32_t store_prepare(store *self);

/* Whether the event was recorded before. A GAP never was: it is no event of the stream. */
int32_t store_has(store *self, const slipstream_frame *frame, bool *has);

/* Records an event in the open run. */
int32_t store_record(store *self, const slipstream_frame *frame);

/* Records in the open run that events were lost. It replaces gaps that it covers: after a crash
 * they are told again, neighbours perhaps as one. */
int32_t store_record_gap(store *self, const slipstream_gap *gap, const char *reasons,
                         int64_t time_ns);

/* Writes store->position to its table, if it moved. */
int32_t store_write_position(store *self);

#endif
