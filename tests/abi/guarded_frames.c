/* guarded_frames: what the header's readers make of bytes, wherever those lie.
 *
 * Standard input: records of u32 length (little-endian) and that many bytes, each a run
 * of frames. Standard output: one line for each. A run is read once with its end flush
 * against an unreadable page, then at every alignment before such a page and behind one;
 * every reading has to give the same line. */
#define _GNU_SOURCE
#include <slipstream.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ONLY_FLUSH = 1 << 20, ALIGNMENTS = 8 };

static volatile unsigned sink;

static void touch(slipstream_bytes bytes) {
    unsigned sum = 0;
    for (size_t i = 0; i < bytes.len; i++)
        sum += bytes.data[i];
    sink += sum;
}

static void show(FILE *out, slipstream_bytes bytes) {
    fputs(bytes.data == NULL ? " absent" : " =", out);
    for (size_t i = 0; i < bytes.len; i++)
        fprintf(out, "%02x", bytes.data[i]);
}

static void show_frame(FILE *out, const slipstream_frame *frame) {
    slipstream_mapping_update update;
    slipstream_mapping_removal removal;
    slipstream_staking_reward reward;
    slipstream_block block;
    slipstream_payload payload;
    slipstream_gap gap;
    slipstream_peer_seen seen;
    slipstream_peer_forgotten forgotten;
    slipstream_mark mark;
    slipstream_bytes app;
    const int32_t statuses[] = {
        slipstream_read_mapping_update(frame, &update),
        slipstream_read_mapping_removal(frame, &removal),
        slipstream_read_staking_reward(frame, &reward),
        slipstream_read_block(frame, &block),
        slipstream_read_payload(frame, &payload),
        slipstream_read_gap(frame, &gap),
        slipstream_read_peer_seen(frame, &seen),
        slipstream_read_peer_forgotten(frame, &forgotten),
        slipstream_read_mark(frame, &mark),
        slipstream_read_app(frame, &app),
    };
    touch(frame->whole);
    touch(frame->payload);
    fprintf(out, " %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRIu64,
            frame->kind, frame->flags, frame->stream, frame->sequence, frame->time_ns,
            frame->height);
    fprintf(out, " %zu %zu :", frame->whole.len, frame->payload.len);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        fprintf(out, " %" PRId32, statuses[i]);
    if (statuses[0] == SLIPSTREAM_OK) {
        show(out, update.program_id);
        show(out, update.mapping_name);
        show(out, update.key);
        show(out, update.value);
        fprintf(out, " %" PRIu32, update.encoding);
    }
    if (statuses[1] == SLIPSTREAM_OK) {
        show(out, removal.program_id);
        show(out, removal.mapping_name);
        show(out, removal.key);
        fprintf(out, " %" PRIu32, removal.encoding);
    }
    if (statuses[2] == SLIPSTREAM_OK) {
        show(out, reward.staker);
        show(out, reward.validator);
        fprintf(out, " %" PRIu32 " %" PRIu64 " %" PRIu64, reward.encoding, reward.reward,
                reward.new_stake);
    }
    if (statuses[3] == SLIPSTREAM_OK) {
        show(out, block.block);
        fprintf(out, " %" PRIu32, block.encoding);
    }
    if (statuses[4] == SLIPSTREAM_OK) {
        show(out, payload.source);
        show(out, payload.name);
        show(out, payload.body);
        fprintf(out, " %" PRIu32, payload.encoding);
    }
    if (statuses[5] == SLIPSTREAM_OK)
        fprintf(out, " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
                " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
                gap.reasons, gap.first, gap.last, gap.count, gap.kinds, gap.first_height,
                gap.last_height, gap.lost_stream, gap.first_sequence, gap.last_sequence);
    if (statuses[6] == SLIPSTREAM_OK) {
        show(out, seen.peer);
        show(out, seen.public_key);
        show(out, seen.name);
        fprintf(out, " %" PRIu32, seen.via);
    }
    if (statuses[7] == SLIPSTREAM_OK)
        show(out, forgotten.peer);
    if (statuses[8] == SLIPSTREAM_OK) {
        show(out, mark.name);
        show(out, mark.body);
    }
    if (statuses[9] == SLIPSTREAM_OK)
        show(out, app);
}

/* The line for a run; the caller frees it. */
static char *describe(const uint8_t *data, size_t len) {
    char *line = NULL;
    size_t line_len = 0;
    FILE *out = open_memstream(&line, &line_len);
    slipstream_frame frame;
    size_t offset = 0;
    int32_t status;
    if (out == NULL)
        abort();
    fprintf(out, "%" PRId32 " ;", slipstream_read_frame(data, len, &frame));
    while ((status = slipstream_next_frame(data, len, &offset, &frame)) == SLIPSTREAM_OK ||
           status == SLIPSTREAM_UNSUPPORTED) {
        if (frame.whole.len == 0) {
            fputs("a frame of no bytes: the run would never end\n", stderr);
            exit(4);
        }
        fprintf(out, " %" PRId32, status);
        show_frame(out, &frame);
        fputs(" ;", out);
    }
    fprintf(out, " %" PRId32 " at %zu", status, offset);
    if (fclose(out) != 0)
        abort();
    return line;
}

static char *describe_at(uint8_t *room, size_t room_len, size_t start, const uint8_t *run,
                         size_t len) {
    if (len < ONLY_FLUSH)
        memset(room, 0xA5, room_len);
    if (len > 0)
        memcpy(room + start, run, len);
    return describe(room + start, len);
}

static void examine(const uint8_t *run, size_t len) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t room_len = (len + ALIGNMENTS + page - 1) / page * page;
    uint8_t *pages = (uint8_t *)mmap(NULL, room_len + 2 * page, PROT_NONE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *room = pages + page;
    char *line;
    if (pages == MAP_FAILED || mprotect(room, room_len, PROT_READ | PROT_WRITE) != 0)
        abort();
    line = describe_at(room, room_len, room_len - len, run, len);
    for (size_t i = 0; i < 2 * ALIGNMENTS && len < ONLY_FLUSH; i++) {
        const size_t start = i < ALIGNMENTS ? i : room_len - len - (i - ALIGNMENTS);
        char *other = describe_at(room, room_len, start, run, len);
        if (strcmp(line, other) != 0) {
            fprintf(stderr, "at %zu of %zu: %s\nelsewhere: %s\n", start, room_len, other, line);
            exit(3);
        }
        free(other);
    }
    if (puts(line) < 0 || munmap(pages, room_len + 2 * page) != 0)
        abort();
    free(line);
}

int main(void) {
    uint8_t prefix[4];
    while (fread(prefix, 1, sizeof prefix, stdin) == sizeof prefix) {
        const size_t len = slipstream_load_u32(prefix);
        uint8_t *run = (uint8_t *)malloc(len + 1);
        if (run == NULL || fread(run, 1, len, stdin) != len)
            return 2;
        examine(run, len);
        free(run);
    }
    return ferror(stdin) || fflush(stdout) != 0;
}
