/* What the examples of the catalogue take as given: an instance and some helpers. */
#define _GNU_SOURCE
#include <slipstream.h>

#include <fcntl.h>
#include <fenv.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct sqlite3 sqlite3;
typedef struct cJSON cJSON;
enum { SQLITE_OK, SQLITE_BUSY = 5, SQLITE_DONE = 101, SQLITE_OPEN_FULLMUTEX = 65536 };
int sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs);
int sqlite3_step(void *statement);
const char *sqlite3_errmsg(sqlite3 *db);
cJSON *cJSON_ParseWithLength(const char *text, size_t len);

typedef struct mine {
    slipstream_plugin table;
    slipstream_payload_v1 payload;
    const slipstream_host *host;
    sqlite3 *db;
    void *insert, *mapped;
    char path[256];
    char *text;
    uint8_t key[64], buffer[4096];
    void *copy;
    size_t mapped_len;
    double factor;
    uint64_t seen, lost, kinds, first, last, stream, sequence, height, limit, queued;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_key_t per_thread;
    atomic_int stop;
    pid_t child;
    int fd, stopping, loaded, detailed;
} mine;

typedef struct job {
    size_t len;
    uint8_t bytes[];
} job;

typedef struct row {
    uint64_t sequence;
} row;

typedef struct parser {
    const char *text;
    size_t pos;
} parser;

const slipstream_plugin *construct(const slipstream_host *host);
int32_t store(mine *self, const slipstream_frame *frame);
int32_t insert(mine *self, const row *rows, size_t count);
int32_t take_block(mine *self, const slipstream_frame *frame);
int32_t take_update(mine *self, const slipstream_frame *frame);
int32_t take_all(mine *self, const slipstream_delivery *one, const uint8_t *bytes, size_t size);
int32_t take_short(mine *self, const slipstream_delivery *one, const uint8_t *bytes, size_t size);
int32_t remove_all(mine *self, slipstream_bytes mapping);
int32_t read_config(mine *self);
int32_t parse(mine *self, const char *text, size_t len);
int32_t wait_for_worker(mine *self, int ms);
int commit(mine *self);
int connect_to(mine *self);
int is_stored(mine *self, uint64_t stream, uint64_t sequence);
int parse_array(parser *at, int depth);
int parse_plain(parser *at);
void push(mine *self, job *next);
void repair(mine *self);
void roll_back(mine *self);
void stop_and_join(mine *self);
void wake(mine *self);
void *work(void *self);
int32_t on_load(void *instance, const char *config, size_t len, uint32_t reason);
int32_t on_broadcast(void *instance, const slipstream_delivery *delivery, const uint8_t *frames,
                     size_t len);
int32_t flush(void *instance, uint32_t timeout_ms);
uint64_t subscribed_events(void *instance);

/* The arguments of the function that an example is the body of. */
#define EXAMPLE                                                                           \
    mine *self, void *instance, const slipstream_host *host,                              \
        const slipstream_delivery *delivery, const uint8_t *frames, size_t len,           \
        const char *config, uint32_t reason, uint32_t timeout_ms, slipstream_frame frame, \
        slipstream_mapping_update update, slipstream_mapping_removal removal,             \
        const slipstream_config_v1 *keys, const slipstream_settle_v1 *settle,             \
        const slipstream_send_v1 *send, const slipstream_peers_v1 *peers,                 \
        const slipstream_identity_v1 *identity, slipstream_payload payload,               \
        uint64_t place, int32_t status
