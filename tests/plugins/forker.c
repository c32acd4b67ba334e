/* forker: forks where it is told to, and lets the child come back from the call, or live on. It
 * writes each call with its process to the file `log` of its config. Compiled with -DFLAGS. */
#include <slipstream.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const slipstream_host *host;
static int file = -1;
static char fork_in[32]; /* load, flush or unload */

static void note(const char *what, uint64_t number) {
    char line[128];
    const int len = snprintf(line, sizeof line, "%s %llu %d\n", what, (unsigned long long)number,
                             (int)getpid());
    if (write(file, line, (size_t)len) != len)
        abort();
}

static void fork_if_in(const char *call) {
    note(call, 0);
    if (strcmp(fork_in, call) == 0)
        fork();
}

static void live_on(int leaves) {
    const pid_t child = fork();
    if (child == 0) {
        if (leaves)
            setsid();
        note("child", 0);
        for (;;)
            pause();
    }
}

static int32_t on_load(void *instance, const char *text, size_t len, uint32_t reason) {
    const slipstream_config_v1 *config = slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
    char path[4096] = ""; /* texts come without a NUL */
    size_t path_len = sizeof path - 1;
    size_t in_len = sizeof fork_in - 1;
    (void)instance, (void)text, (void)len, (void)reason;
    if (config->get_text(host->ctx, "/log", path, &path_len) != SLIPSTREAM_OK)
        return slipstream_fail(host, SLIPSTREAM_INVALID_ARGUMENT, "no log in the config");
    memset(fork_in, 0, sizeof fork_in);
    config->get_text(host->ctx, "/fork_in", fork_in, &in_len);
    file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    fork_if_in("load");
    return SLIPSTREAM_OK;
}

static int32_t on_unload(void *instance, uint32_t timeout_ms) {
    (void)instance, (void)timeout_ms;
    fork_if_in("unload");
    return SLIPSTREAM_OK;
}

static void destroy(void *instance) {
    (void)instance;
}

static uint64_t subscribed_events(void *instance) {
    (void)instance;
    return ~(uint64_t)0;
}

static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    slipstream_frame frame;
    slipstream_bytes body = {0};
    size_t offset = 0;
    (void)instance;
    while (slipstream_next_frame(frames, len, &offset, &frame) == SLIPSTREAM_OK) {
        note("event", delivery->first_ordinal);
        if (slipstream_read_app(&frame, &body) != SLIPSTREAM_OK)
            continue;
        if (body.len == 4 && memcmp(body.data, "fork", 4) == 0)
            fork();
        else if (body.len == 5 && memcmp(body.data, "child", 5) == 0)
            live_on(0);
        else if (body.len == 5 && memcmp(body.data, "leave", 5) == 0)
            live_on(1);
        else if (body.len == 3 && memcmp(body.data, "die", 3) == 0)
            abort();
        else if (body.len == 3 && memcmp(body.data, "ack", 3) == 0 && fork() == 0) {
            note("acked", (uint64_t)(host->ack(host->ctx, delivery->first_ordinal) == 0));
            _exit(0);
        }
    }
    return SLIPSTREAM_OK;
}

static int32_t flush(void *instance, uint32_t timeout_ms) {
    (void)instance, (void)timeout_ms;
    fork_if_in("flush");
    return SLIPSTREAM_OK;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, FLAGS, NULL, "forker", "1", destroy, on_load,
        on_unload, subscribed_events, on_broadcast, flush, NULL};
    host = given;
    return &table;
}
