/* recorder: writes every call that it gets as a line of JSON to the file `log` of its config,
 * and answers as the config says. Compiled with -DNAME, -DVERSION, -DFLAGS, -DKINDS. */
#include <slipstream.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef NAME
#define NAME "recorder"
#endif
#ifndef VERSION
#define VERSION "1"
#endif
#ifndef FLAGS
#define FLAGS SLIPSTREAM_FLAG_PROMPT
#endif
#ifndef KINDS
#define KINDS 0xFFFFFFFF0000001F
#endif

enum { STATUSES_MAX = 64 };

typedef struct recorder {
    slipstream_plugin table;
    const slipstream_host *host;
    int log;
    uint64_t calls;
    uint64_t statuses_count;
    int64_t statuses[STATUSES_MAX]; /* of the first calls of on_broadcast */
    int64_t run_status;             /* of calls with several frames */
    int64_t load_status;
    int64_t flush_status;
    int64_t unload_status;
    int64_t event_ms;
    char hold[1024];                /* calls do not return while HOLD.CALL is there */
    int64_t unload_ms;
    int64_t ack; /* 1: acknowledge each call */
    char claims[2][64];
} recorder;

static void wait_ms(int64_t ms) {
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Waits while the file HOLD.CALL is there, and says so by the file HOLD.CALL.held. */
static void hold(const recorder *self, const char *call) {
    char path[1100], held[1110];
    if (self->hold[0] == '\0')
        return;
    snprintf(path, sizeof path, "%s.%s", self->hold, call);
    snprintf(held, sizeof held, "%s.held", path);
    if (access(path, F_OK) != 0)
        return;
    const int file = open(held, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0)
        close(file);
    while (access(path, F_OK) == 0)
        wait_ms(1);
}

static int64_t number(recorder *self, const char *pointer) {
    const slipstream_config_v1 *config = slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    int64_t value = 0;
    config->get_i64(self->host->ctx, pointer, &value);
    return value;
}

static int32_t on_load(void *instance, const char *json, size_t len, uint32_t reason) {
    recorder *self = instance;
    const slipstream_config_v1 *config = slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    char path[1024];
    size_t path_len = sizeof path - 1;
    size_t hold_len = sizeof self->hold - 1;
    uint32_t type;
    size_t count = 0;
    if (config->get_text(self->host->ctx, "/log", path, &path_len) != SLIPSTREAM_OK)
        return slipstream_fail(self->host, SLIPSTREAM_INVALID_CONFIG, "log is missing");
    path[path_len] = '\0';
    self->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (config->type_at(self->host->ctx, "/statuses", &type, &count) == SLIPSTREAM_OK)
        for (; self->statuses_count < count && self->statuses_count < STATUSES_MAX;
             self->statuses_count++) {
            char pointer[32];
            snprintf(pointer, sizeof pointer, "/statuses/%u", (unsigned)self->statuses_count);
            self->statuses[self->statuses_count] = number(self, pointer);
        }
    for (size_t i = 0, room = sizeof self->claims[0]; i < 2; i++) {
        size_t claim_len = room - 1;
        if (config->get_text(self->host->ctx, i == 0 ? "/claim" : "/claim_2", self->claims[i],
                             &claim_len) == SLIPSTREAM_OK)
            self->claims[i][claim_len] = '\0';
    }
    if (config->get_text(self->host->ctx, "/hold", self->hold, &hold_len) == SLIPSTREAM_OK)
        self->hold[hold_len] = '\0';
    self->run_status = number(self, "/run_status");
    self->load_status = number(self, "/load_status");
    self->flush_status = number(self, "/flush_status");
    self->unload_status = number(self, "/unload_status");
    self->event_ms = number(self, "/event_ms");
    self->unload_ms = number(self, "/unload_ms");
    self->ack = number(self, "/ack");
    dprintf(self->log,
            "{\"call\": \"load\", \"version\": \"" VERSION "\", \"reason\": %u, \"config\": %.*s}\n",
            (unsigned)reason, (int)len, json);
    hold(self, "load");
    wait_ms(number(self, "/load_ms"));
    if (self->load_status != 0) {
        close(self->log);
        self->log = -1;
        return slipstream_fail(self->host, (int32_t)self->load_status, "told to fail");
    }
    return SLIPSTREAM_OK;
}

static int32_t on_unload(void *instance, uint32_t timeout_ms) {
    recorder *self = instance;
    hold(self, "unload");
    wait_ms(self->unload_ms);
    dprintf(self->log, "{\"call\": \"unload\", \"version\": \"" VERSION "\", \"timeout\": %u}\n",
            (unsigned)timeout_ms);
    if (self->unload_status != 0)
        return slipstream_fail(self->host, (int32_t)self->unload_status, "told to fail");
    return SLIPSTREAM_OK;
}

static void destroy(void *instance) {
    recorder *self = instance;
    if (self->log >= 0) {
        dprintf(self->log, "{\"call\": \"destroy\"}\n");
        close(self->log);
    }
    free(self);
}

static uint64_t subscribed_events(void *instance) {
    (void)instance;
    return KINDS;
}

static void write_frame(recorder *self, const slipstream_delivery *delivery, uint32_t index,
                        const slipstream_frame *frame, int64_t status) {
    slipstream_gap gap = {0};
    slipstream_read_gap(frame, &gap);
    dprintf(self->log,
            "{\"call\": \"event\", \"version\": \"" VERSION
            "\", \"kind\": %u, \"ordinal\": %llu, \"attempt\": %u, \"count\": %u, "
            "\"height\": %lld, \"stream\": %llu, \"sequence\": %llu, \"time\": %lld, "
            "\"flags\": %u, \"len\": %zu, \"status\": %lld, \"gap\": [%u, %llu, %llu, %llu, %llu, "
            "%lld, %lld]}\n",
            (unsigned)frame->kind, (unsigned long long)(delivery->first_ordinal + index),
            (unsigned)delivery->attempt, (unsigned)delivery->count, (long long)frame->height,
            (unsigned long long)frame->stream, (unsigned long long)frame->sequence,
            (long long)frame->time_ns, (unsigned)frame->flags, frame->whole.len, (long long)status,
            (unsigned)gap.reasons, (unsigned long long)gap.first, (unsigned long long)gap.last,
            (unsigned long long)gap.count, (unsigned long long)gap.kinds,
            (long long)gap.first_height, (long long)gap.last_height);
}

static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    recorder *self = instance;
    int64_t status = self->calls < self->statuses_count ? self->statuses[self->calls] : 0;
    size_t offset = 0;
    uint32_t index = 0;
    slipstream_frame frame;
    self->calls++;
    if (delivery->struct_size < sizeof *delivery)
        return slipstream_fail(self->host, SLIPSTREAM_MALFORMED, "delivery is too small");
    if (delivery->count > 1 && self->run_status != 0)
        status = self->run_status;
    hold(self, "event");
    wait_ms(self->event_ms);
    while (slipstream_next_frame(frames, len, &offset, &frame) == SLIPSTREAM_OK)
        write_frame(self, delivery, index++, &frame, status);
    if (index != delivery->count || offset != len)
        return slipstream_fail(self->host, SLIPSTREAM_MALFORMED, "run and count differ");
    if (status != 0)
        return slipstream_fail(self->host, (int32_t)status, "told to fail");
    if (self->ack != 0)
        return slipstream_ack(self->host, delivery->first_ordinal + delivery->count - 1);
    return SLIPSTREAM_OK;
}

static int32_t flush(void *instance, uint32_t timeout_ms) {
    recorder *self = instance;
    hold(self, "flush");
    dprintf(self->log, "{\"call\": \"flush\", \"timeout\": %u}\n", (unsigned)timeout_ms);
    if (self->flush_status != 0)
        return slipstream_fail(self->host, (int32_t)self->flush_status, "told to fail");
    return SLIPSTREAM_OK;
}

static const char *name_at(void *instance, uint32_t index) {
    recorder *self = instance;
    return index < 2 && self->claims[index][0] != '\0' ? self->claims[index] : NULL;
}

static const void *get_extension(void *instance, const char *id) {
    static const slipstream_payload_v1 payload = {sizeof payload, 0, name_at};
    (void)instance;
    return strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0 ? &payload : NULL;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    recorder *self = calloc(1, sizeof *self);
    const slipstream_plugin table = {sizeof table, SLIPSTREAM_ABI_MINOR, 0, FLAGS, self,
                                     NAME, VERSION, destroy, on_load, on_unload,
                                     subscribed_events, on_broadcast, flush, get_extension};
    if (self == NULL)
        return NULL;
    self->table = table;
    self->host = host;
    self->log = -1;
    return &self->table;
}
