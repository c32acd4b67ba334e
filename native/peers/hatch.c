#include "peers/hatch.h"

#include <stdlib.h>
#include <string.h>

uint32_t ss_grants_for(uint32_t what) {
    switch (what) {
    case SS_ASKS_SEND:
        return SS_GRANTS_SEND;
    case SS_ASKS_LOOKUP:
    case SS_ASKS_PEER_AT:
        return SS_GRANTS_PEERS;
    case SS_ASKS_PUBLIC_KEY:
        return SS_GRANTS_SIGN | SS_GRANTS_OPEN;
    case SS_ASKS_SIGN:
        return SS_GRANTS_SIGN;
    case SS_ASKS_OPEN:
        return SS_GRANTS_OPEN;
    default:
        return 0;
    }
}

/* Where the outbox begins. */
static size_t head_size(const ss_terms *terms) {
    const size_t head = (sizeof(ss_hatch) + 63) / 64 * 64;
    const bool asks = (terms->offers & (SS_OFFERS_PEERS | SS_OFFERS_IDENTITY)) != 0;
    return head + (asks ? (size_t)2 * SS_CALLS_AT_ONCE * SS_QUESTION_MAX : 0);
}

size_t ss_hatch_size(const ss_terms *terms) {
    const size_t size = head_size(terms) + terms->outbox_bytes;
    return (size + SS_OS_PAGE - 1) / SS_OS_PAGE * SS_OS_PAGE;
}

static ss_hatch_map *mapped(const ss_terms *terms, void *area, bool shared) {
    ss_hatch_map *map = area == NULL ? NULL : calloc(1, sizeof *map);
    if (map == NULL) {
        ss_os_area_free(area, ss_hatch_size(terms));
        return NULL;
    }
    uint8_t *start = area;
    map->hatch = area;
    map->questions = start + (sizeof(ss_hatch) + 63) / 64 * 64;
    map->answers = map->questions + (size_t)SS_CALLS_AT_ONCE * SS_QUESTION_MAX;
    map->outbox = start + head_size(terms);
    map->terms = *terms;
    map->size = ss_hatch_size(terms);
    map->shared = shared;
    atomic_store(&map->references, 1);
    return map;
}

ss_hatch_map *ss_hatch_new(const ss_terms *terms, int *fd) {
    ss_hatch_map *map = mapped(terms, ss_os_area_new(ss_hatch_size(terms), fd), fd != NULL);
    if (map == NULL && fd != NULL && *fd >= 0) {
        ss_os_file_close(*fd);
        *fd = -1;
    }
    return map;
}

ss_hatch_map *ss_hatch_open(const ss_terms *terms, int fd) {
    return mapped(terms, ss_os_area_open(fd, ss_hatch_size(terms)), true);
}

void ss_hatch_retain(ss_hatch_map *map) {
    atomic_fetch_add_explicit(&map->references, 1, memory_order_relaxed);
}

void ss_hatch_release(ss_hatch_map *map) {
    /* Pairs with itself: whoever is last sees what all others did. */
    if (map == NULL || atomic_fetch_sub_explicit(&map->references, 1, memory_order_acq_rel) > 1)
        return;
    ss_os_area_free(map->hatch, map->size);
    free(map);
}

void ss_outbox_write(const ss_hatch_map *map, uint64_t at, const void *data, size_t len) {
    const size_t start = (size_t)(at % map->terms.outbox_bytes);
    const size_t left = (size_t)map->terms.outbox_bytes - start;
    const size_t first = len < left ? len : left;
    if (len == 0)
        return;
    memcpy(map->outbox + start, data, first);
    memcpy(map->outbox, (const uint8_t *)data + first, len - first);
}

void ss_outbox_read(const ss_hatch_map *map, uint64_t at, void *out, size_t len) {
    const size_t start = (size_t)(at % map->terms.outbox_bytes);
    const size_t left = (size_t)map->terms.outbox_bytes - start;
    const size_t first = len < left ? len : left;
    if (len == 0)
        return;
    memcpy(out, map->outbox + start, first);
    memcpy((uint8_t *)out + first, map->outbox, len - first);
}

void ss_hatch_ring(const ss_hatch_map *map) {
    ss_hatch *hatch = map->hatch;
    /* Both in the one order of all such steps, as are those of ss_desk_take: either it sees what
     * was put, or this sees that somebody sleeps; and a sleep that has not begun yet does not begin,
     * for the bell has changed. */
    atomic_fetch_add(&hatch->bell, 1);
    if (atomic_load(&hatch->sleepers) != 0)
        ss_os_wake(&hatch->bell, map->shared);
}
