/*
 * store.c - opens a ledger's database; runs and transactions. See store.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _DEFAULT_SOURCE /* flock */
#include "store.h"

#include "schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long to wait for another process that holds the database. */
#define BUSY_TIMEOUT_MS 2000

/* ---- Errors ------------------------------------------------------------------------ */

int32_t store_fail(store *self, int32_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(self->error, sizeof self->error, format, arguments);
    va_end(arguments);
    return status;
}

int32_t store_fail_sqlite(store *self, int code, const char *doing) {
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
    default:
        break;
    }
    return store_fail(self, status, "database '%s': cannot %s: %s (SQLite error %d)", self->path,
                      doing, sqlite3_errmsg(self->db), code);
}

/* An error while opening, told by what a person can do about it. */
static int32_t fail_open(store *self, int code) {
    switch (code & 0xff) {
    case SQLITE_NOTADB:
        return store_fail(self, SLIPSTREAM_INVALID_CONFIG,
                          "config key 'database': '%s' is not a database; move it away or give "
                          "another path",
                          self->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return store_fail(self, SLIPSTREAM_RETRY,
                          "database '%s' is locked by another process; end what writes to it "
                          "(to see what does: fuser '%s')",
                          self->path, self->path);
    default:
        return store_fail_sqlite(self, code, "open it");
    }
}

static int execute(store *self, const char *sql) {
    return sqlite3_exec(self->db, sql, NULL, NULL, NULL);
}

/* ---- Opening ----------------------------------------------------------------------- */

static int32_t check_path(store *self) {
    struct stat found;
    char *slash = strrchr(self->path, '/');
    int32_t status = SLIPSTREAM_OK;
    *slash = '\0';
    if (stat(slash == self->path ? "/" : self->path, &found) != 0)
        status = store_fail(self, SLIPSTREAM_INVALID_CONFIG,
                            "config key 'database': folder '%s': %s; make it first", self->path,
                            strerror(errno));
    else if (!S_ISDIR(found.st_mode))
        status = store_fail(self, SLIPSTREAM_INVALID_CONFIG,
                            "config key 'database': '%s' is not a folder", self->path);
    *slash = '/';
    if (status == SLIPSTREAM_OK && stat(self->path, &found) == 0 && !S_ISREG(found.st_mode))
        status = store_fail(self, SLIPSTREAM_INVALID_CONFIG,
                            "config key 'database': '%s' is not a regular file", self->path);
    return status;
}

/* One ledger at a time, in whatever process: a lock on a file beside the database, which the
 * system takes back when its holder dies. Not on the database itself: to close a descriptor of
 * that would drop SQLite's own locks. */
static int32_t take_place(store *self) {
    char path[SLIPSTREAM_ERROR_MAX];
    snprintf(path, sizeof path, "%s.lock", self->path);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int32_t status;
    if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0) {
        self->lock = file;
        return SLIPSTREAM_OK;
    }
    if (file >= 0 && errno == EWOULDBLOCK)
        status = store_fail(self, SLIPSTREAM_RETRY,
                            "database '%s' is in use by another ledger; give each its own "
                            "'database' (to see who: fuser '%s')",
                            self->path, path);
    else
        status = store_fail(self, SLIPSTREAM_IO, "cannot lock '%s': %s", path, strerror(errno));
    if (file >= 0)
        close(file);
    return status;
}

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

/* Refuses a file that is neither new nor a ledger of this version, before it is changed. */
static int32_t check_owner(store *self, bool *is_new) {
    int64_t application = 0;
    int64_t version = 0;
    int64_t objects = 0;
    int code = read_number(self, "PRAGMA application_id", &application);
    if (code == SQLITE_OK)
        code = read_number(self, "PRAGMA user_version", &version);
    if (code == SQLITE_OK)
        code = read_number(self, "SELECT count(*) FROM sqlite_master", &objects);
    if (code != SQLITE_OK)
        return fail_open(self, code);
    *is_new = application == 0 && version == 0 && objects == 0;
    if (!*is_new && application != LEDGER_APPLICATION_ID)
        return store_fail(self, SLIPSTREAM_INVALID_CONFIG,
                          "config key 'database': '%s' is a database of something else; give "
                          "another path",
                          self->path);
    if (!*is_new && version != LEDGER_SCHEMA_VERSION)
        return store_fail(self, SLIPSTREAM_INVALID_CONFIG,
                          "database '%s' has schema version %lld, this ledger knows %d; use the "
                          "ledger that made it, or another file",
                          self->path, (long long)version, LEDGER_SCHEMA_VERSION);
    return SLIPSTREAM_OK;
}

