/*
 * host-c - a whole host in C: loads a plugin, sends it one event of every kind, a gap, a run
 * of a thousand and a routed payload, takes its acknowledgements, and unloads it.
 *
 *     host-c PLUGIN.so [KEY=VALUE ...]       the plugin's config; digits alone are a number
 *
 * It keeps the contract in its simplest form: one plugin, inline, nothing kept for later.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _XOPEN_SOURCE 700
#include "config.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUN = 1000, ROOM = 1 << 20 };

static struct {
    slipstream_plugin plugin;
    char error[512];
    uint64_t kinds, first, rejected; /* of the run that is with the plugin, the first */
    _Atomic uint64_t ordinal, acknowledged;
    _Atomic int is_loaded, is_stopping;
} host;

/* ---- What the plugin may call --------------------------------------------------------
 * From any thread, says the contract; reject would need a lock where a plugin rejects from
 * threads of its own. */

static int32_t log_enabled(void *ctx, uint32_t level) {
    (void)ctx;
    return level >= SLIPSTREAM_LOG_INFO;
}

static void log_line(void *ctx, uint32_t level, const char *text, size_t len) {
    if (log_enabled(ctx, level))
        fprintf(stderr, "%.*s\n", (int)len, len > 0 ? text : "");
}

static void set_error(void *ctx, const char *text, size_t len) {
    (void)ctx;
    snprintf(host.error, sizeof host.error, "%.*s", (int)len, len > 0 ? text : "");
}

static int32_t ack(void *ctx, uint64_t ordinal) {
    uint64_t before = host.acknowledged;
    (void)ctx;
    if (!host.is_loaded && !host.is_stopping)
        return SLIPSTREAM_WRONG_STATE;
    if ((host.plugin.flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) == 0 || ordinal > host.ordinal)
        return SLIPSTREAM_INVALID_ARGUMENT;
    while (ordinal > before &&
           !atomic_compare_exchange_weak(&host.acknowledged, &before, ordinal)) {
    }
    return SLIPSTREAM_OK;
}

static int32_t is_stopping(void *ctx) {
    (void)ctx;
    return host.is_stopping;
}

/* May a status settle an event? The others ask for something else. */
static int settles(int32_t status) {
    return status < 0 && status != SLIPSTREAM_RETRY && status != SLIPSTREAM_NO_MEMORY &&
           status != SLIPSTREAM_TIMEOUT && status != SLIPSTREAM_FATAL && status != SLIPSTREAM_PANIC;
}

