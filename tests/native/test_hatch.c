/* test_hatch: what passes through a hatch; and a host's side that is written over at random while
 * the plugin's reads it. ../fuzz has more of that, one step after the other.
 * Usage: test_hatch [ROUNDS [SEED]] */
#include "check.h"
#include "peers/desk.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

enum { SENDERS = 4, MESSAGES = 2000, ASKERS = 8 };

static const ss_terms all = {
    .offers = SS_OFFERS_SEND | SS_OFFERS_PEERS | SS_OFFERS_IDENTITY,
    .grants = SS_GRANTS_SEND | SS_GRANTS_PEERS | SS_GRANTS_SIGN | SS_GRANTS_OPEN,
    .call_timeout_ms = 20000,
    .outbox_messages = 64,
    .outbox_bytes = 4096,
};

static ss_log_queue *log_queue;

/* ---- As it should be ------------------------------------------------------------------- */

static void *sending(void *argument) {
    ss_caller *caller = argument;
    uint8_t body[200];
    for (uint32_t i = 0; i < MESSAGES; i++) {
        const size_t len = i % sizeof body;
        uint64_t ticket = 0;
        int32_t status;
        memset(body, (int)len, sizeof body);
        memcpy(body, &i, sizeof i < len ? sizeof i : len);
        while ((status = ss_caller_send(caller, SLIPSTREAM_PEER_DIRECT, (const uint8_t *)"peer", 4,
                                        (const uint8_t *)"name", 4, body, len, &ticket)) ==
               SLIPSTREAM_RETRY)
            ss_os_sleep_ns(50000);
        REQUIRE(status == SLIPSTREAM_OK && ticket > 0);
    }
    return NULL;
}

/* Answers with the question, turned around; counts messages. */
static void *serving(void *argument) {
    ss_desk *desk = argument;
    ss_asked asked;
    int32_t status;
    static _Atomic uint64_t last_ticket;
    while ((status = ss_desk_take(desk, 100, &asked)) != SLIPSTREAM_WRONG_STATE) {
        uint8_t answer[256];
        if (status != SLIPSTREAM_OK)
            continue;
        if (asked.what == SS_ASKS_SEND) {
            REQUIRE(asked.ticket == atomic_load(&last_ticket) + 1); /* in order, none twice */
            atomic_store(&last_ticket, asked.ticket);
            REQUIRE(asked.first_len == 4 && memcmp(asked.first, "peer", 4) == 0);
            REQUIRE(asked.name_len == 4 && memcmp(asked.name, "name", 4) == 0);
            for (size_t i = sizeof(uint32_t); i < asked.body_len; i++)
                REQUIRE(asked.body[i] == (uint8_t)asked.body_len);
            REQUIRE(ss_desk_answer(desk, &asked, SLIPSTREAM_OK, NULL, 0));
            continue;
        }
        for (size_t i = 0; i < asked.first_len; i++)
            answer[i] = asked.first[asked.first_len - 1 - i];
        ss_desk_answer(desk, &asked, SLIPSTREAM_OK, answer, asked.first_len);
    }
    return NULL;
}

static void *asking(void *argument) {
    ss_caller *caller = argument;
    for (int i = 0; i < 500; i++) {
        char question[16];
        uint8_t answer[16];
        size_t len = sizeof answer;
        const int n = snprintf(question, sizeof question, "%d-%p", i, (void *)&len) % 16;
        const int32_t status = ss_caller_ask(caller, SS_ASKS_OPEN, 0, (const uint8_t *)question,
                                             (size_t)n, answer, &len);
        REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_RETRY);
        if (status == SLIPSTREAM_RETRY)
            ss_os_sleep_ns(20000);
        for (int k = 0; status == SLIPSTREAM_OK && k < n; k++)
            REQUIRE(len == (size_t)n && answer[k] == (uint8_t)question[n - 1 - k]);
    }
    return NULL;
}

static void pass_through(void) {
    pthread_t threads[SENDERS + ASKERS];
    pthread_t servers[3];
    ss_desk *desk = ss_desk_new(log_queue);
    ss_desk_stats stats;
    uint64_t side;
    ss_caller *caller = ss_desk_caller(desk, &all, 1, &side);
    REQUIRE(desk != NULL && caller != NULL);
    for (int i = 0; i < 3; i++)
        pthread_create(&servers[i], NULL, serving, desk);
    for (int i = 0; i < SENDERS + ASKERS; i++)
        pthread_create(&threads[i], NULL, i < SENDERS ? sending : asking, caller);
    for (int i = 0; i < SENDERS + ASKERS; i++)
        pthread_join(threads[i], NULL);
    ss_desk_leave(desk, side);
    ss_desk_end(desk, 0);
    for (int i = 0; i < 3; i++)
        pthread_join(servers[i], NULL);
    ss_desk_describe(desk, &stats);
    REQUIRE(stats.sent == SENDERS * MESSAGES && stats.unsent == 0 && stats.waiting == 0);
    REQUIRE(stats.nonsense == 0 && stats.late == 0 && stats.timeouts == 0);
    ss_caller_free(caller);
    ss_desk_free(desk);
}

