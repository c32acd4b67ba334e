/* gated: writes every call as a line of text to the file `log` of its config, and lets events
 * through as a gate says: the file `gate` holds the last ordinal that may pass; no file, no
 * gate. While it waits, the file `waiting` exists. While the file `busy` exists, it answers RETRY,
 * after `busy_us`. While the file `hold` exists, `on_load` does not return. Compiled with -DNAME,
 * -DVERSION, -DFLAGS, -DKINDS. */
#include <slipstream.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef NAME
#define NAME "gated"
#endif
#ifndef VERSION
#define VERSION "1"
#endif
#ifndef FLAGS
#define FLAGS 0
#endif
#ifndef KINDS
#define KINDS 0xFFFFFFFF0000001F
#endif

enum { PATH_ROOM = 1024 };

typedef struct gated {
    slipstream_plugin table;
    const slipstream_host *host;
    FILE *log;
    char gate[PATH_ROOM];
    char waiting[PATH_ROOM];
    char busy[PATH_ROOM];
    char claim[64];
    int64_t busy_us;
    int64_t event_us;
    int64_t heeds_stop; /* 1: comes back with RETRY when the host wants to stop */
} gated;

static void nap_us(int64_t us) {
    const struct timespec time = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

static void text(gated *self, const char *pointer, char *out, size_t room) {
    const slipstream_config_v1 *config = slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    size_t len = room - 1;
    if (config->get_text(self->host->ctx, pointer, out, &len) == SLIPSTREAM_OK)
        out[len] = '\0';
    else
        out[0] = '\0';
}

static int64_t number(gated *self, const char *pointer) {
    const slipstream_config_v1 *config = slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    int64_t value = 0;
    config->get_i64(self->host->ctx, pointer, &value);
    return value;
}

static void hold(const gated *self, const char *path) {
    FILE *waiting = path[0] != '\0' && access(path, F_OK) == 0 ? fopen(self->waiting, "we") : NULL;
    if (waiting == NULL)
        return;
    fclose(waiting);
    while (access(path, F_OK) == 0)
        nap_us(500);
    unlink(self->waiting);
}

static int32_t on_load(void *instance, const char *json, size_t len, uint32_t reason) {
    gated *self = instance;
    char path[PATH_ROOM];
    (void)json;
    (void)len;
    text(self, "/gate", self->gate, sizeof self->gate);
    text(self, "/waiting", self->waiting, sizeof self->waiting);
    text(self, "/claim", self->claim, sizeof self->claim);
    text(self, "/hold", path, sizeof path);
    hold(self, path);
    text(self, "/log", path, sizeof path);
    text(self, "/busy", self->busy, sizeof self->busy);
    self->busy_us = number(self, "/busy_us");
    self->event_us = number(self, "/event_us");
    self->heeds_stop = number(self, "/heeds_stop");
    if (number(self, "/load_status") != 0)
        return slipstream_fail(self->host, (int32_t)number(self, "/load_status"), "told to fail");
    self->log = fopen(path, "ae");
    if (self->log == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_IO, "cannot open the log");
    if (number(self, "/buffered") != 0)
        setvbuf(self->log, NULL, _IOFBF, 1 << 20);
    else
        setvbuf(self->log, NULL, _IOLBF, 1 << 12);
    fprintf(self->log, "load %u " VERSION "\n", (unsigned)reason);
    return SLIPSTREAM_OK;
}

static int32_t on_unload(void *instance, uint32_t timeout_ms) {
    gated *self = instance;
    (void)timeout_ms;
    fprintf(self->log, "unload " VERSION "\n");
    fflush(self->log);
    return SLIPSTREAM_OK;
}

static void destroy(void *instance) {
    gated *self = instance;
    if (self->log != NULL)
        fclose(self->log);
    free(self);
}

static uint64_t subscribed_events(void *instance) {
    (void)instance;
    return KINDS;
}

static int may_pass(const gated *self, uint64_t ordinal) {
    unsigned long long last = 0;
    FILE *gate = self->gate[0] != '\0' ? fopen(self->gate, "re") : NULL;
    if (gate == NULL)
        return 1;
    const int found = fscanf(gate, "%llu", &last);
    fclose(gate);
    return found == 1 && ordinal <= last;
}

/* 0 if the host wants to stop. */
static int pass(gated *self, uint64_t ordinal) {
    if (may_pass(self, ordinal))
        return 1;
    FILE *waiting = fopen(self->waiting, "we");
    if (waiting != NULL)
        fclose(waiting);
    while (!may_pass(self, ordinal)) {
        if (self->heeds_stop != 0 && self->host->is_stopping(self->host->ctx) != 0)
            return 0;
        nap_us(500);
    }
    unlink(self->waiting);
    return 1;
}

static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    gated *self = instance;
    struct timespec now;
    size_t offset = 0;
    uint64_t ordinal = delivery->first_ordinal;
    slipstream_frame frame;
    slipstream_gap gap;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (self->gate[0] != '\0' && !pass(self, ordinal))
        return SLIPSTREAM_RETRY;
    if (self->busy[0] != '\0' && access(self->busy, F_OK) == 0) {
        fprintf(self->log, "busy %llu %u\n", (unsigned long long)ordinal,
                (unsigned)delivery->attempt);
        nap_us(self->busy_us);
        return slipstream_fail(self->host, SLIPSTREAM_RETRY, "busy");
    }
    if (self->event_us != 0)
        nap_us(self->event_us);
    for (; slipstream_next_frame(frames, len, &offset, &frame) == SLIPSTREAM_OK; ordinal++) {
        if (slipstream_read_gap(&frame, &gap) == SLIPSTREAM_OK)
            fprintf(self->log, "gap %llu %u %u %llu %llu %llu %llu %lld %lld %llu %llu %llu\n",
                    (unsigned long long)ordinal, (unsigned)delivery->attempt,
                    (unsigned)gap.reasons, (unsigned long long)gap.first,
                    (unsigned long long)gap.last, (unsigned long long)gap.count,
                    (unsigned long long)gap.kinds, (long long)gap.first_height,
                    (long long)gap.last_height, (unsigned long long)gap.lost_stream,
                    (unsigned long long)gap.first_sequence,
                    (unsigned long long)gap.last_sequence);
        else
            fprintf(self->log, "event %llu %u %u %lld %llu %zu %lld\n",
                    (unsigned long long)ordinal, (unsigned)delivery->attempt,
                    (unsigned)frame.kind, (long long)frame.height,
                    (unsigned long long)frame.sequence, frame.whole.len,
                    (long long)now.tv_sec * 1000000000 + now.tv_nsec);
    }
    return SLIPSTREAM_OK;
}

static int32_t flush(void *instance, uint32_t timeout_ms) {
    gated *self = instance;
    (void)timeout_ms;
    fprintf(self->log, "flush\n");
    fflush(self->log);
    return SLIPSTREAM_OK;
}

static const char *name_at(void *instance, uint32_t index) {
    gated *self = instance;
    return index == 0 && self->claim[0] != '\0' ? self->claim : NULL;
}

static const void *get_extension(void *instance, const char *id) {
    static const slipstream_payload_v1 payload = {sizeof payload, 0, name_at};
    (void)instance;
    return strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0 ? &payload : NULL;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    gated *self = calloc(1, sizeof *self);
    const slipstream_plugin table = {sizeof table, SLIPSTREAM_ABI_MINOR, 0, FLAGS, self,
                                     NAME, VERSION, destroy, on_load, on_unload,
                                     subscribed_events, on_broadcast, flush, get_extension};
    if (self == NULL)
        return NULL;
    self->table = table;
    self->host = host;
    return &self->table;
}
