/* settler: takes runs, and rejects of them what its config says: ordinals, with a status and a
 * text. Compiled with -DFLAGS. A line of text for each call goes to the file `log`. */
#include <slipstream.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef FLAGS
#define FLAGS SLIPSTREAM_FLAG_BATCH
#endif

enum { REJECTS_MAX = 64 };

static struct settler {
    const slipstream_host *host;
    const slipstream_settle_v1 *settle;
    FILE *log;
    int64_t rejects[REJECTS_MAX];
    size_t count;
    int64_t status;     /* of each rejection */
    int64_t run_status; /* of a run of several that has rejections */
    int64_t late;       /* reject only in flush, or by a thread of its own (2) */
    int64_t short_text; /* a text of one letter */
    uint64_t last;
} me;

static int64_t number(const char *pointer) {
    const slipstream_config_v1 *config = slipstream_extension(me.host, SLIPSTREAM_EXT_CONFIG);
    int64_t value = 0;
    config->get_i64(me.host->ctx, pointer, &value);
    return value;
}

static int32_t reject(uint64_t ordinal, int32_t status) {
    char text[64];
    if (me.short_text)
        strcpy(text, "x");
    else
        snprintf(text, sizeof text, "no \"%llu\" here", (unsigned long long)ordinal);
    return me.settle->reject(me.host->ctx, ordinal, status, text, strlen(text));
}

static int32_t on_load(void *instance, const char *json, size_t len, uint32_t reason) {
    const slipstream_config_v1 *config = slipstream_extension(me.host, SLIPSTREAM_EXT_CONFIG);
    char path[1024], pointer[32];
    size_t path_len = sizeof path - 1;
    uint32_t type;
    size_t count = 0;
    (void)instance, (void)json, (void)len, (void)reason;
    if (config->get_text(me.host->ctx, "/log", path, &path_len) != SLIPSTREAM_OK)
        return SLIPSTREAM_INVALID_CONFIG;
    path[path_len] = '\0';
    me.log = fopen(path, "ae");
    setvbuf(me.log, NULL, _IOLBF, 1 << 12);
    me.settle = slipstream_extension(me.host, SLIPSTREAM_EXT_SETTLE);
    if (me.settle == NULL || slipstream_extension(me.host, SLIPSTREAM_EXT_SEND) != NULL ||
        slipstream_extension(me.host, SLIPSTREAM_EXT_PEERS) != NULL ||
        slipstream_extension(me.host, SLIPSTREAM_EXT_IDENTITY) != NULL)
        return SLIPSTREAM_FAILED;
    config->type_at(me.host->ctx, "/rejects", &type, &count);
    for (me.count = 0; me.count < count && me.count < REJECTS_MAX; me.count++) {
        snprintf(pointer, sizeof pointer, "/rejects/%zu", me.count);
        me.rejects[me.count] = number(pointer);
    }
    me.status = number("/status");
    me.run_status = number("/run_status");
    me.late = number("/late");
    me.short_text = number("/short_text");
    me.last = 0;
    fprintf(me.log, "loading %d\n", (int)reject(1, SLIPSTREAM_FAILED));
    return SLIPSTREAM_OK;
}

static int32_t on_unload(void *instance, uint32_t timeout_ms) {
    (void)instance, (void)timeout_ms;
    fprintf(me.log, "unloading %d\n", (int)reject(me.last, SLIPSTREAM_FAILED));
    return SLIPSTREAM_OK;
}

static void destroy(void *instance) {
    (void)instance;
    if (me.log != NULL)
        fclose(me.log);
    me.log = NULL;
}

static uint64_t subscribed_events(void *instance) {
    (void)instance;
    return ~UINT64_C(0);
}

static int reject_up_to(uint64_t first, uint64_t last, const char *where) {
    int found = 0;
    for (size_t i = 0; i < me.count; i++)
        if ((uint64_t)me.rejects[i] >= first && (uint64_t)me.rejects[i] <= last) {
            const uint64_t ordinal = (uint64_t)me.rejects[i];
            const int once = (int)reject(ordinal, (int32_t)me.status);
            fprintf(me.log, "%s %llu %d %d\n", where, (unsigned long long)ordinal, once,
                    (int)reject(ordinal, (int32_t)me.status));
            found++;
        }
    return found;
}

static void *reject_all(void *unused) {
    (void)unused;
    reject_up_to(1, me.last, "thread");
    return NULL;
}

static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    const uint64_t first = delivery->first_ordinal;
    const uint64_t last = first + delivery->count - 1;
    (void)instance, (void)frames, (void)len;
    me.last = last;
    fprintf(me.log, "run %llu %u %u\n", (unsigned long long)first, (unsigned)delivery->count,
            (unsigned)delivery->attempt);
    if (me.late != 0)
        return SLIPSTREAM_OK;
    if (reject_up_to(first, last, "inside") > 0) {
        fprintf(me.log, "outside %d %d\n", (int)reject(last + 1, SLIPSTREAM_FAILED),
                (int)reject(0, SLIPSTREAM_FAILED));
        for (const int32_t *bad = (const int32_t[]){0, 1, 2, -2, -12, -14, -16, -17, 7}; *bad != 7;
             bad++)
            fprintf(me.log, "bad %d\n", (int)reject(last, *bad));
        if (delivery->count > 1 && me.run_status != 0)
            return (int32_t)me.run_status;
        if (delivery->count == 1 && me.run_status == SLIPSTREAM_IGNORED)
            return SLIPSTREAM_IGNORED;
    }
    return SLIPSTREAM_OK;
}

static int32_t flush(void *instance, uint32_t timeout_ms) {
    pthread_t thread;
    (void)instance, (void)timeout_ms;
    if (me.late == 2 && pthread_create(&thread, NULL, reject_all, NULL) == 0)
        pthread_join(thread, NULL);
    else if (me.late != 0)
        reject_up_to(1, me.last, "flush");
    me.count = 0;
    return SLIPSTREAM_OK;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {SLIPSTREAM_PLUGIN_HEAD, FLAGS, &me, "settler", "1.2",
                                            destroy, on_load, on_unload, subscribed_events,
                                            on_broadcast, flush, NULL};
    me.host = host;
    return &table;
}