/* ---- Late, and after the end ----------------------------------------------------------- */

static void late_answers(void) {
    ss_terms terms = all;
    terms.call_timeout_ms = 1;
    ss_desk *desk = ss_desk_new(log_queue);
    ss_asked first;
    ss_asked second;
    uint64_t side;
    ss_desk_stats stats;
    uint64_t ticket;
    uint8_t answer[8];
    size_t len = sizeof answer;
    ss_caller *caller = ss_desk_caller(desk, &terms, 1, &side);
    const uint8_t *word = (const uint8_t *)"word";
    REQUIRE(ss_caller_ask(caller, SS_ASKS_OPEN, 0, word, 4, answer, &len) == SLIPSTREAM_TIMEOUT);
    REQUIRE(ss_desk_take(desk, 0, &first) == SLIPSTREAM_TIMEOUT); /* it was taken back */
    /* A message that is not done in time is given up, and the next one taken. */
    REQUIRE(ss_caller_send(caller, 1, word, 4, word, 4, NULL, 0, &ticket) == SLIPSTREAM_OK);
    REQUIRE(ss_caller_send(caller, 1, word, 4, word, 4, NULL, 0, &ticket) == SLIPSTREAM_OK);
    ss_desk_describe(desk, &stats);
    REQUIRE(stats.waiting == 2);
    REQUIRE(ss_desk_take(desk, 1000, &first) == SLIPSTREAM_OK && first.ticket == 1);
    REQUIRE(ss_desk_take(desk, 1000, &second) == SLIPSTREAM_OK && second.ticket == 2);
    const uint64_t apart = second.taken_ns - first.taken_ns;
    REQUIRE(first.is_last && apart > 0 && ss_desk_in_hand_ns(&first) >= apart);
    REQUIRE(!ss_desk_answer(desk, &first, SLIPSTREAM_OK, NULL, 0));
    REQUIRE(first.late_ns >= apart && ss_desk_in_hand_ns(&first) == 0);
    REQUIRE(ss_desk_answer(desk, &second, SLIPSTREAM_OK, NULL, 0) && second.late_ns == 0);
    /* A host that says to have taken more than there was gets nothing. */
    const uint64_t taken = atomic_load(&caller->map->hatch->taken);
    atomic_store(&caller->map->hatch->taken, UINT64_MAX / 2);
    REQUIRE(ss_caller_send(caller, 1, word, 4, word, 4, NULL, 0, &ticket) == SLIPSTREAM_RETRY);
    atomic_store(&caller->map->hatch->taken, taken);
    ss_caller_free(caller);
    ss_desk_leave(desk, side);
    /* What was sent before the end is taken, also behind what is in hand; then the end is told. */
    caller = ss_desk_caller(desk, &all, 1, &side);
    REQUIRE(ss_caller_send(caller, 1, word, 4, word, 4, word, 4, &ticket) == SLIPSTREAM_OK);
    REQUIRE(ss_caller_send(caller, 2, word, 4, word, 4, word, 4, &ticket) == SLIPSTREAM_OK);
    REQUIRE(ss_desk_take(desk, 1000, &first) == SLIPSTREAM_OK && first.number == 1);
    ss_desk_leave(desk, side);
    ss_desk_end(desk, 0);
    REQUIRE(ss_desk_take(desk, 0, &second) == SLIPSTREAM_TIMEOUT);
    ss_desk_answer(desk, &first, SLIPSTREAM_OK, NULL, 0);
    REQUIRE(ss_desk_take(desk, 1000, &second) == SLIPSTREAM_OK && second.number == 2);
    ss_desk_answer(desk, &second, SLIPSTREAM_OK, NULL, 0);
    REQUIRE(ss_desk_take(desk, 1000, &first) == SLIPSTREAM_WRONG_STATE);
    ss_caller_free(caller);
    caller = ss_caller_new(ss_hatch_new(&terms, NULL), log_queue, 1);
    /* Nobody serves: a caller that was left behind has its deadline. */
    REQUIRE(ss_caller_ask(caller, SS_ASKS_OPEN, 0, word, 4, answer, &len) == SLIPSTREAM_TIMEOUT);
    ss_caller_free(caller);
    ss_desk_free(desk);
}

