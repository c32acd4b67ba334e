/* The checker's fuzzer: what a seed makes of given events is the same everywhere and always, and
 * kept here as a digest; with edges that are told it goes where they lead. */
#include "check/constants.h"
#include "check/coverage.h"
#include "check/events.h"
#include "check/fuzz.h"
#include "check/notes.h"
#include "check/threads.h"
#include "frame/frame.h"

#include "check.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EVENTS = 20000, GIVES_UP_EACH = 3000, GUARDS = 64 };

/* What a compiler calls, as native/check/coverage.c has it. */
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);
void __sanitizer_cov_trace_pc_guard(uint32_t *guard);

static ss_play_trace trace;
static ss_guest guest;
static uint32_t guards[GUARDS];
static uint64_t digest = 14695981039346656037u;
static uint64_t calls;
static uint64_t whole; /* that a host takes, too */
static uint64_t flushes;
static uint64_t deepest; /* how far somebody got who has to find one step after the other */
static bool tells_edges;

static void add_to_digest(const void *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ ((const uint8_t *)data)[i]) * 1099511628211u;
}

/* ---- What the rest of the checker is to the fuzzer ------------------------------------- */

ss_play_trace *ss_trace(void) { return &trace; }
ss_guest *ss_guest_in(uint32_t slot) { return slot == 2 ? &guest : NULL; }
bool ss_events_may_come(uint32_t slot) { return slot == 2; }
void ss_threads_run(void (*function)(void *), void *argument) { function(argument); }
void ss_call_begins(void) {}
void ss_call_ends(void) {}
_Noreturn void ss_give_up(const char *why) {
    fprintf(stderr, "%s\n", why);
    abort();
}

size_t ss_constants_of(uintptr_t function, uint64_t *out, size_t room) {
    REQUIRE(function == (uintptr_t)guest.plugin.plugin.on_broadcast && room >= 2);
    out[0] = 37;
    out[1] = 4242;
    return 2;
}

static uint64_t said_tried, said_kept;
static int32_t said_edges;
void ss_note(uint32_t what, int32_t status, uint64_t a, uint64_t b, const void *text, size_t len) {
    REQUIRE(what == SS_PLAYED_VALUE && text == NULL && len == 0 && a >= said_tried);
    said_edges = status;
    said_tried = a;
    said_kept = b;
}

/* One edge for each step that it takes: the height, then the key's length. */
static void take_edges(const slipstream_frame *frame) {
    slipstream_mapping_update update;
    uint64_t at = 0;
    if (slipstream_read_mapping_update(frame, &update) == SLIPSTREAM_OK &&
        frame->height == 4242 && ++at && update.key.len == 37)
        ++at;
    if (at > deepest)
        deepest = at;
    for (uint64_t i = 0; i <= at; i++)
        __sanitizer_cov_trace_pc_guard(&guards[i]);
}

