/*
 * instance.h - an instance of the probe, which all of its parts share. The probe is a plugin that
 * holds its host to slipstream.h; docs/conformance-host.md tells how to run it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef INSTANCE_H
#define INSTANCE_H

#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE
#include <slipstream.h>

#include "checks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

enum {
    PATH_ROOM = 4096,
    TEXT_ROOM = 1024,
    REMEMBERED = 4096, /* events whose bytes are known if they come again */
    SETTLED = 256,
};

/* ---- json.c: a reader of its own, so that it believes the host nothing -------------- */

typedef struct json {
    const char *start, *end;
    size_t count; /* elements, members, bytes of a text; else 0 */
    uint32_t type; /* SLIPSTREAM_JSON_* */
} json;

/* The value that `text` is; false if it is not valid JSON in UTF-8. */
bool json_parse(const char *text, size_t len, json *out);
/* The child number `index` of an object or array; of an object also its key, a text. */
bool json_child(const json *parent, size_t index, json *key, json *out);
bool json_find(const json *object, const char *key, json *out);
/* Unescapes a text into `out` (room for end - start bytes); returns its length. */
size_t json_unescape(const json *text, char *out);
/* The same for values that mean the same, however they are written. */
uint64_t json_hash(const json *value);
bool json_is_integer(const json *value);

/* ---- The instance ------------------------------------------------------------------- */

typedef enum probe_life {
    CONSTRUCTED,
    LOADING,
    LOADED,
    UNLOADING,
    ENDED, /* by on_unload */
    LOAD_FAILED,
    PANICKED,
    DESTROYED
} probe_life;

/* What is known of events over the whole life of a plugin; a file, where `history` names one. */
typedef struct probe_history {
    uint64_t next; /* the ordinal that comes next; 0: any */
    struct {
        uint64_t ordinal, hash;
    } seen[REMEMBERED];
} probe_history;

typedef struct probe {
    slipstream_plugin table;
    const slipstream_host *host;
    slipstream_host copy; /* of the host's table, at construction */
    struct probe *older;  /* the instance that was made before this one */
    uint32_t flags;
    pid_t process;
    pthread_t thread;
    _Atomic uint32_t inside; /* calls that run */
    _Atomic probe_life life;
    bool is_1_0, is_subscribed, is_fatal, is_registered;

    /* Its config */
    char report_path[PATH_ROOM], order_path[PATH_ROOM], claim[256];
    uint64_t kinds, one_thread, slow_ms, patience_ms, fail_load, panic_at, fatal_at, refuse_every,
        retry_every, retry_times, reject_every, undo_every, ack_every, granted;

    /* The report */
    int report, second;
    _Atomic bool log_is_stuck;
    _Atomic uint32_t tried[CHECKS], broken[CHECKS];
    char *early; /* lines from before the report was open */
    size_t early_len;

    /* Events; guarded by `lock` */
    pthread_mutex_t lock;
    probe_history *history;
    bool history_is_file;
    uint64_t calls, events, gaps, runs, repeats, retries, refused, rejected, flushes, goldens;
    uint64_t delivered;             /* the highest ordinal */
    uint64_t undone_until;          /* up to here they have to come one by one */
    uint64_t retried;               /* the ordinal that was answered RETRY, 0 if none was */
    uint32_t retried_attempt;
    uint64_t settled[SETTLED];
    size_t settled_count;
    uint8_t *golden;
    size_t golden_len;

    /* A thread of its own, from on_load to on_unload */
    pthread_t helper;
    bool has_helper;
    _Atomic uint32_t helper_wanted, helper_done;
} probe;

#define BIT(kind) SLIPSTREAM_KIND_BIT(kind)

/* ---- report.c ----------------------------------------------------------------------- */

/* Counts that a check was made; if it is not `ok`, says so. Returns `ok`. */
__attribute__((format(printf, 4, 5))) bool check(probe *self, probe_check_id id, bool ok,
                                                 const char *format, ...);
/* A line of the report: what stands between the braces, behind "instance". */
__attribute__((format(printf, 2, 3))) void report_line(probe *self, const char *format, ...);
bool report_open(probe *self);
void report_done(probe *self);
/* set_error and log, with texts that are overwritten as soon as the host has them. */
int32_t fail(probe *self, int32_t status, const char *text);
void say(probe *self, const char *text);

/* Around each call of the probe to the host: so it is seen if the host calls back. */
extern _Thread_local int in_host;
#define TELL(call)                                                                                 \
    do {                                                                                           \
        in_host++;                                                                                 \
        call;                                                                                      \
        in_host--;                                                                                 \
    } while (0)
#define ASK(result, call) TELL((result) = (call))

/* ---- Parts -------------------------------------------------------------------------- */

bool check_host_table(probe *self);      /* tables.c */
void check_host_unchanged(probe *self);
void check_extensions(probe *self);
const void *extension(probe *self, const char *id);
void check_metrics(probe *self);
void check_metrics_once_more(probe *self);
void check_not_loaded(probe *self);      /* ack, reject: in on_load and destroy */
void check_reject_state(probe *self);    /* in on_unload */
bool read_config(probe *self, const char *text, size_t len, json *out); /* load.c */
bool lock_second(probe *self);
void unlock_second(probe *self);
void check_order_file(probe *self, bool is_load);
void check_config_extension(probe *self, const json *config);           /* config.c */
void check_config_state(probe *self, const char *where);
void check_peers(probe *self);            /* peers.c */
void check_peers_state(probe *self);     /* in on_load and destroy */
void history_open(probe *self, const char *path, uint32_t reason);      /* history.c */
void history_close(probe *self);
void history_note(probe *self, uint64_t ordinal, uint32_t kind, uint64_t hash);
uint64_t hash_of(const void *bytes, size_t len);
bool start_helper(probe *self);          /* helper.c */
void end_helper(probe *self);
void check_frame(probe *self, const slipstream_frame *frame);           /* frames.c */
void check_golden(probe *self, const slipstream_frame *frame);
bool take_golden(probe *self, const char *path);
int32_t take_run(probe *self, const slipstream_delivery *delivery, const uint8_t *frames,
                 size_t len);            /* events.c */
void wait_ms(uint64_t ms);

#endif
