/*
 * ledger - records mappings, staking rewards and blocks in an SQLite file, each event once.
 *
 * Config: database            required; the file, relative to the config's folder
 *         history             "all" (the default), "changes" or "none": see store.h
 *         commit_every        commit after so many events, 10,000 by default
 *         commit_interval_ms  commit what is older, 1,000 by default; looked at when events
 *                             come, the host's flush takes care of the time without any
 *
 * How an event is recorded once: its position in the stream is written in the transaction that
 * writes the event, and the event is acknowledged after that transaction is committed. What was
 * not acknowledged when something crashed comes again; what is in the file by then is skipped.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _DEFAULT_SOURCE /* clock_gettime */
#include "store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KNOWN_KINDS UINT64_C(0x2f) /* all of the contract's but PAYLOAD */
#define PATH_LIMIT 2048            /* so that an error text has room for two */

/* What a host reads before any of this runs. */
SLIPSTREAM_INFO({
    "name": "ledger", "version": "1.0.0", "abi": 1,
    "flags": ["BATCH", "EXPLICIT_ACK", "MULTI_INSTANCE"],
    "kinds": ["MAPPING_UPDATE", "MAPPING_REMOVAL", "STAKING_REWARD", "BLOCK"],
    "requires": ["slipstream.config/1"],
    "config_schema": {
        "type": "object",
        "properties": {
            "database": {
                "type": "string", "minLength": 1, "examples": ["ledger.db"],
                "description": "the SQLite file, relative to the folder of the config"
            },
            "history": {
                "enum": ["all", "changes", "none"], "default": "all",
                "description": "which updates of a mapping are kept beside its present value"
            },
            "commit_every": {
                "type": "integer", "minimum": 1, "maximum": 1000000, "default": 10000,
                "description": "commit after so many events"
            },
            "commit_interval_ms": {
                "type": "integer", "minimum": 0, "maximum": 3600000, "default": 1000,
                "description": "commit what is older"
            }
        },
        "required": ["database"],
        "additionalProperties": false
    },
    "sample_config": {"database": "ledger.db", "history": "changes"},
    "licence": "Apache-2.0"
});

typedef struct ledger {
    slipstream_plugin table;
    const slipstream_host *host;
    store store;
    uint64_t commit_every;
    uint64_t commit_interval_ms;
    uint64_t uncommitted;     /* events in the open transaction */
    uint64_t oldest_ms;       /* when that was opened */
    uint64_t last_ordinal;    /* everything up to here is in the file or the transaction */
    uint64_t acknowledged;    /* everything up to here is in the file, and the host knows */
    bool broken;              /* FATAL was returned: nothing may be acknowledged any more */
    slipstream_gap refused;   /* the event that failed last and may come again; or count 0 */
    slipstream_gap given_up;  /* those that never came again and are not in the file yet */
    uint64_t recorded;
    uint64_t repeated;
    uint64_t gaps;
    uint64_t failed;
} ledger;

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int32_t fail(ledger *self, int32_t status) {
    if (status == SLIPSTREAM_FATAL)
        self->broken = true;
    return slipstream_fail(self->host, status, self->store.error);
}

/* ---- Events ---------------------------------------------------------------------- */

/* Earlier runs were taken back, too. The host still has them, since they were not acknowledged,
 * and gives them to the next instance. */
static int32_t fail_lost(ledger *self) {
    char text[SLIPSTREAM_ERROR_MAX];
    snprintf(text, sizeof text,
             "%.3900s; %" PRIu64 " earlier events were undone with it and come again when the "
             "plugin is loaded anew",
             self->store.error, self->uncommitted);
    self->uncommitted = 0;
    store_fail(&self->store, SLIPSTREAM_FATAL, "%s", text);
    return fail(self, SLIPSTREAM_FATAL);
}

/* Commits what waits, then acknowledges it. A failure that leaves it waiting is not final. */
static int32_t settle(ledger *self) {
    if (store_is_pending(&self->store)) {
        int32_t status = store_commit(&self->store);
        if (status != SLIPSTREAM_OK)
            return status;
    }
    self->uncommitted = 0;
    if (self->last_ordinal > self->acknowledged)
        slipstream_ack(self->host, self->last_ordinal);
    self->acknowledged = self->last_ordinal;
    return SLIPSTREAM_OK;
}

