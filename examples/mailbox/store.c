/*
 * store.c - the tables of a mailbox. See store.h.
 *
 * 64-bit numbers without a sign are kept by their bits, since SQLite's integers have one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APPLICATION_ID 0x4d424f58 /* "MBOX", PRAGMA application_id */
#define BUSY_TIMEOUT_MS 2000 /* how long to wait for another process that writes */

static const char schema[] =
    /* How far each stream of the host is taken; written in the transaction of its events. */
    "CREATE TABLE progress (stream INTEGER PRIMARY KEY, sequence INTEGER NOT NULL);"
    /* id: the order of arrival. sealed: 1 if the body is still in its box. */
    "CREATE TABLE messages ("
    " id INTEGER PRIMARY KEY, sender BLOB NOT NULL, number INTEGER NOT NULL,"
    " body BLOB NOT NULL, sealed INTEGER NOT NULL, time_ns INTEGER, stream INTEGER,"
    " sequence INTEGER, UNIQUE (sender, number), UNIQUE (stream, sequence));"
    /* last: all of this sender's messages are here up to this number. */
    "CREATE TABLE senders (sender BLOB PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE peers (peer BLOB PRIMARY KEY, public_key BLOB, name BLOB, via INTEGER,"
    " seen_ns INTEGER) WITHOUT ROWID;";

static const char *const statements[STORE_STATEMENTS] = {
    [STORE_READ_PROGRESS] = "SELECT sequence FROM progress WHERE stream = ?1",
    [STORE_WRITE_PROGRESS] = "INSERT OR REPLACE INTO progress (stream, sequence) VALUES (?1, ?2)",
    [STORE_READ_SENDER] = "SELECT last FROM senders WHERE sender = ?1",
    [STORE_WRITE_SENDER] = "INSERT OR REPLACE INTO senders (sender, last) VALUES (?1, ?2)",
    [STORE_PUT_MESSAGE] = "INSERT INTO messages (sender, number, body, sealed, time_ns, stream,"
                          " sequence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [STORE_PUT_PEER] = "INSERT OR REPLACE INTO peers (peer, public_key, name, via, seen_ns)"
                       " VALUES (?1, ?2, ?3, ?4, ?5)",
    [STORE_FORGET_MESSAGES] = "DELETE FROM messages WHERE sender = ?1",
    [STORE_FORGET_SENDER] = "DELETE FROM senders WHERE sender = ?1",
    [STORE_FORGET_PEER] = "DELETE FROM peers WHERE peer = ?1",
};

/* ---- Errors ------------------------------------------------------------------------ */

int32_t store_fail(store *self, int32_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(self->error, sizeof self->error, format, arguments);
    va_end(arguments);
    return status;
}

static int32_t fail_sqlite(store *self, int code, const char *doing) {
    int32_t status = SLIPSTREAM_FATAL;
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        status = SLIPSTREAM_NO_MEMORY;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        status = SLIPSTREAM_RETRY;
        break;
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
        status = SLIPSTREAM_FAILED;
        break;
    case SQLITE_NOTADB:
        status = SLIPSTREAM_INVALID_CONFIG;
        break;
    default:
        break;
    }
    return store_fail(self, status, "database '%s': cannot %s: %s (SQLite error %d)", self->path,
                      doing, sqlite3_errmsg(self->db), code);
}

static int execute(store *self, const char *sql) {
    return sqlite3_exec(self->db, sql, NULL, NULL, NULL);
}

/* ---- Binding and running ------------------------------------------------------------ */

static void note(store *self, int code) {
    if (self->failed == SQLITE_OK)
        self->failed = code;
}

static void bind_number(store *self, int statement, int at, uint64_t number) {
    note(self, sqlite3_bind_int64(self->statements[statement], at, (sqlite3_int64)number));
}

/* The bytes stay the host's: the statement runs before on_broadcast returns. */
static void bind_bytes(store *self, int statement, int at, slipstream_bytes bytes) {
    sqlite3_stmt *target = self->statements[statement];
    if (bytes.data == NULL)
        note(self, sqlite3_bind_null(target, at));
    else
        note(self, sqlite3_bind_blob64(target, at, bytes.data, bytes.len, SQLITE_STATIC));
}

