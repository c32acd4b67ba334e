/* What a host's side of a hatch holds, read by the plugin: answers of any length, status and number,
 * and a host that says to have taken what was never there. */
#include "fuzz.h"
#include "peers/caller.h"

#include <slipstream.h>

enum { STEPS = 64, ROOM = 96, GUARD = 8 };

static const ss_terms all = {
    .offers = SS_OFFERS_SEND | SS_OFFERS_PEERS | SS_OFFERS_IDENTITY,
    .grants = SS_GRANTS_SEND | SS_GRANTS_PEERS | SS_GRANTS_SIGN | SS_GRANTS_OPEN,
    .call_timeout_ms = 0, /* an answer is there before it is asked for, or never */
    .outbox_messages = 16,
    .outbox_bytes = 1024,
};

static ss_log_queue *log_queue;
static unsigned long answers, sent;

/* The next question's answer, at the place that it will take. */
static void write_answer(ss_caller *caller, fuzz_input *in) {
    ss_call *call = &caller->map->hatch->calls[0];
    const uint32_t number = caller->number + 1;
    atomic_store(&call->status, fuzz_u8(in) == 0xFF ? (int32_t)fuzz_u32(in) : (int8_t)fuzz_u8(in));
    atomic_store(&call->answer_len, fuzz_u8(in) == 0xFF ? fuzz_u32(in) : fuzz_u8(in));
    atomic_store(&call->answered, fuzz_u8(in) == 0xFF ? fuzz_u32(in) : number);
    fuzz_take(in, caller->map->answers, ROOM);
}

static void write_taken(ss_caller *caller, fuzz_input *in) {
    ss_hatch *hatch = caller->map->hatch;
    atomic_store(&hatch->taken, fuzz_u8(in) == 0xFF ? fuzz_u64(in) : caller->put);
    atomic_store(&hatch->taken_count, fuzz_u8(in) == 0xFF ? fuzz_u64(in) : caller->put_count);
    atomic_store(&hatch->sleepers, fuzz_u8(in));
}

static void ask(ss_caller *caller, fuzz_input *in) {
    uint8_t buffer[ROOM + GUARD];
    uint8_t question[ROOM];
    const uint32_t what = 1 + fuzz_u8(in) % 5;
    const size_t room = fuzz_u8(in) % ROOM;
    const size_t end = what == SS_ASKS_SIGN ? SLIPSTREAM_SIGNATURE_LEN : room;
    const size_t question_len = fuzz_u8(in) % ROOM;
    size_t len = end;
    memset(buffer, 0xAA, sizeof buffer);
    memset(question, 'q', sizeof question);
    const int32_t status = ss_caller_ask(caller, what, fuzz_u8(in) % 4, question, question_len,
                                         buffer, &len);
    REQUIRE(status == SLIPSTREAM_OK || (status < 0 && status >= SLIPSTREAM_DENIED));
    for (size_t k = end; k < sizeof buffer; k++)
        REQUIRE(buffer[k] == 0xAA);
    REQUIRE(status != SLIPSTREAM_OK || len <= end);
    REQUIRE(len <= SS_QUESTION_MAX);
    answers += status == SLIPSTREAM_OK;
}

static void send_one(ss_caller *caller, fuzz_input *in) {
    uint8_t bytes[256];
    uint64_t ticket = 0;
    memset(bytes, 's', sizeof bytes);
    const int32_t status = ss_caller_send(caller, fuzz_u8(in) % 4, bytes, fuzz_u8(in), bytes,
                                          fuzz_u8(in), bytes, fuzz_u8(in), &ticket);
    REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_RETRY ||
            status == SLIPSTREAM_INVALID_ARGUMENT || status == SLIPSTREAM_TOO_LARGE);
    sent += status == SLIPSTREAM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = {data, size};
    if (log_queue == NULL)
        log_queue = ss_log_queue_new(128 * 1024);
    ss_hatch_map *map = ss_hatch_new(&all, NULL);
    REQUIRE(log_queue != NULL && map != NULL);
    ss_caller *caller = ss_caller_new(map, log_queue, 1);
    REQUIRE(caller != NULL);
    for (int i = 0; in.left > 0 && i < STEPS; i++)
        switch (fuzz_u8(&in) % 4) {
        case 0:
            write_answer(caller, &in);
            break;
        case 1:
            write_taken(caller, &in);
            break;
        case 2:
            ask(caller, &in);
            break;
        default:
            send_one(caller, &in);
        }
    ss_caller_free(caller);
    return 0;
}

void fuzz_tell(void) {
    printf("%lu answers believed, %lu messages sent\n", answers, sent);
}
