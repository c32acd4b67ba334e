/* caller: asks its host what its events say: the body of a PAYLOAD is a command, and what came of it
 * is a line of the file that its config names ("out"). Words are separated by spaces.
 *
 *   send HOW PEER NAME LENGTH      lookup PEER FIELD ROOM      peer_at INDEX ROOM
 *   public_key ROOM                sign TEXT                   open TEXT ROOM
 *   extension ID                   crash                       wait (until it should stop)
 *   aside COMMAND                  on a thread of the plugin's own, which on_unload joins
 *   flood WHAT THREADS COUNT       so many of `send`, `lookup` on each of so many threads
 *
 * With -DSCRIBBLE it also writes over what it shares with its host, in a worker:
 *
 *   scribble put | head | all      the outbox's end, a message's head, everything for 20 ms
 *   scribble WHAT LENGTH           a question (a number) that it has no grant for, past all checks
 *
 * At its unloading it runs the command in "at_unload". Its line: the command, the status, then what
 * was answered: a length, and bytes in hexadecimal. */
#include <slipstream.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef FLAGS
#define FLAGS SLIPSTREAM_FLAG_MULTI_INSTANCE
#endif
#ifndef CLAIM
#define CLAIM "chat"
#endif
#ifndef VERSION
#define VERSION "1"
#endif

#ifdef SCRIBBLE
#include "peers/hatch.h"

#include <linux/futex.h>
#include <sys/syscall.h>

/* The largest memory that it shares and may write to. */
static ss_hatch *find_hatch(void) {
    char line[512];
    unsigned long best = 0, from, to;
    ss_hatch *found = NULL;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%lx-%lx rw-s", &from, &to) == 2 && strstr(line, " rw-s ") != NULL &&
            to - from > best) {
            best = to - from;
            found = (ss_hatch *)from;
        }
    fclose(maps);
    return found;
}

