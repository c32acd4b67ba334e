/* bad_host - a host that keeps the contract but for one rule, that of its mode:
 *
 *     bad_host MODE FOLDER REPORT     FOLDER has the variants of the probe
 *     bad_host --modes
 *
 * The mode is the id of the probe's check that is to fail; "good" and "good-VARIANT" break none. */
#include "bad_host.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FRAME = 4096, START = 1000 /* the first ordinal may be any */ };

#define CLAIM "claim", "\"org.example.pings\""
#define MANY CLAIM, "reject_every", "2", "retry_every", "5", "refuse_every", "7", "undo_every", "2"

/* Which variant, and what its config has beside the usual. */
static const struct {
    const char *mode, *variant, *more[12];
} modes[] = {
    {"good", "probe", {MANY}},
    {"good-single", "probe-single", {CLAIM, "granted", "0"}},
    {"good-batch", "probe-batch", {MANY}},
    {"good-ack", "probe-ack", {MANY, "ack_every", "1"}},
    {"order.load", "probe", {CLAIM}},
    {"order.subscribe", "probe", {CLAIM}},
    {"order.subscribe-first", "probe", {CLAIM}},
    {"order.broadcast", "probe", {CLAIM}},
    {"order.flush", "probe-ack", {CLAIM}},
    {"order.flush-unasked", "probe", {CLAIM}},
    {"order.unload", "probe", {CLAIM}},
    {"order.unload-failed", "probe", {"fail_load", "1"}},
    {"order.panic", "probe", {"panic_at", "1"}},
    {"order.fatal", "probe", {"fatal_at", "1"}},
    {"order.no-unload", "probe", {CLAIM}},
    {"order.destroy", "probe", {CLAIM}},
    {"order.no-destroy", "probe", {CLAIM}},
    {"order.extension", "probe", {CLAIM}},
    {"order.reverse", "probe", {CLAIM}},
    {"call.instance", "probe", {CLAIM}},
    {"call.overlap", "probe", {CLAIM}},
    {"call.back", "probe", {CLAIM}},
    {"call.thread", "probe", {CLAIM}},
    {"call.delivery-thread", "probe", {CLAIM, "one_thread", "1"}},
    {"call.process", "probe", {CLAIM}},
    {"call.second", "probe-single", {CLAIM}},
    {"host.size", "probe", {NULL}},
    {"host.name", "probe", {CLAIM}},
    {"host.version", "probe", {CLAIM}},
    {"host.function", "probe", {NULL}},
    {"host.changed", "probe", {CLAIM}},
    {"host.own", "probe", {CLAIM}},
    {"table.followed", "probe", {CLAIM}},
    {"extension.table", "probe", {CLAIM}},
    {"extension.unknown", "probe", {CLAIM}},
    {"load.config", "probe", {NULL}},
    {"load.name", "probe", {CLAIM}},
    {"load.libpath", "probe", {CLAIM}},
    {"load.host", "probe", {CLAIM}},
    {"load.reason", "probe", {CLAIM}},
    {"load.stable", "probe", {CLAIM}},
    {"unload.stopping", "probe", {CLAIM}},
    {"unload.log", "probe", {CLAIM, "patience_ms", "50"}},
    {"delivery.null", "probe", {CLAIM}},
    {"delivery.size", "probe", {CLAIM}},
    {"delivery.flags", "probe", {CLAIM}},
    {"delivery.attempt", "probe", {CLAIM}},
    {"delivery.count", "probe-batch", {CLAIM}},
    {"delivery.single", "probe", {CLAIM}},
    {"delivery.stable", "probe", {CLAIM}},
    {"ordinal.dense", "probe", {CLAIM}},
    {"ordinal.repeat", "probe", {CLAIM}},
    {"ordinal.bytes", "probe", {CLAIM}},
    {"settled.again", "probe", {CLAIM, "refuse_every", "1"}},
    {"retry.again", "probe", {CLAIM, "retry_every", "1", "one_thread", "1"}},
    {"retry.attempt", "probe", {CLAIM, "retry_every", "1"}},
    {"run.undone", "probe-batch", {CLAIM, "undo_every", "1"}},
    {"gap.alone", "probe-batch", {CLAIM}},
    {"gap.count", "probe", {CLAIM}},
    {"gap.ordinal", "probe", {CLAIM}},
    {"gap.reasons", "probe", {CLAIM}},
    {"gap.kinds", "probe", {CLAIM}},
    {"gap.place", "probe", {CLAIM}},
    {"kind.unsubscribed", "probe", {CLAIM, "kinds", "8"}},
    {"kind.routed", "probe", {NULL}},
    {"frame.read", "probe", {CLAIM}},
    {"frame.header", "probe", {CLAIM}},
    {"frame.len", "probe", {CLAIM}},
    {"frame.flags", "probe", {CLAIM}},
    {"frame.place", "probe", {CLAIM}},
    {"frame.padding", "probe", {CLAIM}},
    {"payload.read", "probe", {CLAIM}},
    {"payload.fixed", "probe", {CLAIM}},
    {"payload.word", "probe", {CLAIM}},
    {"payload.reserved", "probe", {CLAIM}},
    {"payload.spans", "probe", {CLAIM}},
    {"golden.bytes", "probe", {CLAIM}},
    {"ack.unflagged", "probe", {CLAIM}},
    {"ack.future", "probe-ack", {CLAIM}},
    {"ack.running", "probe-ack", {CLAIM, "ack_every", "1"}},
    {"ack.lower", "probe-ack", {CLAIM, "ack_every", "1"}},
    {"ack.state", "probe-ack", {CLAIM}},
    {"settle.reject", "probe-batch", {CLAIM, "reject_every", "2"}},
    {"settle.outside", "probe-batch", {CLAIM, "reject_every", "2"}},
    {"settle.status", "probe-batch", {CLAIM, "reject_every", "2"}},
    {"settle.state", "probe-batch", {CLAIM, "reject_every", "2"}},
    {"metrics.ok", "probe", {CLAIM}},
    {"metrics.name", "probe", {CLAIM}},
    {"metrics.label", "probe", {CLAIM}},
    {"metrics.other", "probe", {CLAIM}},
    {"config.type", "probe", {CLAIM}},
    {"config.key", "probe", {CLAIM}},
    {"config.text", "probe", {CLAIM}},
    {"config.json", "probe", {CLAIM}},
    {"config.number", "probe", {CLAIM}},
    {"config.bool", "probe", {CLAIM}},
    {"config.wrong-type", "probe", {CLAIM}},
    {"config.missing", "probe", {CLAIM}},
    {"config.pointer", "probe", {CLAIM}},
    {"config.buffer", "probe", {CLAIM}},
    {"config.untouched", "probe", {CLAIM}},
    {"config.state", "probe", {CLAIM}},
    {"config.folder", "probe", {CLAIM}},
    {"peers.state", "probe", {CLAIM, "granted", "15"}},
    {"peers.denied", "probe", {CLAIM, "granted", "7"}},
    {"peers.unknown", "probe", {CLAIM, "granted", "15"}},
    {"peers.buffer", "probe", {CLAIM, "granted", "15"}},
    {"peers.untouched", "probe", {CLAIM, "granted", "15"}},
    {"send.how", "probe", {CLAIM, "granted", "15"}},
    {"send.status", "probe", {CLAIM, "granted", "15"}},
    {"identity.key", "probe", {CLAIM, "granted", "15"}},
    {"identity.sign", "probe", {CLAIM, "granted", "15"}},
    {"identity.open", "probe", {CLAIM, "granted", "15"}},
};