typedef struct counts {
    uint64_t frames;
    uint64_t unknown;
    uint64_t repeated;
    uint64_t recorded;
    uint64_t gaps;
} counts;

static int32_t record(ledger *self, const slipstream_frame *frame, counts *run) {
    bool has = false;
    int32_t status;
    run->frames++;
    if (frame->kind > SLIPSTREAM_KIND_APP_LAST ||
        (SLIPSTREAM_KIND_BIT(frame->kind) & KNOWN_KINDS) == 0) {
        run->unknown++;
        return SLIPSTREAM_OK;
    }
    status = store_has(&self->store, frame, &has);
    if (has)
        run->repeated++;
    if (status != SLIPSTREAM_OK || has)
        return status;
    if (!self->store.in_run)
        status = store_begin_run(&self->store);
    if (status == SLIPSTREAM_OK)
        status = store_record(&self->store, frame);
    run->gaps += frame->kind == SLIPSTREAM_KIND_GAP;
    run->recorded++;
    return status;
}

/* Records the frames of a run, all of them or none. */
static int32_t record_run(ledger *self, const uint8_t *frames, size_t len, uint32_t count,
                          counts *run) {
    slipstream_frame frame;
    size_t at = 0;
    int32_t status = SLIPSTREAM_OK;
    if (self->given_up.count > 0) {
        status = store_begin_run(&self->store);
        if (status == SLIPSTREAM_OK)
            status = store_record_gap(&self->store, &self->given_up, "refused", now_ns());
        if (status != SLIPSTREAM_OK)
            return status;
    }
    while ((status = slipstream_next_frame(frames, len, &at, &frame)) == SLIPSTREAM_OK) {
        status = record(self, &frame, run);
        if (status != SLIPSTREAM_OK)
            return status;
    }
    if (status == SLIPSTREAM_UNSUPPORTED)
        return store_fail(&self->store, status, "the frame has a critical flag that is unknown");
    if (status != SLIPSTREAM_END || run->frames != count || count == 0)
        return store_fail(&self->store, SLIPSTREAM_MALFORMED,
                          "the run does not consist of the announced number of whole frames");
    return self->store.in_run ? store_end_run(&self->store) : SLIPSTREAM_OK;
}

static int32_t take_run(ledger *self, const slipstream_delivery *delivery, const uint8_t *frames,
                        size_t len) {
    const uint64_t earlier = self->uncommitted;
    const uint64_t ordinal = self->last_ordinal;
    counts run = {0};
    int32_t status = record_run(self, frames, len, delivery->count, &run);
    if (status != SLIPSTREAM_OK)
        return store_undo_run(&self->store) ? fail(self, status) : fail_lost(self);
    const bool ignored = run.unknown == run.frames;
    if (earlier == 0)
        self->oldest_ms = now_ms();
    self->uncommitted += run.recorded;
    self->last_ordinal = delivery->first_ordinal + delivery->count - 1;
    /* IGNORED acknowledges at once, and an acknowledgement covers what came before. */
    if (ignored || !store_is_pending(&self->store) || self->uncommitted >= self->commit_every ||
        now_ms() - self->oldest_ms >= self->commit_interval_ms)
        status = settle(self);
    if (status != SLIPSTREAM_OK && !store_is_pending(&self->store)) {
        self->last_ordinal = ordinal;
        self->uncommitted = earlier;
        return earlier == 0 ? fail(self, status) : fail_lost(self);
    }
    if (status != SLIPSTREAM_OK) /* nothing is lost or acknowledged; the next one may succeed */
        slipstream_log(self->host, SLIPSTREAM_LOG_WARN, self->store.error);
    self->recorded += run.recorded;
    self->repeated += run.repeated;
    self->gaps += run.gaps;
    return ignored && status == SLIPSTREAM_OK ? SLIPSTREAM_IGNORED : SLIPSTREAM_OK;
}