/* Questions that no caller asks, but a worker that was written over may. */
static void wrong_questions(void) {
    static const uint32_t wrong[][2] = {{SS_ASKS_SEND, 0}, {SS_ASKS_LOOKUP, 0}, {SS_ASKS_LOOKUP, 3},
                                        {SS_ASKS_OPEN + 1, 0}, {UINT32_MAX, UINT32_MAX}};
    const uint32_t count = sizeof wrong / sizeof wrong[0];
    ss_desk *desk = ss_desk_new(log_queue);
    ss_desk_stats stats;
    ss_asked asked;
    uint64_t side;
    ss_caller *caller = ss_desk_caller(desk, &all, 1, &side);
    ss_call *call = &caller->map->hatch->calls[0];
    for (uint32_t i = 0; i < count; i++) {
        atomic_store(&call->what, wrong[i][0]);
        atomic_store(&call->number, wrong[i][1]);
        atomic_store(&call->asked, i + 1);
        REQUIRE(ss_desk_take(desk, 0, &asked) == SLIPSTREAM_TIMEOUT);
        REQUIRE(atomic_load(&call->answered) == i + 1);
        REQUIRE(atomic_load(&call->status) == SLIPSTREAM_INVALID_ARGUMENT);
    }
    ss_desk_describe(desk, &stats);
    REQUIRE(stats.nonsense == count);
    /* What stands in `number` means nothing to the others but PEER_AT. */
    for (uint32_t what = SS_ASKS_PEER_AT; what <= SS_ASKS_OPEN; what++) {
        atomic_store(&call->what, what);
        atomic_store(&call->number, 77);
        atomic_store(&call->asked, 100 + what);
        REQUIRE(ss_desk_take(desk, 0, &asked) == SLIPSTREAM_OK && asked.number == 0);
        REQUIRE(asked.index == (what == SS_ASKS_PEER_AT ? 77 : 0));
        REQUIRE(ss_desk_answer(desk, &asked, SLIPSTREAM_OK, NULL, 0));
    }
    ss_desk_leave(desk, side);
    ss_caller_free(caller);
    ss_desk_free(desk);
}

/* What nobody asks through any more is given back at once, though nobody takes anything: who
 * answers may be busy for an hour. */
static void leave_nothing(void) {
    ss_desk *desk = ss_desk_new(log_queue);
    uint64_t side;
    ss_caller *caller = ss_desk_caller(desk, &all, 1, &side);
    void *const at = caller->map->hatch;
    REQUIRE(msync(at, SS_OS_PAGE, MS_ASYNC) == 0);
    ss_caller_free(caller);
    REQUIRE(msync(at, SS_OS_PAGE, MS_ASYNC) == 0);
    ss_desk_leave(desk, side);
    REQUIRE(msync(at, SS_OS_PAGE, MS_ASYNC) != 0 && errno == ENOMEM);
    ss_desk_free(desk);
}

static void ask_at(const ss_caller *caller, uint32_t place, uint32_t number) {
    atomic_store(&caller->map->hatch->calls[place].what, SS_ASKS_OPEN);
    atomic_store(&caller->map->hatch->calls[place].asked, number);
}

/* Who asks again as soon as it has its answer keeps nobody else waiting. */
static void take_turns(void) {
    ss_desk *desk = ss_desk_new(log_queue);
    ss_asked asked;
    uint64_t side;
    ss_caller *caller = ss_desk_caller(desk, &all, 1, &side);
    for (uint32_t place = 0; place < SS_CALLS_AT_ONCE; place++)
        ask_at(caller, place, 1);
    for (uint32_t i = 0; i < 3 * SS_CALLS_AT_ONCE; i++) {
        REQUIRE(ss_desk_take(desk, 0, &asked) == SLIPSTREAM_OK);
        REQUIRE(asked.place == i % SS_CALLS_AT_ONCE);
        REQUIRE(ss_desk_answer(desk, &asked, SLIPSTREAM_OK, NULL, 0));
        ask_at(caller, asked.place, (uint32_t)asked.serial + 1);
    }
    ss_desk_leave(desk, side);
    ss_caller_free(caller);
    ss_desk_free(desk);
}

/* An answer that is larger than its place, and one for a buffer that is too small. */
static void *answering(void *argument) {
    ss_desk *desk = argument;
    uint8_t *much = calloc(1, SS_QUESTION_MAX + 1);
    for (size_t more = 0; more < 2; more++) {
        ss_asked asked;
        REQUIRE(ss_desk_take(desk, 20000, &asked) == SLIPSTREAM_OK);
        REQUIRE(ss_desk_answer(desk, &asked, SLIPSTREAM_OK, much, SS_QUESTION_MAX + more));
    }
    free(much);
    return NULL;
}