typedef struct instance {
    slipstream_host table;
    const slipstream_plugin *given;
    slipstream_plugin plugin;
} instance;

const char *mode;
static instance one, two;
static slipstream_constructor construct;
static char *config;
static uint8_t buffer[8 * FRAME];
static bool is_over; /* FATAL or PANIC */

/* ---- Calls that come from another thread, in some modes ----------------------------- */

typedef struct call {
    const slipstream_delivery *delivery;
    const uint8_t *frames;
    size_t len;
    int32_t status;
} call;

static void *broadcast(void *context) {
    call *c = context;
    c->status = one.plugin.on_broadcast(one.plugin.instance, c->delivery, c->frames, c->len);
    return NULL;
}

static void *unload_two(void *context) {
    const instance *i = context;
    i->plugin.on_unload(i->plugin.instance, 1000);
    return NULL;
}

static void on_thread(void *(*function)(void *), void *context) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, context) != 0)
        abort();
    pthread_join(thread, NULL);
}

/* Called by ack, and so while on_broadcast runs; once. */
static pthread_t beside;
static uint8_t beside_frame[FRAME];
static slipstream_delivery beside_delivery;
static call beside_call;

static void while_it_runs(void) {
    in_ack = NULL;
    if (is("call.back"))
        one.plugin.get_extension(one.plugin.instance, "org.example.nothing/1");
    if (is("delivery.stable"))
        buffer[32] ^= 1;
    if (is("call.overlap")) {
        const slipstream_delivery delivery = {sizeof delivery, 1, 1, 0, last_ordinal + 1};
        const size_t len = write_frame(SLIPSTREAM_KIND_BLOCK, 77, 0, beside_frame);
        beside_delivery = delivery;
        beside_call = (call){&beside_delivery, beside_frame, len, 0};
        if (pthread_create(&beside, NULL, broadcast, &beside_call) != 0)
            abort();
        usleep(50000);
    }
}

