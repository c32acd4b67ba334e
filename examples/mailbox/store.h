/*
 * store.h - a mailbox's database: one file, each message once, in the order of its sender.
 *
 * A function that returns a status leaves the reason of a failure in store->error:
 *     RETRY, NO_MEMORY   it may work later
 *     FAILED, MALFORMED  this event never will
 *     FATAL              the file is unusable
 * A run is all or nothing: it begins with store_begin and ends with store_end, or, after a failure,
 * with store_undo. Runs are collected in one transaction, until store_commit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MAILBOX_STORE_H
#define MAILBOX_STORE_H

#include <slipstream.h>
#include <sqlite3.h>
#include <stdbool.h>

enum {
    STORE_READ_PROGRESS,
    STORE_WRITE_PROGRESS,
    STORE_READ_SENDER,
    STORE_WRITE_SENDER,
    STORE_PUT_MESSAGE,
    STORE_PUT_PEER,
    STORE_FORGET_MESSAGES,
    STORE_FORGET_SENDER,
    STORE_FORGET_PEER,
    STORE_STATEMENTS
};

/* What a sender has sent: `number` counts its messages, from 1; before `oldest` it has a receipt
 * for each, or has given it up. */
typedef struct store_message {
    slipstream_bytes sender;
    uint64_t number;
    uint64_t oldest;
    slipstream_bytes body;
    bool is_sealed; /* the body could not be opened */
} store_message;

typedef struct store_position {
    uint64_t stream; /* whose events came last; 0: it is to be looked up */
    uint64_t sequence;
} store_position;

typedef struct store {
    sqlite3 *db;
    sqlite3_stmt *statements[STORE_STATEMENTS];
    char *path;
    store_position position;
    store_position before; /* the same, when the run began */
    bool is_alone; /* the transaction holds no run but the last one */
    int failed; /* first error of a bind, until its statement runs */
    char error[SLIPSTREAM_ERROR_MAX];
} store;

/* Opens or makes the database at the absolute `path`, a malloc'ed text that the store takes over.
 * After a failure call store_close, too. */
int32_t store_open(store *self, char *path);
void store_close(store *self);

/* True while a transaction is open, that is, while something waits for store_commit. */
bool store_is_pending(const store *self);

int32_t store_begin(store *self);
int32_t store_end(store *self);
/* False if the runs before it are lost with it, which happens where SQLite undoes all. */
bool store_undo(store *self);

/* Makes durable what is pending. After a failure either all of it still is, or all is undone. */
int32_t store_commit(store *self);

/* Whether the event was taken before: then it comes again after a crash. If it is new it counts as
 * taken from now on, in this run. */
int32_t store_is_new(store *self, const slipstream_frame *frame, bool *is_new);

/* The number up to which the messages of a sender are here; 0 if there are none. */
int32_t store_last(store *self, slipstream_bytes sender, uint64_t *last);
/* Keeps a message unless it is there already, or one is missing before it; moves `last`. */
int32_t store_put(store *self, const store_message *message, const slipstream_frame *frame,
                  uint64_t *last);
int32_t store_see(store *self, const slipstream_peer_seen *seen, const slipstream_frame *frame);
/* Removes all that there is of a peer. */
int32_t store_forget(store *self, slipstream_bytes peer);

/* Fills store->error and returns `status`. */
int32_t store_fail(store *self, int32_t status, const char *format, ...);

#endif