static int32_t reject(void *ctx, uint64_t ordinal, int32_t status, const char *text, size_t len) {
    static uint64_t rejected_last;
    const int is_explicit = (host.plugin.flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0;
    (void)ctx;
    if (!host.is_loaded)
        return SLIPSTREAM_WRONG_STATE;
    if (!settles(status) || ordinal > host.ordinal ||
        (is_explicit ? ordinal <= host.acknowledged : ordinal < host.first))
        return SLIPSTREAM_INVALID_ARGUMENT;
    if (ordinal == rejected_last)
        return SLIPSTREAM_OK; /* again; a real host remembers more than the last one */
    rejected_last = ordinal;
    fprintf(stderr, "event %llu is rejected (%d): %.*s\n", (unsigned long long)ordinal,
            (int)status, (int)len, len > 0 ? text : "");
    host.rejected++;
    return SLIPSTREAM_OK;
}

static const void *get_extension(void *ctx, const char *id) {
    static const slipstream_settle_v1 settle = {sizeof settle, 0, reject};
    (void)ctx;
    if (strcmp(id, SLIPSTREAM_EXT_CONFIG) == 0)
        return config_table();
    return strcmp(id, SLIPSTREAM_EXT_SETTLE) == 0 ? &settle : NULL;
}

static const slipstream_host table = {sizeof table, SLIPSTREAM_ABI_MINOR, NULL, "host-c", "1.0.0",
                                      log_enabled, log_line, set_error, ack, is_stopping,
                                      get_extension};

/* ---- Sending --------------------------------------------------------------------------- */

static int fail(const char *what, int32_t status) {
    fprintf(stderr, "host-c: %s: status %d %s\n", what, (int)status, host.error);
    return 1;
}

/* A run of frames with ordinals that end with `last`. Whatever is not taken ends this host;
 * another one would offer it again, or keep it. */
static int32_t deliver(const uint8_t *frames, size_t len, uint32_t count, uint64_t last) {
    const slipstream_delivery delivery = {sizeof delivery, 1, count, 0, last - count + 1};
    host.first = delivery.first_ordinal;
    host.ordinal = last;
    host.error[0] = '\0';
    return host.plugin.on_broadcast(host.plugin.instance, &delivery, frames, len);
}

static int wants(uint32_t kind) {
    const int is_gap = kind == SLIPSTREAM_KIND_GAP;
    return is_gap ? host.kinds != 0 : (host.kinds & SLIPSTREAM_KIND_BIT(kind)) != 0;
}

/* A run where the plugin takes runs, else one by one. */
static int32_t send_run(const uint8_t *frames, size_t len) {
    slipstream_frame frame;
    size_t at = 0;
    int32_t status = SLIPSTREAM_OK;
    if (!wants(SLIPSTREAM_KIND_MAPPING_UPDATE))
        return SLIPSTREAM_OK;
    if ((host.plugin.flags & SLIPSTREAM_FLAG_BATCH) != 0)
        return deliver(frames, len, RUN, host.ordinal + RUN);
    while (status >= 0 && slipstream_next_frame(frames, len, &at, &frame) == SLIPSTREAM_OK)
        status = deliver(frame.whole.data, frame.whole.len, 1, host.ordinal + 1);
    return status;
}

static slipstream_bytes text(const char *value) {
    const slipstream_bytes bytes = {(const uint8_t *)value, strlen(value)};
    return bytes;
}

static int claims(const char *name) {
    const slipstream_payload_v1 *payload =
        host.plugin.get_extension == NULL
            ? NULL
            : host.plugin.get_extension(host.plugin.instance, SLIPSTREAM_EXT_PAYLOAD);
    for (uint32_t i = 0; payload != NULL && payload->name_at(host.plugin.instance, i) != NULL; i++)
        if (strcmp(payload->name_at(host.plugin.instance, i), name) == 0)
            return 1;
    return 0;
}

static int32_t send_all(uint8_t *buffer) {
    slipstream_frame head = {.stream = 0xC0FFEE, .sequence = 0, .time_ns = 1700000000000000000,
                             .height = 7};
    const slipstream_mapping_update update = {text("\7credits\4aleo"), text("\7account"),
                                              text("key"), text(""), 1, 0};
    const slipstream_mapping_removal removal = {update.program_id, update.mapping_name,
                                                {NULL, 0}, 1, 0};
    const slipstream_staking_reward reward = {5, 1000005, text("staker"), text("validator"), 0, 0};
    const slipstream_block block = {text("a block"), 1, 0};
    const slipstream_payload payload = {text("me"), text("org.example.ping"), text("{}"), 0, 0};
    const slipstream_peer_seen seen = {text("peer"), {NULL, 0}, text("Ada"),
                                       SLIPSTREAM_PEER_DIRECT, 0};
    const slipstream_peer_forgotten forgotten = {text("peer")};
    int32_t status = SLIPSTREAM_OK;
    size_t len;
#define SEND(kind, write)                                                                 \
    head.sequence++;                                                                      \
    len = ROOM;                                                                           \
    if (status >= 0 && wants(kind) && (status = (write)) == SLIPSTREAM_OK)                \
        status = deliver(buffer, len, 1, host.ordinal + 1);
    SEND(SLIPSTREAM_KIND_MAPPING_UPDATE,
         slipstream_write_mapping_update(&head, &update, buffer, &len))
    SEND(SLIPSTREAM_KIND_MAPPING_REMOVAL,
         slipstream_write_mapping_removal(&head, &removal, buffer, &len))
    SEND(SLIPSTREAM_KIND_STAKING_REWARD,
         slipstream_write_staking_reward(&head, &reward, buffer, &len))
    SEND(SLIPSTREAM_KIND_BLOCK, slipstream_write_block(&head, &block, buffer, &len))
    SEND(SLIPSTREAM_KIND_PAYLOAD, slipstream_write_payload(&head, &payload, buffer, &len))
    SEND(SLIPSTREAM_KIND_PEER_SEEN, slipstream_write_peer_seen(&head, &seen, buffer, &len))
    SEND(SLIPSTREAM_KIND_PEER_FORGOTTEN,
         slipstream_write_peer_forgotten(&head, &forgotten, buffer, &len))
    SEND(SLIPSTREAM_KIND_APP_FIRST, slipstream_write_app(&head, 32, text("own"), buffer, &len))
    size_t end = 0;
    for (int i = 0; status >= 0 && i < RUN; i++, end += len) {
        head.sequence++;
        len = ROOM - end;
        status = slipstream_write_mapping_update(&head, &update, buffer + end, &len);
    }
    if (status >= 0)
        status = send_run(buffer, end);
    /* Two blocks are lost: their GAP has the ordinal of the second, and a head without place. */
    const uint64_t first = host.ordinal + 1;
    const slipstream_gap gap = {first, first + 1, 2, SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK), 7,
                                7, head.stream, head.sequence + 1, head.sequence + 2,
                                SLIPSTREAM_GAP_PAUSED, 0};
    const slipstream_frame nowhere = {.time_ns = head.time_ns, .height = 7};
    len = ROOM;
    if (status >= 0 && wants(SLIPSTREAM_KIND_GAP) &&
        (status = slipstream_write_gap(&nowhere, &gap, buffer, &len)) == SLIPSTREAM_OK)
        status = deliver(buffer, len, 1, gap.last);
    head.sequence += 3;
    head.flags = SLIPSTREAM_FRAME_ROUTED;
    len = ROOM;
    if (status >= 0 && claims("org.example.ping") &&
        (status = slipstream_write_payload(&head, &payload, buffer, &len)) == SLIPSTREAM_OK)
        status = deliver(buffer, len, 1, host.ordinal + 1);
    return status;
}