/* ---- Sending ------------------------------------------------------------------------ */

static int32_t offer(const uint8_t *frames, size_t len, uint32_t count, uint64_t first,
                     uint32_t attempt) {
    const slipstream_delivery delivery = {
        is("delivery.size") ? 8 : sizeof delivery, is("delivery.attempt") ? 0 : attempt,
        count + (is("delivery.count") && first == START), is("delivery.flags"), first};
    call c = {&delivery, is("delivery.null") ? NULL : frames, len, 0};
    const bool is_first = first == START && attempt == 1;
    const bool is_apart = is("call.overlap") || is("call.back") || is("delivery.stable");
    first_ordinal = first;
    if (first + count - 1 > last_ordinal)
        last_ordinal = first + count - 1;
    in_ack = is_first && is_apart ? while_it_runs : NULL;
    if (is("call.delivery-thread"))
        on_thread(broadcast, &c);
    else
        broadcast(&c);
    if (is_first && is("call.overlap")) {
        pthread_join(beside, NULL);
        last_ordinal++;
    }
    is_over = is_over || c.status == SLIPSTREAM_FATAL || c.status == SLIPSTREAM_PANIC;
    return c.status;
}

/* One event, until it is taken or refused. */
static void deliver(const uint8_t *frame, size_t len, uint64_t ordinal, uint32_t attempt) {
    int32_t status;
    do
        status = offer(frame, len, 1, ordinal, attempt++);
    while (status == SLIPSTREAM_RETRY && !is("retry.again") && !is("retry.attempt"));
    if (is("retry.attempt") && status == SLIPSTREAM_RETRY && ordinal == START)
        offer(frame, len, 1, ordinal, 1);
}

static void deliver_run(const uint8_t *frames, size_t len, uint32_t count) {
    const uint64_t first = last_ordinal + 1;
    slipstream_frame frame;
    size_t at = 0;
    if (offer(frames, len, count, first, 1) == SLIPSTREAM_OK || is_over)
        return;
    if (is("run.undone")) {
        offer(frames, len, count, first, 2);
        return;
    }
    for (uint64_t i = 0; slipstream_next_frame(frames, len, &at, &frame) == SLIPSTREAM_OK; i++)
        deliver(frame.whole.data, frame.whole.len, first + i, 2);
}

static void send_first_again(size_t len) {
    if (is("ordinal.dense"))
        last_ordinal++;
    if (is("ordinal.repeat"))
        deliver(buffer, len, START, 1);
    if (is("settled.again"))
        deliver(buffer, len, START, 2);
    if (is("ordinal.bytes")) {
        buffer[32] ^= 1;
        deliver(buffer, len, START, 2);
    }
}

static void send_gap(void) {
    const uint64_t last = last_ordinal + (is("gap.alone") ? 1 : 2);
    const size_t len = write_frame(SLIPSTREAM_KIND_GAP, 0, last, buffer);
    deliver(buffer, len, is("gap.ordinal") ? last - 1 : last, 1);
    last_ordinal = last;
}