static void ring(ss_hatch *hatch) {
    atomic_fetch_add(&hatch->bell, 1);
    syscall(SYS_futex, &hatch->bell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* What the host has answered; 99 if it does not. */
static int32_t scribble(const char *what, unsigned long len) {
    ss_hatch *hatch = find_hatch();
    const size_t head = (sizeof *hatch + 63) / 64 * 64;
    uint8_t *outbox = (uint8_t *)hatch + head + 2 * SS_CALLS_AT_ONCE * SS_QUESTION_MAX;
    const struct timespec pause = {0, 1000000};
    if (strcmp(what, "put") == 0) {
        atomic_fetch_add(&hatch->put, UINT64_C(1) << 40);
    } else if (strcmp(what, "head") == 0) {
        memset(outbox + atomic_load(&hatch->put), 0xFF, 64);
        atomic_fetch_add(&hatch->put, 64);
    } else if (strcmp(what, "all") == 0) {
        for (int i = 0; i < 20; i++) {
            for (size_t k = 0; k < head; k++)
                ((uint8_t *)hatch)[k] = (uint8_t)rand();
            ring(hatch);
            nanosleep(&pause, NULL);
        }
    } else {
        static uint32_t number = 76;
        ss_call *call = &hatch->calls[3];
        number++;
        atomic_store(&call->what, (uint32_t)atoi(what));
        atomic_store(&call->question_len, (uint32_t)len);
        atomic_store(&call->asked, number);
        ring(hatch);
        for (int i = 0; i < 10000 && atomic_load(&call->answered) != number; i++)
            nanosleep(&pause, NULL);
        return atomic_load(&call->answered) == number ? atomic_load(&call->status) : 99;
    }
    ring(hatch);
    return 0;
}
#endif

enum { ROOM_MAX = 1 << 20, THREADS_MAX = 16 };

#ifdef INFO
SLIPSTREAM_INFO({"name": "caller", "version": "1", "abi": 1, "flags": ["MULTI_INSTANCE"],
                 "kinds": ["BLOCK", "PEER_SEEN", "PEER_FORGOTTEN"],
                 "requires": ["slipstream.send/1", "slipstream.config/1"],
                 "optional": ["slipstream.peers/1"], "grants": ["send", "peers"]});
#endif

typedef struct plugin {
    slipstream_plugin table;
    const slipstream_host *host;
    char out[1024];
    char at_unload[256];
    pthread_t threads[THREADS_MAX];
    int count;
} plugin;

static const slipstream_send_v1 *sends(const plugin *self) {
    return slipstream_extension(self->host, SLIPSTREAM_EXT_SEND);
}
static const slipstream_peers_v1 *peers(const plugin *self) {
    return slipstream_extension(self->host, SLIPSTREAM_EXT_PEERS);
}
static const slipstream_identity_v1 *identity(const plugin *self) {
    return slipstream_extension(self->host, SLIPSTREAM_EXT_IDENTITY);
}

static void tell(const plugin *self, const char *command, int32_t status, size_t len,
                 const uint8_t *bytes, size_t room) {
    char line[4096];
    size_t used = (size_t)snprintf(line, sizeof line, "%s|%d|%zu|", command, (int)status, len);
    for (size_t i = 0; i < room && i < 512; i++)
        used += (size_t)snprintf(line + used, sizeof line - used, "%02x", bytes[i]);
    line[used++] = '\n';
    FILE *file = fopen(self->out, "ae");
    if (file != NULL) {
        fwrite(line, 1, used, file);
        fclose(file);
    }
}

static int32_t send_one(const plugin *self, uint32_t how, const char *peer, const char *name,
                        size_t len, uint64_t *ticket) {
    uint8_t *body = calloc(1, len + 1);
    memset(body, 'b', len);
    const int32_t status =
        sends(self)->send(self->host->ctx, how, (const uint8_t *)peer, strlen(peer),
                          (const uint8_t *)name, strlen(name), body, len, ticket);
    free(body);
    return status;
}

typedef struct flood {
    const plugin *self;
    const char *what;
    long count;
    long statuses[32];
} flood;

static void *flooding(void *argument) {
    flood *f = argument;
    void *ctx = f->self->host->ctx;
    uint8_t buffer[64];
    for (long i = 0; i < f->count; i++) {
        uint64_t ticket;
        size_t len = sizeof buffer;
        int32_t status = SLIPSTREAM_FAILED;
        if (f->what[0] == 's')
            status = sends(f->self)->send(ctx, SLIPSTREAM_PEER_DIRECT, (const uint8_t *)"bob", 3,
                                          (const uint8_t *)"n", 1, buffer, 8, &ticket);
        else if (f->what[0] == 'l')
            status = peers(f->self)->lookup(ctx, (const uint8_t *)"bob", 3, SLIPSTREAM_PEER_NAME,
                                            buffer, &len);
        f->statuses[-status & 31]++;
        if (slipstream_is_stopping(f->self->host))
            break;
    }
    return NULL;
}

static void run_flood(const plugin *self, const char *command, const char *what, int threads,
                      long count) {
    flood floods[THREADS_MAX] = {{0}};
    pthread_t running[THREADS_MAX];
    char said[256];
    long sums[32] = {0};
    for (int i = 0; i < threads; i++) {
        floods[i] = (flood){.self = self, .what = what, .count = count};
        pthread_create(&running[i], NULL, flooding, &floods[i]);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(running[i], NULL);
        for (int k = 0; k < 32; k++)
            sums[k] += floods[i].statuses[k];
    }
    size_t used = 0;
    for (int k = 0; k < 32; k++)
        if (sums[k] > 0)
            used += (size_t)snprintf(said + used, sizeof said - used, "%d:%ld ", -k, sums[k]);
    tell(self, command, SLIPSTREAM_OK, used, (const uint8_t *)said, used);
}

static void run(plugin *self, const char *command);

typedef struct aside {
    plugin *self;
    char command[256];
} aside;

static void *run_aside(void *argument) {
    aside *a = argument;
    run(a->self, a->command);
    free(a);
    return NULL;
}

static void run(plugin *self, const char *command) {
    void *ctx = self->host->ctx;
    char verb[32] = "";
    char first[256] = "";
    char second[256] = "";
    unsigned long number = 0;
    unsigned how = 0;
    uint8_t *buffer = malloc(ROOM_MAX);
    size_t len = 0;
    int32_t status = SLIPSTREAM_FAILED;
    sscanf(command, "%31s", verb);
    if (strcmp(verb, "aside") == 0) {
        aside *a = calloc(1, sizeof *a);
        a->self = self;
        snprintf(a->command, sizeof a->command, "%s", command + 6);
        pthread_create(&self->threads[self->count++], NULL, run_aside, a);
    } else if (strcmp(verb, "send") == 0) {
        uint64_t ticket = 0;
        sscanf(command, "%*s %u %255s %255s %lu", &how, first, second, &number);
        status = send_one(self, how, first, second, number, &ticket);
        tell(self, command, status, (size_t)ticket, NULL, 0);
    } else if (strcmp(verb, "flood") == 0) {
        sscanf(command, "%*s %255s %u %lu", first, &how, &number);
        run_flood(self, command, first, (int)how, (long)number);
    } else if (strcmp(verb, "extension") == 0) {
        sscanf(command, "%*s %255s", first);
        tell(self, command, slipstream_extension(self->host, first) != NULL, 0, NULL, 0);
#ifdef SCRIBBLE
    } else if (strcmp(verb, "scribble") == 0) {
        sscanf(command, "%*s %255s %lu", first, &number);
        tell(self, command, scribble(first, number), 0, NULL, 0);
#endif
    } else if (strcmp(verb, "crash") == 0) {
        abort();
    } else if (strcmp(verb, "wait") == 0) {
        const struct timespec pause = {0, 1000000};
        while (!slipstream_is_stopping(self->host))
            nanosleep(&pause, NULL);
    } else if (strcmp(verb, "lookup") == 0) {
        sscanf(command, "%*s %255s %u %zu", first, &how, &len);
        status = peers(self)->lookup(ctx, (const uint8_t *)first, strlen(first), how, buffer, &len);
        tell(self, command, status, len, buffer, status == SLIPSTREAM_OK ? len : 0);
    } else if (strcmp(verb, "peer_at") == 0) {
        sscanf(command, "%*s %u %zu", &how, &len);
        status = peers(self)->peer_at(ctx, how, buffer, &len);
        tell(self, command, status, len, buffer, status == SLIPSTREAM_OK ? len : 0);
    } else if (strcmp(verb, "public_key") == 0) {
        sscanf(command, "%*s %zu", &len);
        status = identity(self)->public_key(ctx, buffer, &len);
        tell(self, command, status, len, buffer, status == SLIPSTREAM_OK ? len : 0);
    } else if (strcmp(verb, "sign") == 0) {
        sscanf(command, "%*s %255s", first);
        status = identity(self)->sign(ctx, (const uint8_t *)first, strlen(first), buffer);
        tell(self, command, status, 0, buffer,
             status == SLIPSTREAM_OK ? SLIPSTREAM_SIGNATURE_LEN : 0);
    } else if (strcmp(verb, "open") == 0) {
        sscanf(command, "%*s %255s %zu", first, &len);
        status = identity(self)->open(ctx, (const uint8_t *)first, strlen(first), buffer, &len);
        tell(self, command, status, len, buffer, status == SLIPSTREAM_OK ? len : 0);
    }
    free(buffer);
}

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *config, size_t config_len,
                                       uint32_t reason) {
    plugin *self = instance;
    const slipstream_config_v1 *values = slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    size_t len = sizeof self->out - 1;
    (void)config, (void)config_len, (void)reason;
    if (values->get_text(self->host->ctx, "/out", self->out, &len) != SLIPSTREAM_OK)
        return slipstream_fail(self->host, SLIPSTREAM_INVALID_CONFIG, "no out");
    self->out[len] = '\0';
    len = sizeof self->at_unload - 1;
    if (values->get_text(self->host->ctx, "/at_unload", self->at_unload, &len) == SLIPSTREAM_OK)
        self->at_unload[len] = '\0';
    size_t room = 0; /* none of them may be called yet */
    uint64_t ticket;
    if (sends(self) != NULL && sends(self)->send(self->host->ctx, 1, (const uint8_t *)"p", 1,
                                                 (const uint8_t *)"n", 1, NULL, 0, &ticket) !=
                                   SLIPSTREAM_WRONG_STATE)
        return slipstream_fail(self->host, SLIPSTREAM_FAILED, "send in on_load");
    if (peers(self) != NULL &&
        peers(self)->peer_at(self->host->ctx, 0, NULL, &room) != SLIPSTREAM_WRONG_STATE)
        return slipstream_fail(self->host, SLIPSTREAM_FAILED, "peer_at in on_load");
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    plugin *self = instance;
    (void)timeout_ms;
    if (self->at_unload[0] != '\0')
        run(self, self->at_unload);
    for (int i = 0; i < self->count; i++)
        pthread_join(self->threads[i], NULL);
    return SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) |
           SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_SEEN) |
           SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_FORGOTTEN);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    plugin *self = instance;
    slipstream_frame frame;
    slipstream_payload payload;
    slipstream_peer_seen seen;
    slipstream_peer_forgotten forgotten;
    char command[256];
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK)
        return SLIPSTREAM_MALFORMED;
    if (slipstream_read_peer_seen(&frame, &seen) == SLIPSTREAM_OK)
        tell(self, "seen", (int32_t)seen.via, seen.name.len, seen.peer.data, seen.peer.len);
    if (slipstream_read_peer_forgotten(&frame, &forgotten) == SLIPSTREAM_OK)
        tell(self, "forgotten", (int32_t)delivery->attempt, 0, forgotten.peer.data,
             forgotten.peer.len);
    if (slipstream_read_payload(&frame, &payload) != SLIPSTREAM_OK)
        return SLIPSTREAM_OK;
    if ((frame.flags & SLIPSTREAM_FRAME_ROUTED) == 0)
        return SLIPSTREAM_FAILED; /* it subscribes to none */
    snprintf(command, sizeof command, "%.*s", (int)payload.body.len,
             (const char *)payload.body.data);
    /* A worker may be ended for its scribbling before it has acknowledged it: then it comes again. */
    if (delivery->attempt == 1 || strncmp(command, "scribble", 8) != 0)
        run(self, command);
    return SLIPSTREAM_OK;
}

static const char *SLIPSTREAM_CALL name_at(void *instance, uint32_t index) {
    (void)instance;
    return index == 0 ? CLAIM : NULL;
}

static const void *SLIPSTREAM_CALL get_extension(void *instance, const char *id) {
    static const slipstream_payload_v1 payload = {sizeof payload, 0, name_at};
    (void)instance;
    return strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0 ? &payload : NULL;
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    plugin *self = calloc(1, sizeof *self);
    const slipstream_plugin table = {SLIPSTREAM_PLUGIN_HEAD, FLAGS, self, "caller", VERSION, free,
                                     on_load, on_unload, subscribed_events, on_broadcast, NULL,
                                     get_extension};
    if (self == NULL)
        return NULL;
    self->table = table;
    self->host = host;
    return &self->table;
}
