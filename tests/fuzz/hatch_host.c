/* What a plugin's side of a hatch holds, read by the host: a worker that was written over. The input
 * says what is written there, and when the host looks. */
#include "fuzz.h"
#include "peers/desk.h"

#include <slipstream.h>

enum { SIDES = 2, STEPS = 64 };

static const ss_terms all = {
    .offers = SS_OFFERS_SEND | SS_OFFERS_PEERS | SS_OFFERS_IDENTITY,
    .grants = SS_GRANTS_SEND | SS_GRANTS_PEERS | SS_GRANTS_OPEN,
    .call_timeout_ms = 20000,
    .outbox_messages = 64,
    .outbox_bytes = 4096,
};

typedef struct plugin {
    ss_caller *caller;
    uint64_t side;
    uint64_t put;
} plugin;

static ss_log_queue *log_queue;
static unsigned long taken, nonsense;

static void write_message(plugin *p, fuzz_input *in) {
    ss_message_head head = {fuzz_u8(in), fuzz_u8(in), fuzz_u8(in), fuzz_u8(in), fuzz_u16(in)};
    if (fuzz_u8(in) == 0xFF) /* a length that is none */
        head.peer_len = fuzz_u32(in);
    if (fuzz_u8(in) == 0xFF)
        head.body_len = fuzz_u32(in);
    ss_outbox_write(p->caller->map, p->put, &head, sizeof head);
    const uint64_t room = ss_message_room(head.peer_len, head.name_len, head.body_len);
    p->put += fuzz_u8(in) == 0xFF ? fuzz_u64(in) : room;
    atomic_store(&p->caller->map->hatch->put_count, fuzz_u8(in));
    atomic_store(&p->caller->map->hatch->put, p->put);
}

static void write_question(const plugin *p, fuzz_input *in) {
    ss_call *call = &p->caller->map->hatch->calls[fuzz_u8(in) % SS_CALLS_AT_ONCE];
    atomic_store(&call->what, fuzz_u8(in));
    atomic_store(&call->number, fuzz_u8(in));
    atomic_store(&call->question_len, fuzz_u8(in) == 0xFF ? fuzz_u32(in) : fuzz_u8(in));
    atomic_store(&call->asked, fuzz_u16(in));
}

/* All that the plugin's side can reach. */
static void write_anywhere(const plugin *p, fuzz_input *in) {
    uint8_t *bytes = (uint8_t *)p->caller->map->hatch;
    const uint16_t at = fuzz_u16(in);
    const uint64_t word = fuzz_u64(in);
    if (at < sizeof(ss_hatch) - sizeof word)
        memcpy(bytes + at, &word, sizeof word);
}

static void look(const ss_asked *asked) {
    REQUIRE(asked->what <= SS_ASKS_OPEN && asked->first_len <= SS_QUESTION_MAX);
    REQUIRE(asked->body_len <= all.outbox_bytes && asked->name_len <= SS_MESSAGE_NAME_MAX);
    REQUIRE((all.grants & ss_grants_for(asked->what)) != 0);
    REQUIRE(asked->what != SS_ASKS_SEND || (asked->first_len > 0 && asked->name_len > 0));
    REQUIRE(asked->what == SS_ASKS_SEND ||
            (asked->what == SS_ASKS_LOOKUP ? ss_is_peer_field(asked->number) : asked->number == 0));
    fuzz_touch(asked->first, asked->first_len);
    fuzz_touch(asked->name, asked->name_len);
    fuzz_touch(asked->body, asked->body_len);
}

/* Takes one; the plugin goes on writing before it is answered. */
static void serve(ss_desk *desk, const plugin *p, fuzz_input *in) {
    ss_asked asked;
    const int32_t status = ss_desk_take(desk, 0, &asked);
    REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_TIMEOUT ||
            status == SLIPSTREAM_WRONG_STATE);
    if (status != SLIPSTREAM_OK)
        return;
    taken++;
    look(&asked);
    if ((fuzz_u8(in) & 1) != 0 && p->caller != NULL)
        write_question(p, in);
    ss_desk_answer(desk, &asked, (int8_t)fuzz_u8(in) % 20, asked.first, asked.first_len);
}

static void open_hatch(ss_desk *desk, plugin *p) {
    p->put = 0;
    p->caller = ss_desk_caller(desk, &all, 1, &p->side);
    REQUIRE(p->caller != NULL);
}

static void leave(ss_desk *desk, plugin *p) {
    ss_desk_leave(desk, p->side);
    ss_caller_free(p->caller);
    p->caller = NULL;
}

static void act(ss_desk *desk, plugin *p, uint8_t what, fuzz_input *in) {
    if (p->caller == NULL)
        what = what % 2 == 0 ? 3 : 5;
    switch (what) {
    case 0:
        write_message(p, in);
        break;
    case 1:
        write_question(p, in);
        break;
    case 2:
        write_anywhere(p, in);
        break;
    case 3:
        serve(desk, p, in);
        break;
    case 4:
        leave(desk, p);
        break;
    default:
        if (p->caller == NULL)
            open_hatch(desk, p);
        REQUIRE(ss_desk_is_sane(desk, p->side) || p->caller != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = {data, size};
    plugin plugins[SIDES] = {{0}};
    ss_desk_stats stats;
    if (log_queue == NULL)
        log_queue = ss_log_queue_new(128 * 1024);
    ss_desk *desk = ss_desk_new(log_queue);
    REQUIRE(log_queue != NULL && desk != NULL);
    open_hatch(desk, &plugins[0]);
    for (int i = 0; in.left > 0 && i < STEPS; i++) {
        const uint8_t what = fuzz_u8(&in);
        act(desk, &plugins[what / 8 % SIDES], what % 6, &in);
    }
    for (int i = 0; i < SIDES; i++)
        if (plugins[i].caller != NULL)
            leave(desk, &plugins[i]);
    ss_desk_end(desk, 0);
    for (int i = 0; i < STEPS; i++)
        serve(desk, &plugins[0], &in);
    ss_desk_describe(desk, &stats);
    nonsense += stats.nonsense;
    ss_desk_free(desk);
    return 0;
}

void fuzz_tell(void) {
    printf("%lu taken of hostile plugins, %lu times nonsense\n", taken, nonsense);
}