static void send_runs(void) {
    const bool takes_runs = (one.plugin.flags & SLIPSTREAM_FLAG_BATCH) != 0;
    for (uint64_t run = 0; run < 3; run++) {
        size_t len = 0;
        for (uint64_t i = 0; i < 3; i++)
            len += write_frame(SLIPSTREAM_KIND_BLOCK, 100 + 3 * run + i, 0, buffer + len);
        if (takes_runs || is("delivery.single"))
            deliver_run(buffer, len, 3);
        if (is("gap.alone") && run == 0) {
            len = write_frame(SLIPSTREAM_KIND_BLOCK, 120, 0, buffer);
            len += write_frame(SLIPSTREAM_KIND_GAP, 0, last_ordinal + 2, buffer + len);
            deliver_run(buffer, len, 2);
        }
    }
}

static void send_all(uint64_t kinds) {
    static const uint32_t all[] = {SLIPSTREAM_KIND_BLOCK,          SLIPSTREAM_KIND_MAPPING_UPDATE,
                                   SLIPSTREAM_KIND_PAYLOAD,        SLIPSTREAM_KIND_PEER_SEEN,
                                   SLIPSTREAM_KIND_PEER_FORGOTTEN, SLIPSTREAM_KIND_APP_FIRST};
    last_ordinal = START - 1;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && (!is_over || is("order.fatal")); i++) {
        if ((kinds & SLIPSTREAM_KIND_BIT(all[i])) == 0 && !is("kind.unsubscribed"))
            continue;
        const size_t len = write_frame(all[i], i + 1, 0, buffer);
        deliver(buffer, len, last_ordinal + 1, 1);
        if (i == 0)
            send_first_again(len);
    }
    if (is_over)
        return;
    send_runs();
    send_gap();
    const slipstream_payload_v1 *payload =
        one.plugin.get_extension(one.plugin.instance, SLIPSTREAM_EXT_PAYLOAD);
    if (payload != NULL && payload->name_at(one.plugin.instance, 0) != NULL) {
        const size_t len = write_frame(SLIPSTREAM_KIND_PAYLOAD, 1000, 0, buffer);
        deliver(buffer, len, last_ordinal + 1, 1);
    }
}

/* ---- A life ------------------------------------------------------------------------- */

static bool make(instance *i, const instance *shared) {
    const slipstream_host *table = shared == NULL ? &i->table : &shared->table;
    if (shared == NULL)
        host_table(&i->table, i);
    i->given = construct(table);
    return i->given != NULL && slipstream_take_plugin(i->given, &i->plugin) == SLIPSTREAM_OK;
}

static int32_t load(instance *i) {
    const bool was_loaded = is_loaded;
    config_is_open = true;
    load_text = config;
    is_loaded = false;
    const int32_t status = i->plugin.on_load(i->plugin.instance, config, strlen(config),
                                             is("load.reason") ? 7 : SLIPSTREAM_LOAD_START);
    config_is_open = false;
    load_text = NULL;
    is_loaded = was_loaded;
    if (status == SLIPSTREAM_OK && is("table.followed"))
        i->plugin = *i->given;
    return status;
}

static void unload(instance *i) {
    is_loaded = false;
    is_stopping = true;
    if (is("unload.log"))
        lock_log(true);
    if (is("call.thread"))
        on_thread(unload_two, i);
    else
        unload_two(i);
    if (is("unload.log"))
        lock_log(false);
    is_stopping = false;
}

static void destroy(instance *i) {
    is_loaded = is_stopping = false;
    i->plugin.destroy(i->plugin.instance);
}