static void large_answers(void) {
    ss_desk *desk = ss_desk_new(log_queue);
    uint64_t side;
    ss_caller *caller = ss_desk_caller(desk, &all, 1, &side);
    pthread_t thread;
    uint8_t buffer[8];
    size_t len = sizeof buffer;
    pthread_create(&thread, NULL, answering, desk);
    REQUIRE(ss_caller_ask(caller, SS_ASKS_PEER_AT, 0, NULL, 0, buffer, &len) ==
            SLIPSTREAM_TOO_LARGE);
    REQUIRE(len == SS_QUESTION_MAX);
    len = sizeof buffer;
    REQUIRE(ss_caller_ask(caller, SS_ASKS_PEER_AT, 0, NULL, 0, buffer, &len) == SLIPSTREAM_FAILED);
    pthread_join(thread, NULL);
    len = sizeof buffer;
    REQUIRE(ss_caller_ask(caller, SS_ASKS_OPEN, 0, buffer, SS_QUESTION_MAX + 1, buffer, &len) ==
            SLIPSTREAM_TOO_LARGE);
    REQUIRE(len == 0);
    ss_desk_leave(desk, side);
    ss_caller_free(caller);
    ss_desk_free(desk);
}

/* ---- A host that answers anything ------------------------------------------------------ */

typedef struct liar {
    ss_hatch_map *map;
    _Atomic bool ended;
} liar;

static void *lying(void *argument) {
    liar *l = argument;
    uint32_t state = 1;
    while (!atomic_load(&l->ended)) {
        for (uint32_t i = 0; i < SS_CALLS_AT_ONCE; i++) {
            ss_call *call = &l->map->hatch->calls[i];
            const uint32_t asked = atomic_load(&call->asked);
            state ^= state << 13; /* xorshift32 */
            state ^= state >> 17;
            state ^= state << 5;
            atomic_store(&call->status, (int32_t)(state >> 8) % 24 - 18);
            atomic_store(&call->answer_len,
                         (state & 7) < 6 ? state >> 4 & 127 : SS_QUESTION_MAX + (state >> 20) - 8);
            atomic_store(&call->answered, (state & 3) != 0 ? asked : state);
            ss_os_wake(&call->answered, false);
        }
        atomic_store(&l->map->hatch->taken, (uint64_t)state * state);
        atomic_store(&l->map->hatch->taken_count, state);
        atomic_store(&l->map->hatch->sleepers, state & 3);
        ss_os_yield();
    }
    return NULL;
}

static void hostile_hosts(int rounds) {
    ss_terms terms = all;
    terms.call_timeout_ms = 2;
    ss_hatch_map *map = ss_hatch_new(&terms, NULL);
    ss_caller *caller = ss_caller_new(map, log_queue, 1);
    liar l = {.map = map};
    pthread_t thread;
    pthread_create(&thread, NULL, lying, &l);
    for (int i = 0; i < rounds * 10; i++) {
        uint8_t buffer[96 + 8];
        uint64_t ticket;
        size_t len = random_below(97);
        const size_t room = len;
        const uint32_t what = 1 + (uint32_t)random_below(5);
        if (what == SS_ASKS_SIGN)
            len = SLIPSTREAM_SIGNATURE_LEN;
        memset(buffer, 0xAA, sizeof buffer);
        const int32_t status =
            ss_caller_ask(caller, what, 1, (const uint8_t *)"peer", 4, buffer, &len);
        REQUIRE(status == SLIPSTREAM_OK || (status < 0 && status >= SLIPSTREAM_DENIED));
        const size_t end = what == SS_ASKS_SIGN ? SLIPSTREAM_SIGNATURE_LEN : room;
        for (size_t k = end; k < sizeof buffer; k++)
            REQUIRE(buffer[k] == 0xAA);
        REQUIRE(status != SLIPSTREAM_OK || len <= end);
        REQUIRE(len <= SS_QUESTION_MAX);
        const int32_t sent = ss_caller_send(caller, 1, buffer, 4, buffer, 4, buffer, 90, &ticket);
        REQUIRE(sent == SLIPSTREAM_OK || sent == SLIPSTREAM_RETRY);
    }
    atomic_store(&l.ended, true);
    pthread_join(thread, NULL);
    ss_caller_free(caller);
}

int main(int argc, char **argv) {
    const int rounds = argc > 1 ? atoi(argv[1]) : 200;
    if (argc > 2)
        random_state ^= strtoull(argv[2], NULL, 0) << 1;
    log_queue = ss_log_queue_new(128 * 1024);
    pass_through();
    late_answers();
    wrong_questions();
    leave_nothing();
    take_turns();
    large_answers();
    hostile_hosts(rounds);
    printf("%d questions answered by a hostile host\n", rounds * 10);
    ss_log_queue_release(log_queue);
    return 0;
}