int32_t ss_events_call(ss_guest *to, const slipstream_delivery *delivery, const uint8_t *frames,
                       size_t len) {
    slipstream_frame frame;
    REQUIRE(to == &guest && delivery->struct_size == sizeof *delivery && delivery->count == 1);
    REQUIRE(delivery->attempt == 1 && delivery->first_ordinal == atomic_load(&to->host.delivered));
    REQUIRE(trace.input_len == len && memcmp(trace.input, frames, len) == 0);
    REQUIRE(trace.start == (uintptr_t)frames && trace.len == len && trace.time == calls);
    add_to_digest(frames, len);
    const int32_t status = ss_frame_check(frames, len, &frame);
    whole += status == SLIPSTREAM_OK;
    if (tells_edges && status == SLIPSTREAM_OK)
        take_edges(&frame);
    return ++calls % GIVES_UP_EACH == 0 ? SLIPSTREAM_FATAL : SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL flush(void *instance, uint32_t timeout_ms) {
    REQUIRE(instance == NULL && timeout_ms == SLIPSTREAM_NO_TIMEOUT);
    flushes++;
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    (void)instance, (void)delivery, (void)frames, (void)len;
    return SLIPSTREAM_OK;
}

/* ---- Tests ------------------------------------------------------------------------------ */

/* An event of each kind that has a form, and one of an application's own. */
static size_t given(uint8_t *out) {
    static const uint8_t texts[] = "abcdefghijklmnopqrstuvwxyz";
    size_t len = 0;
    for (uint32_t kind = 0; kind <= SLIPSTREAM_KIND_APP_FIRST; kind++) {
        const ss_shape shape = ss_frame_shape(kind);
        ss_draft draft;
        if (!shape.known || kind == SLIPSTREAM_KIND_MARK)
            continue;
        ss_draft_start(&draft, kind);
        draft.height = 1;
        for (uint32_t i = 0; i < shape.spans || (i == 0 && kind >= SLIPSTREAM_KIND_APP_FIRST); i++)
            draft.spans[i] = (slipstream_bytes){texts + i, 5 + i};
        for (uint32_t i = 0; i < shape.numbers; i++)
            draft.numbers[i] = i + 1;
        const size_t size = ss_frame_size(&draft);
        REQUIRE(size > 0);
        ss_frame_write(out + len, size, &draft);
        ss_frame_stamp(out + len, 7, kind + 1, 1700000000);
        len += size;
    }
    return len;
}

static void play(uint64_t seed) {
    static uint8_t frames[8192];
    ss_play_step step = {.what = SS_PLAY_FUZZ, .slot = 2, .a = EVENTS, .c = seed, .d = 600000};
    step.len = (uint32_t)given(frames);
    guest.plugin.plugin.flags = SLIPSTREAM_FLAG_EXPLICIT_ACK;
    guest.plugin.plugin.flush = flush;
    guest.plugin.plugin.on_broadcast = on_broadcast;
    for (int lives = 0; !ss_fuzz_is_over(); lives++) {
        REQUIRE(lives <= EVENTS / GIVES_UP_EACH);
        ss_fuzz(&step, frames);
    }
    REQUIRE(calls == EVENTS && said_tried == EVENTS);
}

static void keeps_what_a_seed_makes(void) {
    play(1);
    printf("%u events, %llu whole, %llu flushes, digest %016llx\n", EVENTS,
           (unsigned long long)whole, (unsigned long long)flushes, (unsigned long long)digest);
    REQUIRE(said_edges == -1 && said_kept == 0);
    REQUIRE(whole > EVENTS / 2 && whole < EVENTS);
    REQUIRE(flushes == EVENTS / GIVES_UP_EACH * (GIVES_UP_EACH / 64) + EVENTS % GIVES_UP_EACH / 64);
    REQUIRE(digest == UINT64_C(0xb50e16a0059e008b));
}

static void goes_where_edges_lead(void) {
    tells_edges = true;
    __sanitizer_cov_trace_pc_guard_init(guards, guards + GUARDS);
    play(1);
    printf("%llu steps deep, %d edges, %llu kept, digest %016llx\n", (unsigned long long)deepest,
           said_edges, (unsigned long long)said_kept, (unsigned long long)digest);
    REQUIRE(deepest == 2 && said_edges == 3 && said_kept >= 3);
    REQUIRE(digest == UINT64_C(0x730cc26b7ca2dc25));
}

/* A counter tells by its class: 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more. */
static void tells_what_is_new(void) {
    static uint8_t counters[40];
    static const uint8_t first[] = {1, 2, 3, 4, 8, 16, 32, 128};
    REQUIRE(!ss_coverage_is_there());
    __sanitizer_cov_8bit_counters_init(counters, counters + sizeof counters);
    __sanitizer_cov_8bit_counters_init(counters, counters + sizeof counters); /* the same again */
    REQUIRE(ss_coverage_is_there() && ss_coverage_fold() == 0 && ss_coverage_edges() == 0);
    for (size_t of = 0; of < sizeof first; of++) {
        const unsigned end = of + 1 < sizeof first ? first[of + 1] : 256;
        for (unsigned count = first[of]; count < end; count++) {
            counters[37] = counters[9] = (uint8_t)count;
            REQUIRE(ss_coverage_fold() == (count == first[of] ? 2 : 0));
            REQUIRE(counters[37] == 0 && counters[9] == 0);
        }
        REQUIRE(ss_coverage_edges() == 2);
    }
    __sanitizer_cov_trace_const_cmp4(77, 5);
    REQUIRE(ss_coverage_number(3) == 0); /* nobody has asked for them */
    ss_coverage_watch_numbers(true);
    __sanitizer_cov_trace_const_cmp4(77, 5);
    for (uint64_t i = 0; i < 1000; i++)
        REQUIRE(ss_coverage_number(i) == 77);
    __sanitizer_cov_trace_switch(9, (uint64_t[]){2, 64, 1001, 1002});
    __sanitizer_cov_trace_cmp8(2001, 2002);
    bool found[5] = {false};
    static const uint64_t wanted[] = {77, 1001, 1002, 2001, 2002};
    for (uint64_t i = 0; i < 1000; i++)
        for (size_t one = 0; one < 5; one++)
            found[one] = found[one] || ss_coverage_number(i) == wanted[one];
    for (size_t one = 0; one < 5; one++)
        REQUIRE(found[one]);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    void (*const tests[])(void) = {keeps_what_a_seed_makes, goes_where_edges_lead,
                                   tells_what_is_new};
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        int status;
        const pid_t child = fork(); /* each fuzzes once in a process */
        REQUIRE(child >= 0);
        if (child == 0) {
            tests[i]();
            fflush(stdout);
            _exit(0);
        }
        REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    }
    printf("the fuzzer is as it was\n");
    return 0;
}