static void call_in_child(void) {
    const pid_t child = fork();
    if (child == 0) {
        one.plugin.get_extension(one.plugin.instance, "org.example.nothing/1");
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void run_loaded(void) {
    static char version[] = "1.0.0";
    is_loaded = true;
    if (is("order.load"))
        load(&one);
    if (is("host.changed"))
        one.table.version = version;
    if (is("call.instance"))
        one.plugin.subscribed_events(&one);
    const bool is_late = is("order.subscribe-first");
    const uint64_t kinds = is_late ? UINT64_MAX : one.plugin.subscribed_events(one.plugin.instance);
    if (is("order.subscribe"))
        one.plugin.subscribed_events(one.plugin.instance);
    send_all(kinds);
    if (is_late)
        one.plugin.subscribed_events(one.plugin.instance);
    if (is("order.flush-unasked") ||
        (!is_over && (plugin_flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0))
        one.plugin.flush(one.plugin.instance, 1000);
    if (is("call.process"))
        call_in_child();
}

static void run(void) {
    const bool are_two = is("order.reverse") || is("call.second") || is("good");
    if (!make(&one, NULL))
        return; /* refused */
    plugin_flags = one.plugin.flags;
    if (is("order.flush"))
        one.plugin.flush(one.plugin.instance, 1000);
    if (is("host.own") && make(&two, &one))
        destroy(&two);
    if (load(&one) != SLIPSTREAM_OK) {
        if (is("order.unload-failed"))
            unload(&one);
        destroy(&one);
        return;
    }
    const bool has_two = are_two && make(&two, NULL);
    const bool is_two_loaded = has_two && load(&two) == SLIPSTREAM_OK;
    run_loaded();
    if (is_two_loaded && !is("order.reverse"))
        unload(&two);
    if (has_two && !is("order.reverse"))
        destroy(&two);
    is_loaded = true;
    if (!is("order.no-unload") && (!is_over || is("order.panic") || is("order.fatal")))
        unload(&one);
    if (is("order.unload"))
        unload(&one);
    if (is("order.broadcast"))
        deliver(buffer, write_frame(SLIPSTREAM_KIND_BLOCK, 200, 0, buffer), last_ordinal + 1, 1);
    if (is("order.extension"))
        one.plugin.get_extension(one.plugin.instance, "org.example.nothing/1");
    if (!is("order.no-destroy"))
        destroy(&one);
    if (is("order.destroy"))
        destroy(&one);
    if (is("order.reverse")) {
        unload(&two);
        destroy(&two);
    }
}

static void write_golden(const char *path) {
    FILE *file = fopen(path, "wb");
    const size_t len = write_frame(SLIPSTREAM_KIND_MAPPING_UPDATE, 2, 0, buffer);
    if (file == NULL)
        abort();
    buffer[32] ^= is("golden.bytes");
    fwrite(buffer, 1, len, file);
    fclose(file);
}

static char *joined(const char *format, const char *first, const char *second) {
    static char texts[4][PATH_MAX + 64];
    static size_t used;
    snprintf(texts[used], sizeof texts[0], format, first, second);
    return texts[used++];
}

int main(int argc, char **argv) {
    const size_t count = sizeof modes / sizeof modes[0];
    const char *more[20] = {NULL};
    size_t at = 0, index = 0;
    if (argc == 2 && strcmp(argv[1], "--modes") == 0) {
        for (; index < count; index++)
            puts(modes[index].mode);
        return 0;
    }
    while (argc == 4 && index < count && strcmp(modes[index].mode, argv[1]) != 0)
        index++;
    if (argc != 4 || index == count)
        return 2;
    mode = modes[index].mode;
    for (; at < 12 && modes[index].more[at] != NULL; at++)
        more[at] = modes[index].more[at];
    const char *golden = joined("%s.golden%s", argv[3], "");
    write_golden(golden);
    more[at++] = "golden";
    more[at++] = joined("\"%s\"%s", golden, "");
    more[at++] = "order";
    more[at++] = joined("\"%s.order\"%s", argv[3], "");
    const bool is_refused = is("host.size") || is("host.function") || is("load.config");
    if (is_refused && setenv("PROBE_REPORT", argv[3], 1) != 0)
        return 2;
    const char *path = joined("%s/%s.so", argv[2], modes[index].variant);
    config = config_write(path, is_refused ? NULL : argv[3], more);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return fprintf(stderr, "%s\n", dlerror()), 2;
    *(void **)&construct = dlsym(library, SLIPSTREAM_CONSTRUCTOR);
    run();
    dlclose(library);
    return 0;
}
