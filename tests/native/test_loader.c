/* Loader and dispatcher with real plugins: load, stream, pause, reload, unload, again and
 * again; refusals and steps that come late in between.
 * Arguments: rounds, the plugin recorder.so and a copy of it (both without links in their
 * paths, as the loader wants them), a folder, then libraries that are refused. */
#include "check.h"
#include "dispatch.h"
#include "probe.h"

#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 240000 };

static ss_logq *log;
static uint32_t source;

static ss_instance *opened(const char *path) {
    ss_instance *instance = ss_instance_new(log, ++source, path, path, "/");
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

static ss_instance *loaded(const char *path, const char *folder, const char *more) {
    char config[2048];
    ss_instance *instance = opened(path);
    REQUIRE(describe(instance).refusal == SS_REFUSED_NOTHING);
    REQUIRE(strcmp(describe(instance).name, "recorder") == 0);
    REQUIRE(ss_instance_set_data_dir(instance, "/one") == SLIPSTREAM_OK);
    REQUIRE(ss_instance_set_data_dir(instance, "/two") == SLIPSTREAM_OK);
    const int len = snprintf(config, sizeof config, "{\"log\":\"%s/events\"%s}", folder, more);
    REQUIRE(ss_instance_load(instance, config, (size_t)len, SLIPSTREAM_LOAD_START) == 0);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_load(instance, config, (size_t)len, 0) == SLIPSTREAM_WRONG_STATE);
    return instance;
}

static void unload_it(ss_instance *instance) {
    REQUIRE(ss_instance_unload(instance, 1000) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(describe(instance).status == SLIPSTREAM_OK && !describe(instance).is_loaded);
    close_it(instance, SS_MAPPING_GONE);
}

static void drain(void) {
    ss_log_line line;
    while (ss_logq_next(log, &line)) {
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
    ss_core *core = ss_core_new(log, 1);
    ss_instance *instance = loaded(path, folder, ",\"statuses\":[0,-1,2],\"claim\":\"greetings\"");
    uint8_t run[8192];
    uint32_t slot;
    ss_stats stats;
    ss_sent sent;
    const size_t len = blocks(run, 20);
    REQUIRE(describe(instance).is_loaded && strcmp(ss_instance_claim(instance, 0), "greetings") == 0);
    REQUIRE(ss_instance_claim(instance, 1) == NULL);
    REQUIRE(ss_core_attach(core, instance, WAIT_MS, &slot) == SLIPSTREAM_OK);
    REQUIRE(ss_core_send(core, run, len, &sent) == SLIPSTREAM_OK && sent.index == 20);
    REQUIRE(ss_core_set_state(core, slot, SS_SLOT_PAUSED, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(ss_core_send(core, run, len, &sent) == SLIPSTREAM_OK);
    REQUIRE(ss_core_set_state(core, slot, SS_SLOT_RELOADING, WAIT_MS) == SLIPSTREAM_OK);
    ss_instance *fresh = loaded(other, folder, "");
    REQUIRE(ss_core_replace(core, slot, fresh, WAIT_MS) == SLIPSTREAM_OK);
    unload_it(instance);
    REQUIRE(ss_core_set_state(core, slot, SS_SLOT_RUNNING, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(ss_core_send(core, run, len - 8, &sent) == SLIPSTREAM_MALFORMED && sent.index == 19);
    REQUIRE(ss_core_stats(core, slot, &stats) == SLIPSTREAM_OK);
    REQUIRE(stats.broadcast == 59 && stats.acknowledged == 59 && stats.dropped == 20);
    REQUIRE(stats.delivered == 38 && stats.failed == 1);
    REQUIRE(ss_core_detach(core, slot, WAIT_MS, &(ss_stats){0}) == SLIPSTREAM_OK);
    REQUIRE(ss_core_stats(core, slot, &stats) == SLIPSTREAM_NOT_FOUND);
    REQUIRE(ss_core_close(core, WAIT_MS) == SLIPSTREAM_OK);
    ss_core_release(core);
    unload_it(fresh);
}

static void deliver_alone(const char *path, const char *folder) {
    ss_instance *instance = loaded(path, folder, ",\"statuses\":[0,-2]");
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

/* A step that takes longer than anybody waits: in the end nothing is left of it. */
static void abandon(const char *path, const char *folder) {
    char config[1024];
    ss_instance *instance = opened(path);
    const int len = snprintf(config, sizeof config, "{\"log\":\"%s/events\",\"load_ms\":30}", folder);
    REQUIRE(ss_instance_load(instance, config, (size_t)len, 0) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, 1) == SLIPSTREAM_TIMEOUT);
    REQUIRE(ss_instance_close(instance) == SLIPSTREAM_WRONG_STATE);
    REQUIRE(ss_instance_flush(instance, 1) == SLIPSTREAM_WRONG_STATE);
    ss_instance_abandon(instance);
    /* One whose step has returned by now, and one that was being closed. */
    ss_instance_abandon(loaded(path, folder, ""));
    instance = loaded(path, folder, ",\"unload_ms\":5");
    REQUIRE(ss_instance_close(instance) == SLIPSTREAM_OK);
    ss_instance_abandon(instance);
    instance = opened(path);
    REQUIRE(ss_instance_close(instance) == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(instance, WAIT_MS) == SLIPSTREAM_OK);
    ss_instance_abandon(instance);
    /* Whatever was abandoned undoes itself, up to the unmapping of the library. */
    for (int i = 0; ss_probe_mapped(path); i++) {
        REQUIRE(i < WAIT_MS);
        usleep(1000);
    }
}

int main(int argc, char **argv) {
    REQUIRE(argc > 4);
    const long rounds = atol(argv[1]);
    log = ss_logq_new(1 << 20);
    for (long i = 0; i < rounds; i++) {
        stream(argv[2], argv[3], argv[4]);
        deliver_alone(argv[2], argv[4]);
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
    ss_logq_release(log);
    printf("loader: %ld rounds\n", rounds);
    return 0;
}