/* ---- From load to unload ----------------------------------------------------------------- */

int main(int argc, char **argv) {
    static uint8_t buffer[ROOM];
    static char json[CONFIG_MAX];
    char path[PATH_MAX];
    if (argc < 2 || realpath(argv[1], path) == NULL || !config_take(argv + 2)) {
        fprintf(stderr, "usage: host-c PLUGIN.so [KEY=VALUE ...], no quotes in them\n");
        return 2;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    slipstream_constructor construct = NULL;
    if (library != NULL) /* POSIX: an object pointer that is a function's */
        *(void **)&construct = dlsym(library, SLIPSTREAM_CONSTRUCTOR);
    if (construct == NULL)
        return fail(library == NULL ? dlerror() : "it exports no constructor", 0);
    const slipstream_plugin *given = construct(&table);
    if (given == NULL)
        return fail("the constructor refused", 0);
    int32_t status = slipstream_take_plugin(given, &host.plugin);
    const slipstream_plugin *p = &host.plugin;
    if (status != SLIPSTREAM_OK) {
        if (p->destroy != NULL)
            p->destroy(p->instance);
        return fail("its table", status);
    }
    config_write(json, p->name, path);
    config_is_open = 1;
    status = p->on_load == NULL ? SLIPSTREAM_OK
                                : p->on_load(p->instance, json, strlen(json), SLIPSTREAM_LOAD_START);
    config_is_open = 0;
    if (status != SLIPSTREAM_OK) {
        fail("on_load", status);
        p->destroy(p->instance);
        return 1;
    }
    host.is_loaded = 1;
    host.kinds = p->subscribed_events == NULL ? 0 : p->subscribed_events(p->instance);
    status = host.kinds != 0 && p->on_broadcast == NULL ? SLIPSTREAM_INVALID_ARGUMENT
                                                        : send_all(buffer);
    int failed = status < 0 ? fail("on_broadcast", status) : 0;
    if (status != SLIPSTREAM_PANIC && (p->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0) {
        const int32_t flushed = p->flush(p->instance, SLIPSTREAM_NO_TIMEOUT);
        if (flushed == SLIPSTREAM_OK)
            host.acknowledged = host.ordinal;
        else
            failed = fail("flush", flushed);
    } else if (!failed) {
        host.acknowledged = host.ordinal;
    }
    host.is_loaded = 0;
    host.is_stopping = status != SLIPSTREAM_PANIC;
    if (status != SLIPSTREAM_PANIC && p->on_unload != NULL &&
        (status = p->on_unload(p->instance, 10000)) != SLIPSTREAM_OK)
        failed = fail("on_unload", status);
    host.is_stopping = 0;
    printf("%s %s: last ordinal %llu, acknowledged %llu, rejected %llu\n", p->name, p->version,
           (unsigned long long)host.ordinal, (unsigned long long)host.acknowledged,
           (unsigned long long)host.rejected);
    fflush(stdout);
    p->destroy(p->instance);
    dlclose(library);
    return failed;
}
