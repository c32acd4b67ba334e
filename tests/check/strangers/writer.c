/* A thread of its own takes everything, and acknowledges it later. */
#include <slipstream.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
SLIPSTREAM_INFO({"name": "writer", "version": "1", "abi": 1, "kinds": ["BLOCK", "STAKING_REWARD"],
                 "flags": ["MULTI_INSTANCE", "EXPLICIT_ACK", "BATCH"]});
typedef struct job {
    struct job *next;
    uint64_t last;
    size_t len;
    uint8_t bytes[];
} job;
typedef struct writer {
    slipstream_plugin table;
    const slipstream_host *host;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    job *first, **end;
    int busy, stop;
} writer;
static void *run(void *arg) {
    writer *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->first == NULL && !w->stop)
            pthread_cond_wait(&w->changed, &w->lock);
        job *j = w->first;
        if (j == NULL)
            break;
        w->first = j->next;
        if (w->first == NULL)
            w->end = &w->first;
        w->busy = 1;
        pthread_mutex_unlock(&w->lock);
        w->host->ack(w->host->ctx, j->last);
        free(j);
        pthread_mutex_lock(&w->lock);
        w->busy = 0;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}
static int32_t on_load(void *i, const char *c, size_t n, uint32_t r) {
    writer *w = i;
    sigset_t all, old;
    (void)c; (void)n; (void)r;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int failed = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed ? slipstream_fail(w->host, SLIPSTREAM_NO_MEMORY, "no thread") : SLIPSTREAM_OK;
}
static int32_t flush(void *i, uint32_t ms) {
    writer *w = i;
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&w->lock);
    while ((w->first != NULL || w->busy) && !late)
        late = ms == SLIPSTREAM_NO_TIMEOUT ? pthread_cond_wait(&w->changed, &w->lock)
                                           : pthread_cond_timedwait(&w->changed, &w->lock, &until);
    const int left = w->first != NULL || w->busy;
    pthread_mutex_unlock(&w->lock);
    return left ? slipstream_fail(w->host, SLIPSTREAM_TIMEOUT, "not all is written yet") : SLIPSTREAM_OK;
}
static int32_t on_unload(void *i, uint32_t ms) {
    writer *w = i;
    (void)ms;
    pthread_mutex_lock(&w->lock);
    w->stop = 1;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    return SLIPSTREAM_OK;
}
static uint64_t subscribed(void *i) {
    (void)i;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) | SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_STAKING_REWARD);
}
static int32_t take(void *i, const slipstream_delivery *d, const uint8_t *frames, size_t len) {
    writer *w = i;
    slipstream_frame f;
    size_t at = 0;
    int32_t s;
    int wanted = 0;
    while ((s = slipstream_next_frame(frames, len, &at, &f)) == SLIPSTREAM_OK) {
        slipstream_block b;
        slipstream_staking_reward r;
        int32_t t = SLIPSTREAM_OK;
        if (f.kind == SLIPSTREAM_KIND_BLOCK)
            t = slipstream_read_block(&f, &b);
        else if (f.kind == SLIPSTREAM_KIND_STAKING_REWARD)
            t = slipstream_read_staking_reward(&f, &r);
        else
            continue;
        if (t != SLIPSTREAM_OK)
            return slipstream_fail(w->host, t, "unreadable");
        wanted = 1;
    }
    if (s != SLIPSTREAM_END)
        return slipstream_fail(w->host, s, "unreadable frame");
    if (!wanted)
        return SLIPSTREAM_IGNORED;
    job *j = malloc(sizeof *j + len);
    if (j == NULL)
        return slipstream_fail(w->host, SLIPSTREAM_NO_MEMORY, "no memory");
    j->next = NULL;
    j->last = d->first_ordinal + d->count - 1;
    j->len = len;
    memcpy(j->bytes, frames, len);
    pthread_mutex_lock(&w->lock);
    *w->end = j;
    w->end = &j->next;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    return SLIPSTREAM_OK;
}
static void destroy(void *i) {
    writer *w = i;
    while (w->first != NULL) {
        job *j = w->first;
        w->first = j->next;
        free(j);
    }
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w);
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->host = host;
    w->end = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    const slipstream_plugin t = {SLIPSTREAM_PLUGIN_HEAD,
                                 SLIPSTREAM_FLAG_MULTI_INSTANCE | SLIPSTREAM_FLAG_EXPLICIT_ACK | SLIPSTREAM_FLAG_BATCH,
                                 w, "writer", "1", destroy, on_load, on_unload, subscribed, take, flush, NULL};
    w->table = t;
    return &w->table;
}
