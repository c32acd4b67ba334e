/* A plugin that notes when things happen. Each event appends one record to the file named
 * by `file` in its config: nanoseconds from the frame's time to the call, and the monotonic
 * clock. A block of one byte crashes it the first time, having noted the clock. At the block "send"
 * it sends a message, at "look" it looks a peer up: then the first number is how long that took. */
#include <fcntl.h>
#include <signal.h>
#include <slipstream.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct record {
    int64_t latency_ns;
    int64_t monotonic_ns;
    int64_t attempt;
} record;

static const slipstream_host *host;
static int file = -1;

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Nanoseconds of a call of the application; 0 if it is not what was asked for, or fails. */
static int64_t call(const char *what) {
    const slipstream_send_v1 *sends = slipstream_extension(host, SLIPSTREAM_EXT_SEND);
    const slipstream_peers_v1 *peers = slipstream_extension(host, SLIPSTREAM_EXT_PEERS);
    static const uint8_t bytes[64] = "peer";
    uint8_t buffer[64];
    size_t len = sizeof buffer;
    uint64_t ticket;
    int32_t status = SLIPSTREAM_FAILED;
    const int64_t start = now_ns(CLOCK_MONOTONIC);
    if (sends != NULL && memcmp(what, "send", 4) == 0)
        status = sends->send(host->ctx, SLIPSTREAM_PEER_DIRECT, bytes, 4, bytes, 4, bytes,
                             sizeof bytes, &ticket);
    if (peers != NULL && memcmp(what, "look", 4) == 0)
        status = peers->lookup(host->ctx, bytes, 4, SLIPSTREAM_PEER_NAME, buffer, &len);
    return status == SLIPSTREAM_OK ? now_ns(CLOCK_MONOTONIC) - start : 0;
}

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *config, size_t len,
                                       uint32_t reason) {
    char path[4096];
    size_t room = sizeof path - 1;
    const slipstream_config_v1 *getters = slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
    (void)instance;
    (void)config;
    (void)len;
    (void)reason;
    if (getters == NULL || getters->get_text(host->ctx, "/file", path, &room) != SLIPSTREAM_OK)
        return slipstream_fail(host, SLIPSTREAM_INVALID_CONFIG, "file is missing");
    path[room] = '\0';
    file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return file < 0 ? slipstream_fail(host, SLIPSTREAM_IO, "cannot open file") : SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    const int64_t now = now_ns(CLOCK_REALTIME);
    slipstream_frame frame;
    slipstream_block block;
    (void)instance;
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK ||
        slipstream_read_block(&frame, &block) != SLIPSTREAM_OK)
        return SLIPSTREAM_IGNORED;
    const int64_t took = block.block.len == 4 ? call((const char *)block.block.data) : 0;
    const record r = {took != 0 ? took : now - frame.time_ns, now_ns(CLOCK_MONOTONIC), delivery->attempt};
    if (write(file, &r, sizeof r) != sizeof r)
        return SLIPSTREAM_IO;
    if (block.block.len == 1 && delivery->attempt == 1)
        raise(SIGSEGV);
    return SLIPSTREAM_OK;
}

static void SLIPSTREAM_CALL destroy(void *instance) {
    (void)instance;
    if (file >= 0)
        close(file);
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *given) {
    static slipstream_plugin table;
    host = given;
    table.struct_size = sizeof table;
    table.name = "probe";
    table.version = "1";
    table.destroy = destroy;
    table.on_load = on_load;
    table.subscribed_events = subscribed_events;
    table.on_broadcast = on_broadcast;
    return &table;
}