/* The host offers a failed event again or gives it up; which, shows when another one comes. */
static void note_given_up(ledger *self, uint64_t ordinal) {
    if (self->refused.count == 0 || ordinal <= self->refused.last)
        return;
    if (self->given_up.count == 0)
        self->given_up = self->refused;
    else {
        self->given_up.last = self->refused.last;
        self->given_up.last_height = self->refused.last_height;
        self->given_up.kinds |= self->refused.kinds;
        self->given_up.count++;
    }
    self->refused.count = 0;
    self->failed++;
}

static void note_refused(ledger *self, const slipstream_delivery *delivery, const uint8_t *frames,
                         size_t len) {
    slipstream_frame frame = {.kind = UINT32_MAX, .height = SLIPSTREAM_HEIGHT_NONE};
    if (delivery->count != 1) /* comes again, one by one */
        return;
    slipstream_read_frame(frames, len, &frame);
    self->refused = (slipstream_gap){
        .first = delivery->first_ordinal,
        .last = delivery->first_ordinal,
        .count = 1,
        .kinds = frame.kind <= SLIPSTREAM_KIND_APP_LAST ? SLIPSTREAM_KIND_BIT(frame.kind) : 0,
        .first_height = frame.height,
        .last_height = frame.height,
    };
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    ledger *self = (ledger *)instance;
    if (self->broken)
        return fail(self, SLIPSTREAM_FATAL);
    note_given_up(self, delivery->first_ordinal);
    int32_t status = take_run(self, delivery, frames, len);
    if (status < 0) {
        note_refused(self, delivery, frames, len);
        return status;
    }
    self->refused.count = 0;
    if (status == SLIPSTREAM_OK)
        self->given_up.count = 0;
    return status;
}

static int32_t SLIPSTREAM_CALL flush(void *instance, uint32_t timeout_ms) {
    ledger *self = (ledger *)instance;
    (void)timeout_ms; /* a commit waits for nobody: the right to write is already ours */
    int32_t status = self->broken ? SLIPSTREAM_FATAL : settle(self);
    if (status == SLIPSTREAM_OK)
        return status;
    return self->broken || store_is_pending(&self->store) ? fail(self, status) : fail_lost(self);
}

/* ---- Config -------------------------------------------------------------------------- */

static int32_t fail_config(ledger *self, const char *key, const char *must) {
    char text[256];
    snprintf(text, sizeof text, "config key '%s' must be %s", key, must);
    return slipstream_fail(self->host, SLIPSTREAM_INVALID_CONFIG, text);
}

static int32_t read_number(ledger *self, const slipstream_config_v1 *config, const char *key,
                           uint64_t low, uint64_t high, uint64_t *value) {
    char text[96];
    char pointer[64];
    uint64_t number = *value;
    snprintf(pointer, sizeof pointer, "/%s", key);
    int32_t status = config->get_u64(self->host->ctx, pointer, &number);
    if (status == SLIPSTREAM_NOT_FOUND)
        return SLIPSTREAM_OK;
    if (status == SLIPSTREAM_OK && number >= low && number <= high) {
        *value = number;
        return SLIPSTREAM_OK;
    }
    snprintf(text, sizeof text, "a whole number, %" PRIu64 " to %" PRIu64, low, high);
    return fail_config(self, key, text);
}

static int32_t read_history(ledger *self, const slipstream_config_v1 *config,
                            store_history *history) {
    static const char *const words[] = {"all", "changes", "none"};
    char text[16];
    size_t len = sizeof text;
    int32_t status = config->get_text(self->host->ctx, "/history", text, &len);
    if (status == SLIPSTREAM_NOT_FOUND)
        return SLIPSTREAM_OK;
    for (int i = STORE_ALL; status == SLIPSTREAM_OK && i <= STORE_NONE; i++)
        if (len == strlen(words[i]) && memcmp(text, words[i], len) == 0) {
            *history = (store_history)i;
            return SLIPSTREAM_OK;
        }
    return fail_config(self, "history", "\"all\", \"changes\" or \"none\"");
}

