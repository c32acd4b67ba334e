#include "base/secret.h"

#include "base/lock.h"

#include <slipstream.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024 };

typedef struct secret {
    struct secret *next;
    size_t len;
    uint64_t hash;
} secret;

static struct {
    ss_lock lock; /* for adding one */
    _Atomic uint32_t count;
    uint64_t key;
    _Atomic(secret *) first[BUCKETS]; /* by the first bytes */
} all;

static uint32_t bucket_of(const char *text) {
    uint32_t start;
    memcpy(&start, text, SS_SECRET_SHORTEST);
    return start * UINT32_C(2654435761) >> 22;
}

static uint64_t hash_of(const char *text, size_t len) {
    uint64_t hash = all.key ^ len;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

static const secret *find(const secret *from, size_t len, uint64_t hash) {
    while (from != NULL && (from->len != len || from->hash != hash))
        from = from->next;
    return from;
}

int32_t ss_secret_hide(const char *text, size_t len) {
    int32_t status = SLIPSTREAM_OK;
    if (len < SS_SECRET_SHORTEST)
        return SLIPSTREAM_OK;
    ss_lock_take(&all.lock);
    if (atomic_load_explicit(&all.count, memory_order_relaxed) == 0 &&
        !ss_os_random(&all.key, sizeof all.key))
        all.key = ss_os_now_ns();
    _Atomic(secret *) *first = &all.first[bucket_of(text)];
    secret *next = atomic_load_explicit(first, memory_order_relaxed);
    const uint64_t hash = hash_of(text, len);
    if (find(next, len, hash) == NULL) {
        secret *new = malloc(sizeof *new);
        status = new == NULL ? SLIPSTREAM_NO_MEMORY : SLIPSTREAM_OK;
        if (new != NULL) {
            *new = (secret){next, len, hash};
            /* Both pair with the acquires in ss_secret_at. */
            atomic_store_explicit(first, new, memory_order_release);
            atomic_fetch_add_explicit(&all.count, 1, memory_order_release);
        }
    }
    ss_lock_release(&all.lock);
    return status;
}

size_t ss_secret_at(const char *text, size_t len) {
    size_t longest = 0;
    if (len < SS_SECRET_SHORTEST || atomic_load_explicit(&all.count, memory_order_acquire) == 0)
        return 0;
    const secret *one = atomic_load_explicit(&all.first[bucket_of(text)], memory_order_acquire);
    for (; one != NULL; one = one->next)
        if (one->len <= len && one->len > longest && hash_of(text, one->len) == one->hash)
            longest = one->len;
    return longest;
}