static int make_tables(store *self) {
    char marks[96];
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < sizeof ledger_schema / sizeof *ledger_schema; i++)
        code = execute(self, ledger_schema[i]);
    snprintf(marks, sizeof marks, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             LEDGER_APPLICATION_ID, LEDGER_SCHEMA_VERSION);
    return code == SQLITE_OK ? execute(self, marks) : code;
}

static int32_t open_database(store *self) {
    static const char settings[] =
        /* Readers and the ledger do not wait for each other. */
        "PRAGMA journal_mode = WAL;"
        /* What is acknowledged must survive a power cut, since nobody sends it again. NORMAL
         * syncs only at checkpoints; this costs one sync a commit. */
        "PRAGMA synchronous = FULL;"
        "PRAGMA journal_size_limit = 67108864;";
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    bool is_new = false;
    int code = sqlite3_open_v2(self->path, &self->db, flags, NULL);
    if (self->db == NULL)
        return store_fail(self, SLIPSTREAM_NO_MEMORY, "no memory for a database");
    if (code != SQLITE_OK)
        return fail_open(self, code);
    sqlite3_extended_result_codes(self->db, 1);
    sqlite3_busy_timeout(self->db, BUSY_TIMEOUT_MS);
    if (sqlite3_db_readonly(self->db, "main") == 1)
        return store_fail(self, SLIPSTREAM_INVALID_CONFIG,
                          "config key 'database': '%s' cannot be written to", self->path);
    int32_t status = check_owner(self, &is_new);
    if (status != SLIPSTREAM_OK)
        return status;
    code = execute(self, settings);
    /* Better to find out here than with the first event that it cannot be written. While the
     * place is another's, so is the right to write. */
    if (code == SQLITE_OK && self->lock >= 0) {
        code = execute(self, "BEGIN IMMEDIATE");
        if (code == SQLITE_OK && is_new)
            code = make_tables(self);
        if (code == SQLITE_OK)
            code = execute(self, "COMMIT");
    }
    return code == SQLITE_OK ? store_prepare(self) : fail_open(self, code);
}

int32_t store_open(store *self, char *path, store_history history, bool handover) {
    memset(self, 0, sizeof *self);
    self->path = path;
    self->history = history;
    self->lock = -1;
    int32_t status = check_path(self);
    if (status != SLIPSTREAM_OK)
        return status;
    status = take_place(self);
    if (status != SLIPSTREAM_OK && !(status == SLIPSTREAM_RETRY && handover))
        return status;
    return open_database(self);
}

void store_close(store *self) {
    for (int i = 0; i < STORE_STATEMENTS; i++)
        sqlite3_finalize(self->statements[i]);
    sqlite3_close(self->db);
    if (self->path != NULL && self->lock >= 0)
        close(self->lock);
    free(self->path);
    memset(self, 0, sizeof *self);
}

/* ---- Runs and transactions ---------------------------------------------------------- */

bool store_is_pending(const store *self) {
    return self->db != NULL && !sqlite3_get_autocommit(self->db);
}

int32_t store_begin_run(store *self) {
    int32_t status = self->lock >= 0 ? SLIPSTREAM_OK : take_place(self);
    if (status != SLIPSTREAM_OK)
        return status;
    self->alone = !store_is_pending(self);
    int code = self->alone ? execute(self, "BEGIN IMMEDIATE") : SQLITE_OK;
    if (code != SQLITE_OK)
        return store_fail_sqlite(self, code, "begin a transaction");
    self->before = self->position;
    self->in_run = true;
    code = execute(self, "SAVEPOINT run");
    return code == SQLITE_OK ? SLIPSTREAM_OK : store_fail_sqlite(self, code, "begin a run");
}

int32_t store_end_run(store *self) {
    int code = execute(self, "RELEASE run");
    if (code != SQLITE_OK)
        return store_fail_sqlite(self, code, "end a run");
    self->in_run = false;
    return SLIPSTREAM_OK;
}

bool store_undo_run(store *self) {
    if (!self->in_run)
        return true;
    self->in_run = false;
    self->position = self->before;
    if (!self->alone && store_is_pending(self) &&
        execute(self, "ROLLBACK TO run; RELEASE run") == SQLITE_OK)
        return true;
    if (store_is_pending(self))
        execute(self, "ROLLBACK");
    if (!self->alone)
        self->position = (store_position){0};
    return self->alone;
}

int32_t store_commit(store *self) {
    int32_t status = store_write_position(self);
    int code = SQLITE_OK;
    if (status == SLIPSTREAM_OK)
        code = execute(self, "COMMIT");
    if (code != SQLITE_OK)
        status = store_fail_sqlite(self, code, "commit");
    if (status != SLIPSTREAM_OK && !store_is_pending(self))
        self->position = (store_position){0};
    return status;
}