/* The absolute path of the database, malloc'ed. */
static int32_t read_path(ledger *self, const slipstream_config_v1 *config, char **path) {
    char name[PATH_LIMIT];
    char folder[PATH_LIMIT];
    size_t name_len = sizeof name - 1;
    size_t folder_len = sizeof folder - 1;
    int32_t status = config->get_text(self->host->ctx, "/database", name, &name_len);
    if (status == SLIPSTREAM_NOT_FOUND)
        return fail_config(self, "database", "set: the path of the SQLite file, relative to the "
                                             "config's folder");
    if (status != SLIPSTREAM_OK || name_len == 0 || memchr(name, '\0', name_len) != NULL ||
        name[name_len - 1] == '/')
        return fail_config(self, "database", "a text, the path of a file (at most 2,047 bytes)");
    name[name_len] = '\0';
    if (name[0] == '/')
        folder_len = 0;
    else if (config->config_dir(self->host->ctx, folder, &folder_len) != SLIPSTREAM_OK)
        return fail_config(self, "database", "an absolute path: the config's folder is unknown");
    folder[folder_len] = '\0';
    *path = (char *)malloc(folder_len + name_len + 2);
    if (*path == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_NO_MEMORY, "no memory for a path");
    sprintf(*path, "%s%s%s", folder, name[0] == '/' ? "" : "/", name);
    return SLIPSTREAM_OK;
}

/* ---- Life ---------------------------------------------------------------------------- */

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *text, size_t len,
                                       uint32_t reason) {
    ledger *self = (ledger *)instance;
    const slipstream_config_v1 *config =
        (const slipstream_config_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    store_history history = STORE_ALL;
    char line[PATH_LIMIT + 64];
    char *path = NULL;
    (void)text;
    (void)len;
    if (config == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_UNSUPPORTED,
                               "the host does not offer " SLIPSTREAM_EXT_CONFIG
                               ", which ledger reads its config with; use a newer host");
    int32_t status = read_number(self, config, "commit_every", 1, 1000000, &self->commit_every);
    if (status == SLIPSTREAM_OK)
        status = read_number(self, config, "commit_interval_ms", 0, 3600000,
                             &self->commit_interval_ms);
    if (status == SLIPSTREAM_OK)
        status = read_history(self, config, &history);
    if (status == SLIPSTREAM_OK)
        status = read_path(self, config, &path);
    if (status != SLIPSTREAM_OK)
        return status;
    /* A reload may load the new instance while the old one still writes. */
    status = store_open(&self->store, path, history, reason == SLIPSTREAM_LOAD_RELOAD);
    if (status != SLIPSTREAM_OK) {
        slipstream_fail(self->host, status, self->store.error);
        store_close(&self->store);
        return status;
    }
    snprintf(line, sizeof line, "recording into %.2048s", path);
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    return SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return KNOWN_KINDS & ~SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP); /* gaps come anyway */
}

static int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    ledger *self = (ledger *)instance;
    char line[160];
    int32_t status = flush(instance, timeout_ms);
    store_close(&self->store);
    snprintf(line, sizeof line,
             "%" PRIu64 " events recorded, %" PRIu64 " repeated ones skipped, %" PRIu64
             " refused, %" PRIu64 " gaps",
             self->recorded - self->gaps, self->repeated, self->failed + self->refused.count,
             self->gaps);
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    return status;
}

/* Also after a PANIC or without on_unload: what is not committed was not acknowledged. */
static void SLIPSTREAM_CALL destroy(void *instance) {
    ledger *self = (ledger *)instance;
    store_close(&self->store);
    free(self);
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    ledger *self = (ledger *)calloc(1, sizeof *self);
    if (self == NULL) {
        slipstream_fail(host, SLIPSTREAM_NO_MEMORY, "no memory for an instance");
        return NULL;
    }
    self->table = (slipstream_plugin){
        .struct_size = sizeof self->table,
        .abi_minor = SLIPSTREAM_ABI_MINOR,
        .flags =
            SLIPSTREAM_FLAG_BATCH | SLIPSTREAM_FLAG_EXPLICIT_ACK | SLIPSTREAM_FLAG_MULTI_INSTANCE,
        .instance = self,
        .name = "ledger",
        .version = "1.0.0",
        .destroy = destroy,
        .on_load = on_load,
        .on_unload = on_unload,
        .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast,
        .flush = flush,
    };
    self->host = host;
    self->commit_every = 10000;
    self->commit_interval_ms = 1000;
    return &self->table;
}
