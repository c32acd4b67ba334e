/* rewritten_frames: what the writers of slipstream_host.h make of what the readers found.
 *
 * Standard input: records of u32 length (little-endian) and that many bytes, each one frame.
 * Standard output: the frame that is written from it, as hexadecimal, a line for each; "none"
 * for a kind that has no writer. The buffer ends at an unreadable page; every smaller one has
 * to be refused, with the length that is needed, and left as it was. */
#define _GNU_SOURCE
#include <slipstream_host.h>

#include "guard.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define REQUIRE(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition);         \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

static int32_t write_again(const slipstream_frame *frame, uint8_t *buffer, size_t *len) {
#define AGAIN(name, kind)                                                                 \
    case kind: {                                                                          \
        slipstream_##name event;                                                          \
        REQUIRE(slipstream_read_##name(frame, &event) == SLIPSTREAM_OK);                  \
        return slipstream_write_##name(frame, &event, buffer, len);                       \
    }
    switch (frame->kind) {
        AGAIN(mapping_update, SLIPSTREAM_KIND_MAPPING_UPDATE)
        AGAIN(mapping_removal, SLIPSTREAM_KIND_MAPPING_REMOVAL)
        AGAIN(staking_reward, SLIPSTREAM_KIND_STAKING_REWARD)
        AGAIN(block, SLIPSTREAM_KIND_BLOCK)
        AGAIN(payload, SLIPSTREAM_KIND_PAYLOAD)
        AGAIN(gap, SLIPSTREAM_KIND_GAP)
        AGAIN(peer_seen, SLIPSTREAM_KIND_PEER_SEEN)
        AGAIN(peer_forgotten, SLIPSTREAM_KIND_PEER_FORGOTTEN)
        AGAIN(mark, SLIPSTREAM_KIND_MARK)
    default: {
        slipstream_bytes app;
        if (slipstream_read_app(frame, &app) != SLIPSTREAM_OK)
            return SLIPSTREAM_NOT_FOUND;
        return slipstream_write_app(frame, frame->kind, app, buffer, len);
    }
    }
}

static void examine(const uint8_t *data, size_t data_len) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    slipstream_frame frame;
    size_t needed = 0;
    const int32_t status = slipstream_read_frame(data, data_len, &frame);
    REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_UNSUPPORTED);
    if (write_again(&frame, NULL, &needed) == SLIPSTREAM_NOT_FOUND) {
        puts("none");
        return;
    }
    const size_t room_len = (needed + page - 1) / page * page;
    uint8_t *pages = (uint8_t *)mmap(NULL, room_len + page, PROT_NONE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED && mprotect(pages, room_len, PROT_READ | PROT_WRITE) == 0);
    uint8_t *end = pages + room_len;
    memset(pages, 0xA5, room_len);
    for (size_t less = 1; less <= needed; less++) {
        size_t len = needed - less;
        REQUIRE(write_again(&frame, end - len, &len) == SLIPSTREAM_TOO_LARGE && len == needed);
    }
    for (size_t i = 0; i < room_len; i++)
        REQUIRE(pages[i] == 0xA5);
    size_t len = needed;
    REQUIRE(write_again(&frame, end - needed, &len) == SLIPSTREAM_OK && len == needed);
    for (size_t i = 0; i < len; i++)
        printf("%02x", (end - len)[i]);
    puts("");
    munmap(pages, room_len + page);
}