/* Runs a statement; its first column, if it gives a row, goes to `found`. */
static int32_t run(store *self, int statement, const char *doing, uint64_t *found) {
    int code = self->failed;
    int32_t status = SLIPSTREAM_OK;
    self->failed = SQLITE_OK;
    if (code == SQLITE_OK)
        code = sqlite3_step(self->statements[statement]);
    if (code == SQLITE_ROW && found != NULL)
        *found = (uint64_t)sqlite3_column_int64(self->statements[statement], 0);
    else if (code != SQLITE_DONE)
        status = fail_sqlite(self, code, doing);
    sqlite3_reset(self->statements[statement]);
    return status;
}

/* ---- Opening ----------------------------------------------------------------------- */

static int read_number(store *self, const char *sql, int64_t *number) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(self->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* Makes the tables in a new file; refuses that of something else before it is changed. */
static int32_t make_tables(store *self) {
    char mark[64];
    int64_t application = 0;
    int64_t objects = 0;
    int code = read_number(self, "PRAGMA application_id", &application);
    if (code == SQLITE_OK)
        code = read_number(self, "SELECT count(*) FROM sqlite_master", &objects);
    if (code != SQLITE_OK)
        return fail_sqlite(self, code, "read it");
    if (application == APPLICATION_ID)
        return SLIPSTREAM_OK;
    if (application != 0 || objects != 0)
        return store_fail(self, SLIPSTREAM_INVALID_CONFIG,
                          "config key 'database': '%s' is a database of something else; give "
                          "another path",
                          self->path);
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d", APPLICATION_ID);
    code = execute(self, schema);
    if (code == SQLITE_OK)
        code = execute(self, mark);
    return code == SQLITE_OK ? SLIPSTREAM_OK : fail_sqlite(self, code, "make its tables");
}

static int32_t prepare(store *self) {
    for (int i = 0; i < STORE_STATEMENTS; i++) {
        int code = sqlite3_prepare_v3(self->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &self->statements[i], NULL);
        if (code != SQLITE_OK)
            return fail_sqlite(self, code, "prepare a statement");
    }
    return SLIPSTREAM_OK;
}

int32_t store_open(store *self, char *path) {
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    memset(self, 0, sizeof *self);
    self->path = path;
    int code = sqlite3_open_v2(path, &self->db, flags, NULL);
    if (self->db == NULL)
        return store_fail(self, SLIPSTREAM_NO_MEMORY, "no memory for a database");
    sqlite3_extended_result_codes(self->db, 1);
    sqlite3_busy_timeout(self->db, BUSY_TIMEOUT_MS);
    /* What has its receipt must survive a power cut, since nobody sends it again: FULL. */
    if (code == SQLITE_OK)
        code = execute(self, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                             "BEGIN IMMEDIATE");
    if (code != SQLITE_OK)
        return fail_sqlite(self, code, "open it");
    int32_t status = make_tables(self);
    if (status == SLIPSTREAM_OK)
        status = store_commit(self);
    return status == SLIPSTREAM_OK ? prepare(self) : status;
}

void store_close(store *self) {
    for (int i = 0; i < STORE_STATEMENTS; i++)
        sqlite3_finalize(self->statements[i]);
    sqlite3_close(self->db);
    free(self->path);
    memset(self, 0, sizeof *self);
}

/* ---- Runs, transactions, and where a stream stands --------------------------------------- */

bool store_is_pending(const store *self) {
    return self->db != NULL && !sqlite3_get_autocommit(self->db);
}

int32_t store_begin(store *self) {
    self->is_alone = !store_is_pending(self);
    self->before = self->position;
    int code = self->is_alone ? execute(self, "BEGIN IMMEDIATE") : SQLITE_OK;
    if (code == SQLITE_OK)
        code = execute(self, "SAVEPOINT run");
    return code == SQLITE_OK ? SLIPSTREAM_OK : fail_sqlite(self, code, "begin a transaction");
}

int32_t store_end(store *self) {
    int code = execute(self, "RELEASE run");
    return code == SQLITE_OK ? SLIPSTREAM_OK : fail_sqlite(self, code, "end a run");
}

bool store_undo(store *self) {
    self->position = self->before;
    if (!self->is_alone && store_is_pending(self) &&
        execute(self, "ROLLBACK TO run; RELEASE run") == SQLITE_OK)
        return true;
    if (store_is_pending(self))
        execute(self, "ROLLBACK");
    self->position = (store_position){0, 0};
    return self->is_alone;
}

static int32_t write_progress(store *self) {
    if (self->position.stream == 0)
        return SLIPSTREAM_OK;
    bind_number(self, STORE_WRITE_PROGRESS, 1, self->position.stream);
    bind_number(self, STORE_WRITE_PROGRESS, 2, self->position.sequence);
    return run(self, STORE_WRITE_PROGRESS, "write the progress", NULL);
}

int32_t store_commit(store *self) {
    int32_t status = write_progress(self);
    if (status != SLIPSTREAM_OK)
        return status;
    int code = execute(self, "COMMIT");
    if (code != SQLITE_OK)
        status = fail_sqlite(self, code, "commit");
    if (!store_is_pending(self)) /* another mailbox may write now */
        self->position = (store_position){0, 0};
    return status;
}

/* Events of one stream come in the order of their sequences, so the last one says it all. */
int32_t store_is_new(store *self, const slipstream_frame *frame, bool *is_new) {
    int32_t status = SLIPSTREAM_OK;
    if (frame->stream == 0 || frame->sequence == 0)
        return store_fail(self, SLIPSTREAM_MALFORMED,
                          "an event without stream or sequence could not be recognised when it "
                          "comes again");
    if (frame->stream != self->position.stream) {
        store_position found = {frame->stream, 0};
        status = write_progress(self);
        if (status != SLIPSTREAM_OK)
            return status;
        bind_number(self, STORE_READ_PROGRESS, 1, frame->stream);
        status = run(self, STORE_READ_PROGRESS, "read the progress", &found.sequence);
        self->position = found;
    }
    *is_new = status == SLIPSTREAM_OK && frame->sequence > self->position.sequence;
    if (*is_new)
        self->position.sequence = frame->sequence;
    return status;
}

/* ---- Messages and peers --------------------------------------------------------------- */

int32_t store_last(store *self, slipstream_bytes sender, uint64_t *last) {
    *last = 0;
    bind_bytes(self, STORE_READ_SENDER, 1, sender);
    return run(self, STORE_READ_SENDER, "read a sender", last);
}

int32_t store_put(store *self, const store_message *message, const slipstream_frame *frame,
                  uint64_t *last) {
    /* One behind a hole comes again, behind those that are missing. */
    if (message->number <= *last ||
        (message->number != *last + 1 && message->number != message->oldest))
        return SLIPSTREAM_OK;
    bind_bytes(self, STORE_PUT_MESSAGE, 1, message->sender);
    bind_number(self, STORE_PUT_MESSAGE, 2, message->number);
    bind_bytes(self, STORE_PUT_MESSAGE, 3, message->body);
    bind_number(self, STORE_PUT_MESSAGE, 4, message->is_sealed);
    bind_number(self, STORE_PUT_MESSAGE, 5, (uint64_t)frame->time_ns);
    bind_number(self, STORE_PUT_MESSAGE, 6, frame->stream);
    bind_number(self, STORE_PUT_MESSAGE, 7, frame->sequence);
    int32_t status = run(self, STORE_PUT_MESSAGE, "store a message", NULL);
    bind_bytes(self, STORE_WRITE_SENDER, 1, message->sender);
    bind_number(self, STORE_WRITE_SENDER, 2, message->number);
    if (status == SLIPSTREAM_OK)
        status = run(self, STORE_WRITE_SENDER, "store a sender", NULL);
    *last = message->number;
    return status;
}

int32_t store_see(store *self, const slipstream_peer_seen *seen, const slipstream_frame *frame) {
    bind_bytes(self, STORE_PUT_PEER, 1, seen->peer);
    bind_bytes(self, STORE_PUT_PEER, 2, seen->public_key);
    bind_bytes(self, STORE_PUT_PEER, 3, seen->name);
    bind_number(self, STORE_PUT_PEER, 4, seen->via);
    bind_number(self, STORE_PUT_PEER, 5, (uint64_t)frame->time_ns);
    return run(self, STORE_PUT_PEER, "store a peer", NULL);
}

int32_t store_forget(store *self, slipstream_bytes peer) {
    int32_t status = SLIPSTREAM_OK;
    for (int i = STORE_FORGET_MESSAGES; i <= STORE_FORGET_PEER && status == SLIPSTREAM_OK; i++) {
        bind_bytes(self, i, 1, peer);
        status = run(self, i, "forget a peer", NULL);
    }
    return status;
}
