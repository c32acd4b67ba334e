#include "peers/caller.h"

#include <stdlib.h>
#include <string.h>

static void count(_Atomic uint64_t *counter) {
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

ss_caller *ss_caller_new(ss_hatch_map *map, ss_log_queue *log, uint32_t log_id) {
    ss_caller *caller = calloc(1, sizeof *caller);
    if (caller == NULL) {
        ss_hatch_release(map);
        return NULL;
    }
    caller->map = map;
    caller->log = log;
    caller->log_id = log_id;
    ss_log_queue_retain(log);
    return caller;
}

void ss_caller_free(ss_caller *caller) {
    if (caller == NULL)
        return;
    ss_hatch_release(caller->map);
    ss_log_queue_release(caller->log);
    free(caller);
}

static const char *name_of(uint32_t grant) {
    switch (grant) {
    case SS_GRANTS_SEND:
        return "send";
    case SS_GRANTS_PEERS:
        return "peers";
    case SS_GRANTS_SIGN:
        return "identity.sign";
    default:
        return "identity.open";
    }
}

/* Is it granted? What is not stands in the log once. */
static bool is_granted(ss_caller *caller, uint32_t what) {
    const uint32_t needed = ss_grants_for(what);
    if ((caller->map->terms.grants & needed) != 0)
        return true;
    const uint32_t one = needed & (~needed + 1); /* of several the first would do */
    count(&caller->map->hatch->denied);
    if ((atomic_fetch_or_explicit(&caller->said, one, memory_order_relaxed) & one) == 0)
        ss_log_queue_format(caller->log, SLIPSTREAM_LOG_WARN, caller->log_id,
                            "a call was denied that needs the grant \"%s\": add it to `grants` in "
                            "the plugin's config, or leave it; further ones are only counted",
                            name_of(one));
    return false;
}

/* Bytes that are there and not empty. */
static bool is_given(const uint8_t *data, size_t len) {
    return data != NULL && len > 0;
}

/* ---- Messages -------------------------------------------------------------------------- */

/* The lock is held. Room for so many bytes? What the host says to have taken may be a lie. */
static bool has_room(const ss_caller *caller, uint64_t bytes) {
    const ss_hatch *hatch = caller->map->hatch;
    const ss_terms *terms = &caller->map->terms;
    /* Pairs with the release in ss_desk_take: what is overwritten was copied. */
    const uint64_t used = caller->put - atomic_load_explicit(&hatch->taken, memory_order_acquire);
    const uint64_t waiting =
        caller->put_count - atomic_load_explicit(&hatch->taken_count, memory_order_relaxed);
    return used <= terms->outbox_bytes && bytes <= terms->outbox_bytes - used &&
           waiting < terms->outbox_messages;
}

int32_t ss_caller_send(ss_caller *caller, uint32_t how, const uint8_t *peer, size_t peer_len,
                       const uint8_t *name, size_t name_len, const uint8_t *body, size_t body_len,
                       uint64_t *ticket) {
    ss_hatch *hatch = caller->map->hatch;
    if (!is_granted(caller, SS_ASKS_SEND))
        return SLIPSTREAM_DENIED;
    if ((how != SLIPSTREAM_PEER_DIRECT && how != SLIPSTREAM_PEER_ROUTED) ||
        !is_given(peer, peer_len) || !is_given(name, name_len) ||
        (body == NULL && body_len > 0) || ticket == NULL)
        return SLIPSTREAM_INVALID_ARGUMENT;
    const uint64_t bytes = ss_message_room(peer_len, name_len, body_len);
    if (bytes == 0 || bytes > caller->map->terms.outbox_bytes)
        return SLIPSTREAM_TOO_LARGE;
    ss_lock_take(&caller->lock);
    const bool fits = has_room(caller, bytes);
    if (fits) {
        const ss_message_head head = {caller->put_count + 1, how, (uint32_t)peer_len,
                                      (uint32_t)name_len, (uint32_t)body_len};
        const uint64_t at = caller->put + sizeof head;
        ss_outbox_write(caller->map, caller->put, &head, sizeof head);
        ss_outbox_write(caller->map, at, peer, peer_len);
        ss_outbox_write(caller->map, at + peer_len, name, name_len);
        ss_outbox_write(caller->map, at + peer_len + name_len, body, body_len);
        caller->put += bytes;
        *ticket = ++caller->put_count;
        atomic_store_explicit(&hatch->put_count, caller->put_count, memory_order_relaxed);
        /* Pairs with the acquire in ss_desk_take: whoever sees it sees the message. */
        atomic_store_explicit(&hatch->put, caller->put, memory_order_release);
    }
    ss_lock_release(&caller->lock);
    if (!fits) {
        count(&hatch->retries);
        return SLIPSTREAM_RETRY;
    }
    ss_hatch_ring(caller->map);
    return SLIPSTREAM_OK;
}

/* ---- Questions ------------------------------------------------------------------------- */

/* A free place, which is taken; -1 if there is none. */
static int take_place(ss_caller *caller, uint32_t *number) {
    int place = -1;
    ss_lock_take(&caller->lock);
    for (int i = 0; i < SS_CALLS_AT_ONCE && place < 0; i++)
        if ((caller->taken >> i & 1) == 0)
            place = i;
    if (place >= 0) {
        caller->taken |= 1u << place;
        caller->number += caller->number == UINT32_MAX ? 2 : 1; /* never 0 */
        *number = caller->number;
    }
    ss_lock_release(&caller->lock);
    return place;
}

static void give_place_back(ss_caller *caller, int place) {
    ss_lock_take(&caller->lock);
    caller->taken &= ~(1u << place);
    ss_lock_release(&caller->lock);
}

static bool wait_for_answer(const ss_caller *caller, ss_call *call, uint32_t number) {
    const uint64_t end =
        ss_os_now_ns() + (uint64_t)caller->map->terms.call_timeout_ms * UINT64_C(1000000);
    for (;;) {
        /* Pairs with the release in ss_desk_answer: whoever sees the number sees the answer. */
        const uint32_t seen = atomic_load_explicit(&call->answered, memory_order_acquire);
        if (seen == number)
            return true;
        const uint64_t now = ss_os_now_ns();
        if (now >= end)
            return false;
        ss_os_wait(&call->answered, seen, end - now, caller->map->shared);
    }
}

/* What the host may say. */
static bool is_answer(uint32_t what, int32_t status, uint32_t len) {
    if (status == SLIPSTREAM_OK)
        return len <= SS_QUESTION_MAX &&
               (what != SS_ASKS_SIGN || len == SLIPSTREAM_SIGNATURE_LEN);
    return status < 0 && status >= SLIPSTREAM_DENIED;
}

static int32_t take_answer(const ss_caller *caller, int place, uint32_t what, uint8_t *buffer,
                           size_t *len) {
    const ss_call *call = &caller->map->hatch->calls[place];
    const uint8_t *answer = caller->map->answers + (size_t)place * SS_QUESTION_MAX;
    const int32_t status = atomic_load_explicit(&call->status, memory_order_relaxed);
    const uint32_t size = atomic_load_explicit(&call->answer_len, memory_order_relaxed);
    if (!is_answer(what, status, size))
        return SLIPSTREAM_FAILED;
    if (status == SLIPSTREAM_TOO_LARGE)
        *len = 0;
    if (status != SLIPSTREAM_OK)
        return status;
    const size_t room = *len;
    *len = size;
    if (size > room)
        return SLIPSTREAM_TOO_LARGE;
    if (size > 0)
        memcpy(buffer, answer, size);
    return SLIPSTREAM_OK;
}

/* What nobody needs to wait for: OK if it may be asked. */
static int32_t judge(ss_caller *caller, uint32_t what, uint32_t number, const uint8_t *question,
                     size_t question_len, const uint8_t *buffer, size_t *len) {
    const bool looks_up = what == SS_ASKS_LOOKUP;
    if (!is_granted(caller, what))
        return SLIPSTREAM_DENIED;
    if (len == NULL || (buffer == NULL && *len > 0) || (question == NULL && question_len > 0) ||
        (what == SS_ASKS_OPEN && question == NULL))
        return SLIPSTREAM_INVALID_ARGUMENT;
    if (looks_up && (!ss_is_peer_field(number) || question_len == 0 || question_len > SS_PEER_MAX))
        return SLIPSTREAM_NOT_FOUND; /* nobody is called so, or has that */
    if (question_len <= SS_QUESTION_MAX)
        return SLIPSTREAM_OK;
    *len = 0;
    return SLIPSTREAM_TOO_LARGE;
}

int32_t ss_caller_ask(ss_caller *caller, uint32_t what, uint32_t number, const uint8_t *question,
                      size_t question_len, uint8_t *buffer, size_t *len) {
    ss_hatch *hatch = caller->map->hatch;
    uint32_t asked;
    int32_t status = judge(caller, what, number, question, question_len, buffer, len);
    if (status != SLIPSTREAM_OK)
        return status;
    const int place = take_place(caller, &asked);
    if (place < 0) {
        count(&hatch->retries);
        return SLIPSTREAM_RETRY;
    }
    ss_call *call = &hatch->calls[place];
    if (question_len > 0)
        memcpy(caller->map->questions + (size_t)place * SS_QUESTION_MAX, question, question_len);
    atomic_store_explicit(&call->what, what, memory_order_relaxed);
    atomic_store_explicit(&call->number, number, memory_order_relaxed);
    atomic_store_explicit(&call->question_len, (uint32_t)question_len, memory_order_relaxed);
    /* Pairs with the acquire in ss_desk_take: whoever sees the number sees the question. */
    atomic_store_explicit(&call->asked, asked, memory_order_release);
    ss_hatch_ring(caller->map);
    status = SLIPSTREAM_TIMEOUT;
    if (wait_for_answer(caller, call, asked)) {
        status = take_answer(caller, place, what, buffer, len);
    } else {
        count(&hatch->timeouts);
        atomic_store_explicit(&call->asked, 0, memory_order_relaxed); /* nobody waits for it */
    }
    give_place_back(caller, place);
    return status;
}