/* What no golden frame shows: values that are missing, and frames that are too large. */
static void refuse(void) {
    uint8_t buffer[256];
    const slipstream_bytes some = {buffer, 3};
    const slipstream_bytes huge = {buffer, SLIPSTREAM_FRAME_MAX};
    const slipstream_bytes endless = {buffer, SIZE_MAX};
    const slipstream_frame head = {1, 2, 3, 4, 0, 0, {NULL, 0}, {NULL, 0}};
    slipstream_mapping_update update = {some, some, {NULL, 0}, some, 0, 0};
    slipstream_block block = {huge, 0, 0};
    size_t len = sizeof buffer;
    REQUIRE(slipstream_write_mapping_update(&head, &update, buffer, &len) ==
            SLIPSTREAM_INVALID_ARGUMENT && len == sizeof buffer);
    REQUIRE(slipstream_write_block(&head, &block, buffer, &len) == SLIPSTREAM_TOO_LARGE &&
            len == 0);
    block.block = endless;
    len = sizeof buffer;
    REQUIRE(slipstream_write_block(&head, &block, buffer, &len) == SLIPSTREAM_TOO_LARGE &&
            len == 0);
    update.key = endless;
    update.value = endless;
    len = sizeof buffer;
    REQUIRE(slipstream_write_mapping_update(&head, &update, buffer, &len) ==
            SLIPSTREAM_TOO_LARGE && len == 0);
    len = sizeof buffer;
    REQUIRE(slipstream_write_app(&head, 31, some, buffer, &len) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(slipstream_write_app(&head, 64, some, buffer, &len) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(slipstream_write_app(&head, 32, endless, buffer, &len) == SLIPSTREAM_TOO_LARGE);
}

static void SLIPSTREAM_CALL nothing(void *instance) {
    (void)instance;
}

static int32_t SLIPSTREAM_CALL nothing_durable(void *instance, uint32_t timeout_ms) {
    (void)instance;
    return timeout_ms > 0 ? SLIPSTREAM_OK : SLIPSTREAM_TIMEOUT;
}

static int32_t take(slipstream_plugin table, slipstream_plugin *out) {
    return slipstream_take_plugin((const slipstream_plugin *)guarded_copy(&table, table.struct_size),
                                  out);
}

static void take_tables(void) {
    slipstream_plugin good = {SLIPSTREAM_PLUGIN_HEAD, SLIPSTREAM_FLAG_EXPLICIT_ACK, NULL, "a.b-c_9",
                              "1", nothing, NULL, NULL, NULL, NULL, nothing_durable, NULL};
    slipstream_plugin out;
    slipstream_plugin bad = good;
    REQUIRE(take(good, &out) == SLIPSTREAM_OK && out.flush == nothing_durable);
    bad.struct_size -= 8;
    REQUIRE(take(bad, &out) == SLIPSTREAM_MALFORMED && out.destroy == nothing);
    bad.struct_size = 8;
    REQUIRE(take(bad, &out) == SLIPSTREAM_MALFORMED && out.destroy == NULL);
    bad = good;
    bad.min_host_minor = SLIPSTREAM_ABI_MINOR + 1;
    REQUIRE(take(bad, &out) == SLIPSTREAM_UNSUPPORTED);
    const char *const names[] = {"", "A", ".a", "-", "a b", "\xc3\xa4", NULL,
                                 "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bad = good;
        bad.name = names[i];
        REQUIRE(take(bad, &out) == SLIPSTREAM_INVALID_ARGUMENT);
    }
    bad = good;
    bad.flush = NULL;
    REQUIRE(take(bad, &out) == SLIPSTREAM_INVALID_ARGUMENT);
    bad.flags = 0;
    REQUIRE(take(bad, &out) == SLIPSTREAM_OK);
    bad.destroy = NULL;
    REQUIRE(take(bad, &out) == SLIPSTREAM_INVALID_ARGUMENT);
}

int main(void) {
    uint8_t prefix[4];
    refuse();
    take_tables();
    while (fread(prefix, 1, sizeof prefix, stdin) == sizeof prefix) {
        const size_t len = slipstream_load_u32(prefix);
        uint8_t *frame = (uint8_t *)malloc(len + 1);
        if (frame == NULL || fread(frame, 1, len, stdin) != len)
            return 2;
        examine(frame, len);
        free(frame);
    }
    return ferror(stdin) || fflush(stdout) != 0;
}
