#include "peers/side.h"

#include <stdlib.h>
#include <string.h>

static uint64_t there(const ss_side *side) {
    /* Pairs with the release in ss_caller_send: the messages are there. */
    return atomic_load_explicit(&side->map->hatch->put, memory_order_acquire) - side->taken;
}

uint64_t ss_side_waiting(const ss_side *side) {
    const uint64_t many =
        atomic_load_explicit(&side->map->hatch->put_count, memory_order_relaxed) -
        side->taken_count;
    if (side->broken || there(side) == 0)
        return 0;
    return many == 0 || many > side->map->terms.outbox_messages ? 1 : many;
}

/* ---- Messages -------------------------------------------------------------------------- */

static bool is_message(const ss_message_head *head) {
    return (head->how == SLIPSTREAM_PEER_DIRECT || head->how == SLIPSTREAM_PEER_ROUTED) &&
           head->peer_len > 0 && head->name_len > 0 &&
           ss_message_room(head->peer_len, head->name_len, head->body_len) != 0;
}

int32_t ss_side_take_message(ss_side *side, ss_asked *out) {
    ss_hatch *hatch = side->map->hatch;
    const uint64_t put = side->broken ? 0 : there(side);
    ss_message_head head = {0};
    if (put == 0)
        return SLIPSTREAM_NOT_FOUND;
    const bool bounded = put >= sizeof head && put <= side->map->terms.outbox_bytes;
    if (bounded)
        ss_outbox_read(side->map, side->taken, &head, sizeof head);
    const uint64_t bytes = ss_message_room(head.peer_len, head.name_len, head.body_len);
    if (!bounded || !is_message(&head) || bytes > put) {
        side->broken = true;
        return SLIPSTREAM_MALFORMED;
    }
    uint8_t *memory = malloc(bytes);
    if (memory == NULL)
        return SLIPSTREAM_NO_MEMORY;
    ss_outbox_read(side->map, side->taken + sizeof head, memory, bytes - sizeof head);
    *out = (ss_asked){.what = SS_ASKS_SEND,
                      .number = head.how,
                      .ticket = head.ticket,
                      .first = memory,
                      .first_len = head.peer_len,
                      .name = memory + head.peer_len,
                      .name_len = head.name_len,
                      .body = memory + head.peer_len + head.name_len,
                      .body_len = head.body_len,
                      .memory = memory,
                      .side = side->id};
    side->taken += bytes;
    side->taken_count++;
    atomic_store_explicit(&hatch->taken_count, side->taken_count, memory_order_relaxed);
    /* Pairs with the acquire in ss_caller_send: it was copied. */
    atomic_store_explicit(&hatch->taken, side->taken, memory_order_release);
    return SLIPSTREAM_OK;
}

/* ---- Questions ------------------------------------------------------------------------- */

/* May it be asked? A caller has looked at that; a worker that was written over may not have. */
static int32_t judge(const ss_side *side, uint32_t what, uint32_t number, uint32_t len) {
    const ss_terms *terms = &side->map->terms;
    const uint32_t grants = ss_grants_for(what);
    const uint32_t offer = grants == SS_GRANTS_PEERS ? SS_OFFERS_PEERS : SS_OFFERS_IDENTITY;
    const bool looks_up = what == SS_ASKS_LOOKUP;
    const uint32_t most = looks_up ? SS_PEER_MAX : SS_QUESTION_MAX;
    if (grants == 0 || what == SS_ASKS_SEND || len > most || (terms->offers & offer) == 0 ||
        (looks_up && !ss_is_peer_field(number)))
        return SLIPSTREAM_INVALID_ARGUMENT;
    return (terms->grants & grants) == 0 ? SLIPSTREAM_DENIED : SLIPSTREAM_OK;
}

static void write_answer(ss_side *side, uint32_t place, int32_t status, const uint8_t *answer,
                         size_t len) {
    ss_call *call = &side->map->hatch->calls[place];
    if (len > 0)
        memcpy(side->map->answers + (size_t)place * SS_QUESTION_MAX, answer, len);
    atomic_store_explicit(&call->status, status, memory_order_relaxed);
    atomic_store_explicit(&call->answer_len, (uint32_t)len, memory_order_relaxed);
    /* Pairs with the acquire in ss_caller_ask: whoever sees the number sees the answer. */
    atomic_store_explicit(&call->answered, side->questions[place], memory_order_release);
    ss_os_wake(&call->answered, side->map->shared);
}

static int32_t take_at(ss_side *side, uint32_t place, ss_asked *out) {
    const ss_call *call = &side->map->hatch->calls[place];
    /* Pairs with the release in ss_caller_ask: the question is there. */
    const uint32_t asked = atomic_load_explicit(&call->asked, memory_order_acquire);
    if (asked == 0 || asked == side->questions[place])
        return SLIPSTREAM_NOT_FOUND;
    side->questions[place] = asked;
    const uint32_t what = atomic_load_explicit(&call->what, memory_order_relaxed);
    const uint32_t len = atomic_load_explicit(&call->question_len, memory_order_relaxed);
    const uint32_t number = atomic_load_explicit(&call->number, memory_order_relaxed);
    const int32_t status = judge(side, what, number, len);
    if (status != SLIPSTREAM_OK) {
        write_answer(side, place, status, NULL, 0);
        return SLIPSTREAM_MALFORMED;
    }
    uint8_t *memory = malloc((size_t)len + 1);
    if (memory == NULL) {
        write_answer(side, place, SLIPSTREAM_NO_MEMORY, NULL, 0);
        return SLIPSTREAM_NO_MEMORY;
    }
    memcpy(memory, side->map->questions + (size_t)place * SS_QUESTION_MAX, len);
    *out = (ss_asked){.what = what,
                      .number = what == SS_ASKS_LOOKUP ? number : 0,
                      .index = what == SS_ASKS_PEER_AT ? number : 0,
                      .first = memory,
                      .first_len = len,
                      .memory = memory,
                      .side = side->id,
                      .serial = asked,
                      .place = place};
    return SLIPSTREAM_OK;
}

int32_t ss_side_take_question(ss_side *side, ss_asked *out) {
    int32_t status = SLIPSTREAM_NOT_FOUND;
    if ((side->map->terms.offers & (SS_OFFERS_PEERS | SS_OFFERS_IDENTITY)) == 0)
        return status; /* it has no room for any */
    for (uint32_t i = 0; i < SS_CALLS_AT_ONCE && status == SLIPSTREAM_NOT_FOUND; i++) {
        status = take_at(side, side->turn, out);
        side->turn = (side->turn + 1) % SS_CALLS_AT_ONCE;
    }
    return status;
}

bool ss_side_answer(ss_side *side, const ss_asked *asked, int32_t status, const uint8_t *answer,
                    size_t len) {
    const uint32_t number = (uint32_t)asked->serial;
    const ss_call *call = &side->map->hatch->calls[asked->place];
    if (side->questions[asked->place] != number ||
        atomic_load_explicit(&call->asked, memory_order_relaxed) != number)
        return false;
    if (len > SS_QUESTION_MAX)
        status = SLIPSTREAM_FAILED;
    write_answer(side, asked->place, status, answer, status == SLIPSTREAM_OK ? len : 0);
    return true;
}
