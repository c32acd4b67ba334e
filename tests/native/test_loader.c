/* Loader and dispatcher with real plugins: load, stream, pause, reload, unload, again and
 * again; refusals and steps that come late in between.
 * Arguments: rounds, the plugin recorder.so and a copy of it (both without links in their
 * paths, as the loader wants them), a folder, then libraries that are refused. */
#include "check.h"
#include "packed.h"
#include "sequencer/sequencer.h"

#include <string.h>
#include <unistd.h>

static char gap[SS_GAP_LEN];
static size_t gap_len;

enum { WAIT_MS = 240000 };

static ss_log_queue *log;
static uint32_t log_id;

static ss_instance *opened(const char *path) {
    ss_instance *instance = ss_instance_new(log, ++log_id, path, path, "/");
    REQUIRE(instance != NULL);
    REQUIRE(ss_instance_open(instance) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    return instance;
}

static ss_instance_info describe(const ss_instance *instance) {
    ss_instance_info info;
    ss_instance_describe(instance, &info);
    return info;
}

static void close_it(ss_instance *instance, uint32_t mapping) {
    REQUIRE(ss_instance_close(instance) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_close(instance) == SLIPSTREAM_WRONG_STATE);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(describe(instance).mapping == mapping);
    ss_instance_free(instance);
}

static packed config;

static void new_config(const char *folder) {
    char events[2048];
    snprintf(events, sizeof events, "%s/events", folder);
    packed_new(&config);
    packed_add_text(&config, "log", events);
}

static int32_t start_load(ss_instance *instance) {
    size_t len;
    char *bytes = packed_bytes(&config, &len);
    const int32_t status = ss_instance_load(instance, bytes, len, SLIPSTREAM_LOAD_START);
    free(bytes);
    return status;
}

static ss_instance *loaded(const char *path) {
    ss_instance *instance = opened(path);
    REQUIRE(describe(instance).refusal == SS_REFUSED_NOTHING);
    REQUIRE(strcmp(describe(instance).name, "recorder") == 0);
    REQUIRE(ss_instance_set_data_dir(instance, "/one") == SLIPSTREAM_OK);
    REQUIRE(ss_instance_set_data_dir(instance, "/two") == SLIPSTREAM_OK);
    REQUIRE(start_load(instance) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(start_load(instance) == SLIPSTREAM_WRONG_STATE);
    return instance;
}

static void unload_it(ss_instance *instance) {
    REQUIRE(ss_instance_unload(instance, 1000) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(describe(instance).status == SLIPSTREAM_OK && !describe(instance).is_loaded);
    close_it(instance, SS_OS_UNMAPS ? SS_MAPPING_GONE : SS_MAPPING_NEVER);
}

static void drain(void) {
    ss_log_line line;
    while (ss_log_queue_next(log, &line)) {
    }
}

static size_t blocks(uint8_t *run, unsigned count) {
    const ss_draft draft = {.kind = SLIPSTREAM_KIND_BLOCK, .spans = {{run, 0}}};
    const size_t size = ss_frame_size(&draft);
    for (unsigned i = 0; i < count; i++)
        ss_frame_write(run + i * size, size, &draft);
    return count * size;
}

static void stream(const char *path, const char *other, const char *folder) {
    ss_sequencer *sequencer = ss_sequencer_new(log, 1);
    new_config(folder);
    packed_add_text(&config, "claim", "greetings");
    packed_add_numbers(&config, "statuses", 3, (const int64_t[]){0, -1, 2});
    ss_instance *instance = loaded(path);
    uint8_t run[8192];
    uint32_t slot;
    ss_stats stats;
    ss_sent sent;
    const size_t len = blocks(run, 20);
    REQUIRE(describe(instance).is_loaded && strcmp(ss_instance_claim(instance, 0), "greetings") == 0);
    REQUIRE(ss_instance_claim(instance, 1) == NULL);
    REQUIRE(ss_sequencer_attach(sequencer, instance, WAIT_MS, &slot) == SLIPSTREAM_OK);
    REQUIRE(ss_sequencer_send(sequencer, run, len, &sent) == SLIPSTREAM_OK && sent.index == 20);
    REQUIRE(ss_sequencer_set_state(sequencer, slot, SS_SLOT_PAUSED, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(ss_sequencer_send(sequencer, run, len, &sent) == SLIPSTREAM_OK);
    REQUIRE(ss_sequencer_set_state(sequencer, slot, SS_SLOT_RELOADING, WAIT_MS) == SLIPSTREAM_OK);
    new_config(folder);
    ss_instance *fresh = loaded(other);
    REQUIRE(ss_sequencer_replace(sequencer, slot, fresh, WAIT_MS) == SLIPSTREAM_OK);
    unload_it(instance);
    REQUIRE(ss_sequencer_set_state(sequencer, slot, SS_SLOT_RUNNING, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(ss_sequencer_send(sequencer, run, len - 8, &sent) == SLIPSTREAM_MALFORMED &&
            sent.index == 19);
    REQUIRE(ss_sequencer_stats(sequencer, slot, &stats) == SLIPSTREAM_OK);
    REQUIRE(stats.accepted == 59 && stats.acknowledged == 59 && stats.lost == 20);
    REQUIRE(stats.delivered == 38 && stats.dead == 1);
    REQUIRE(ss_sequencer_detach(sequencer, slot, WAIT_MS, &(ss_stats){0}, gap, &gap_len) == SLIPSTREAM_OK);
    REQUIRE(ss_sequencer_stats(sequencer, slot, &stats) == SLIPSTREAM_NOT_FOUND);
    REQUIRE(ss_sequencer_close(sequencer, WAIT_MS) == SLIPSTREAM_OK);
    ss_sequencer_release(sequencer);
    unload_it(fresh);
}

static void deliver_alone(const char *path, const char *folder) {
    new_config(folder);
    packed_add_numbers(&config, "statuses", 2, (const int64_t[]){0, -2});
    ss_instance *instance = loaded(path);
    uint8_t run[1024];
    const size_t len = blocks(run, 1);
    for (int i = 0; i < 3; i++) {
        REQUIRE(ss_instance_deliver(instance, 3, 1, 9, run, len) == SLIPSTREAM_OK);
        REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
        REQUIRE(describe(instance).status == (i == 1 ? SLIPSTREAM_RETRY : SLIPSTREAM_OK));
    }
    REQUIRE(ss_instance_flush(instance, 10) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    unload_it(instance);
}

/* A host that packs wrongly is told so; on_load is not called. */
static void misload(const char *path) {
    ss_instance *instance = opened(path);
    REQUIRE(ss_instance_load(instance, "{}", 2, SLIPSTREAM_LOAD_START) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(describe(instance).status == SLIPSTREAM_MALFORMED && !describe(instance).is_loaded);
    REQUIRE(strstr(describe(instance).text, "packed") != NULL);
    close_it(instance, SS_OS_UNMAPS ? SS_MAPPING_GONE : SS_MAPPING_NEVER);
}

/* A step that takes longer than anybody waits: in the end nothing is left of it. */
static void abandon(const char *path, const char *folder) {
    ss_instance *instance = opened(path);
    new_config(folder);
    packed_add_number(&config, 0, "load_ms", 30);
    REQUIRE(start_load(instance) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, 1) == SLIPSTREAM_TIMEOUT);
    REQUIRE(ss_instance_close(instance) == SLIPSTREAM_WRONG_STATE);
    REQUIRE(ss_instance_flush(instance, 1) == SLIPSTREAM_WRONG_STATE);
    ss_instance_abandon(instance);
    /* One whose step has returned by now, and one that was being closed. */
    new_config(folder);
    ss_instance_abandon(loaded(path));
    packed_add_number(&config, 0, "unload_ms", 5);
    instance = loaded(path);
    REQUIRE(ss_instance_close(instance) == SLIPSTREAM_OK);
    ss_instance_abandon(instance);
    instance = opened(path);
    REQUIRE(ss_instance_close(instance) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    ss_instance_abandon(instance);
    /* Whatever was abandoned undoes itself, up to the unmapping of the library. */
    for (int i = 0; SS_OS_UNMAPS && ss_os_library_is_mapped(path); i++) {
        REQUIRE(i < WAIT_MS);
        usleep(1000);
    }
}

int main(int argc, char **argv) {
    REQUIRE(argc > 4);
    const long rounds = atol(argv[1]);
    log = ss_log_queue_new(1 << 20);
    for (long i = 0; i < rounds; i++) {
        stream(argv[2], argv[3], argv[4]);
        deliver_alone(argv[2], argv[4]);
        misload(argv[2]);
        if (i % 8 == 0)
            abandon(argv[2], argv[4]);
        for (int f = 5; f < argc; f++) {
            ss_instance *refused = opened(argv[f]);
            const ss_instance_info info = describe(refused);
            REQUIRE(info.refusal != SS_REFUSED_NOTHING && info.text[0] != '\0' && info.hint[0] != '\0');
            close_it(refused, SS_MAPPING_NONE);
        }
        drain();
    }
    usleep(100000); /* an abandoned one frees itself after the library was unmapped */
    ss_log_queue_release(log);
    printf("loader: %ld rounds\n", rounds);
    return 0;
}
