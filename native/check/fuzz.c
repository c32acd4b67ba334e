#include "check/fuzz.h"

#include "check/constants.h"
#include "check/coverage.h"
#include "check/events.h"
#include "check/guest.h"
#include "check/mutate.h"
#include "check/notes.h"
#include "check/threads.h"
#include "frame/frame.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    PAGE = 4096,
    CORPUS = 4096,
    FRAME_ROOM = 1 << 17,
    SPAN_ROOM = 1 << 13,
    CONSTANTS = 2048,
    FLUSH_EACH = 64, /* events, where the plugin acknowledges explicitly */
    CLOCK_EACH = 16,
    SAY_EACH_NS = 500000000,
};

typedef struct item {
    uint8_t *data;
    size_t len;
} item;

static struct {
    item corpus[CORPUS];
    size_t count;
    size_t given; /* of them, those that we were given */
    uint64_t constants[CONSTANTS];
    size_t constant_count;
    uint64_t tried;
    uint64_t limit;
    uint64_t end_ns;
    uint64_t said_ns;
    bool is_over;
    uint8_t *wall; /* where what may be read ends */
} fuzz;

/* ---- Numbers ---------------------------------------------------------------------------------- */

static uint64_t below(ss_dice *dice, uint64_t limit) {
    return limit == 0 ? 0 : ss_dice_next(dice) % limit;
}

/* A number that code may look for: of its own, or one at which programs go wrong. */
static uint64_t telling(ss_dice *dice) {
    switch (below(dice, 8)) {
    case 0:
    case 1:
    case 2:
        if (fuzz.constant_count > 0)
            return fuzz.constants[below(dice, fuzz.constant_count)] + below(dice, 3) % 2;
        return below(dice, 256);
    case 3: {
        const uint64_t number = ss_coverage_number(ss_dice_next(dice));
        return number != 0 ? number : below(dice, 64);
    }
    case 4:
        return below(dice, 1 << 16);
    case 5: /* around powers of two */
        return (UINT64_C(1) << below(dice, 64)) + below(dice, 3) - 1;
    case 6:
        return ss_dice_next(dice) >> below(dice, 64);
    default:
        return below(dice, 128);
    }
}

/* ---- An event as its parts, and back ----------------------------------------------------------- */

typedef struct parts {
    ss_draft draft;
    uint8_t room[SS_MAX_SPANS][SPAN_ROOM];
} parts;

static void keep_span(parts *it, uint32_t at, const uint8_t *data, size_t len) {
    const size_t kept = len < SPAN_ROOM ? len : SPAN_ROOM;
    if (kept > 0)
        memcpy(it->room[at], data, kept);
    it->draft.spans[at] = (slipstream_bytes){it->room[at], kept};
}

/* False for what the header's reader does not take. */
static bool take_apart(const uint8_t *data, size_t len, parts *out) {
    slipstream_frame frame;
    ss_draft *draft = &out->draft;
    memset(draft, 0, sizeof *draft);
    if (slipstream_read_frame(data, len, &frame) != SLIPSTREAM_OK || frame.payload.len < 8)
        return false;
    const uint8_t *payload = frame.payload.data;
    const ss_shape shape = ss_frame_shape(frame.kind);
    const size_t fixed = slipstream_load_u32(payload);
    if (!shape.known || fixed > frame.payload.len ||
        fixed < 8 + 8 * ((size_t)shape.spans + shape.numbers))
        return false;
    draft->stream = slipstream_load_u64(data + 16);
    draft->sequence = slipstream_load_u64(data + 24);
    draft->time_ns = (int64_t)slipstream_load_u64(data + 32);
    draft->height = slipstream_load_u64(data + 40);
    draft->kind = frame.kind;
    draft->flags = slipstream_load_u32(data + 8);
    draft->word = slipstream_load_u32(payload + 4);
    for (uint32_t i = 0; i < shape.spans; i++) {
        const size_t start = slipstream_load_u32(payload + 8 + 8 * i);
        const size_t span = slipstream_load_u32(payload + 12 + 8 * i);
        if (start > frame.payload.len || span > frame.payload.len - start)
            return false;
        if (start != 0)
            keep_span(out, i, payload + start, span);
    }
    for (uint32_t i = 0; i < shape.numbers; i++)
        draft->numbers[i] = slipstream_load_u64(payload + 8 + 8 * ((size_t)shape.spans + i));
    if (draft->kind >= SLIPSTREAM_KIND_APP_FIRST)
        keep_span(out, 0, payload + fixed, frame.payload.len - fixed);
    return true;
}

static size_t put_together(const parts *it, uint8_t *out) {
    const size_t size = ss_frame_size(&it->draft);
    if (size == 0 || size > FRAME_ROOM)
        return 0;
    ss_frame_write(out, size, &it->draft);
    return size;
}

/* ---- Changes ----------------------------------------------------------------------------------- */

static void change_bytes(uint8_t *data, size_t len, ss_dice *dice) {
    static const uint8_t words[] = {1, 2, 4, 8};
    const size_t at = (size_t)below(dice, len);
    size_t bytes = words[below(dice, 4)];
    uint64_t number = below(dice, 2) == 0 ? telling(dice) : ss_dice_next(dice);
    if (below(dice, 4) == 0) {
        data[at] ^= (uint8_t)(1U << below(dice, 8));
        return;
    }
    for (; bytes > 0 && at + bytes <= len; bytes--, number >>= 8)
        data[at + bytes - 1] = (uint8_t)number;
}

static void change_length(parts *it, uint32_t at, ss_dice *dice) {
    slipstream_bytes *span = &it->draft.spans[at];
    uint64_t len = below(dice, 4) == 0 ? span->len + below(dice, 17) - 8 : telling(dice);
    if (len > SPAN_ROOM)
        len %= below(dice, 8) == 0 ? SPAN_ROOM : 256;
    for (size_t i = span->len; i < len; i++)
        it->room[at][i] = (uint8_t)(span->len > 0 ? it->room[at][i % span->len] : 'a' + i % 26);
    *span = (slipstream_bytes){it->room[at], (size_t)len};
}

static void change(parts *it, ss_dice *dice) {
    ss_draft *draft = &it->draft;
    const ss_shape shape = ss_frame_shape(draft->kind);
    const bool is_own = draft->kind >= SLIPSTREAM_KIND_APP_FIRST;
    const uint32_t spans = is_own ? 1 : shape.spans;
    const uint32_t at = (uint32_t)below(dice, spans);
    switch (below(dice, 8)) {
    case 0:
    case 1:
        draft->height = telling(dice);
        break;
    case 2:
    case 3:
        if (spans > 0)
            change_length(it, at, dice);
        break;
    case 4:
        if (shape.numbers > 0)
            draft->numbers[below(dice, shape.numbers)] = telling(dice);
        else if (shape.has_word != 0)
            draft->word = (uint32_t)telling(dice);
        break;
    case 5:
        if (below(dice, 2) == 0)
            draft->sequence = telling(dice);
        else
            draft->time_ns = (int64_t)telling(dice);
        break;
    default:
        if (spans > 0 && draft->spans[at].len > 0)
            change_bytes(it->room[at], draft->spans[at].len, dice);
        break;
    }
}

static parts made; /* the next event, in its parts */

/* Makes the next event; its length. */
static size_t make_next(uint8_t *out, ss_dice *dice) {
    /* Round robin over what was given, so that each kind has its turn; else what was found. */
    const bool is_found = fuzz.count > fuzz.given && below(dice, 4) != 0;
    const size_t which = is_found ? fuzz.given + (size_t)below(dice, fuzz.count - fuzz.given)
                                  : (size_t)(fuzz.tried % fuzz.given);
    const item *from = &fuzz.corpus[which];
    const uint64_t changes = 1 + below(dice, 4);
    size_t len = 0;
    if (take_apart(from->data, from->len, &made)) {
        for (uint64_t i = 0; i < changes; i++)
            change(&made, dice);
        len = put_together(&made, out);
    }
    if (len == 0)
        memcpy(out, from->data, len = from->len);
    if (len == from->len ? below(dice, 8) == 0 : below(dice, 16) == 0)
        ss_mutate(out, len, dice); /* what contradicts itself */
    return len;
}

static void keep(const uint8_t *data, size_t len) {
    uint8_t *copy = fuzz.count < CORPUS && len <= FRAME_ROOM ? malloc(len) : NULL;
    if (copy != NULL)
        fuzz.corpus[fuzz.count++] = (item){memcpy(copy, data, len), len};
}

/* ---- The loop ---------------------------------------------------------------------------------- */

static void flush(ss_guest *guest) {
    const slipstream_plugin *plugin = &guest->plugin.plugin;
    if (plugin->flush == NULL || (plugin->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) == 0)
        return;
    ss_host_enter(&guest->host, ss_os_self());
    ss_call_begins();
    const int32_t status = plugin->flush(plugin->instance, SLIPSTREAM_NO_TIMEOUT);
    ss_call_ends();
    ss_host_leave(&guest->host);
    if (status == SLIPSTREAM_OK)
        ss_host_raise_acked(&guest->host, atomic_load(&guest->host.delivered));
}

/* False if the plugin has had enough. */
static bool try_next(const ss_play_step *step, ss_guest *guest, uint64_t ordinal) {
    ss_play_trace *trace = ss_trace();
    ss_dice dice = ss_dice_of(step->c, ++fuzz.tried);
    const size_t len = make_next(trace->input, &dice);
    trace->input_len = (uint32_t)len;
    trace->time = fuzz.tried - 1;
    uint8_t *data = fuzz.wall - len;
    memcpy(data, trace->input, len);
    trace->start = (uint64_t)(uintptr_t)data;
    trace->len = len;
    const slipstream_delivery delivery = {sizeof delivery, 1, 1, 0, ordinal};
    atomic_store_explicit(&guest->host.delivered, ordinal, memory_order_release);
    const int32_t status = ss_events_call(guest, &delivery, data, len);
    if (ss_coverage_is_there() && ss_coverage_fold() > 0)
        keep(trace->input, len);
    if (ordinal % FLUSH_EACH == 0)
        flush(guest);
    if (status == SLIPSTREAM_PANIC) /* then only destroy may follow */
        atomic_store_explicit(&guest->host.life, SS_UNLOADED, memory_order_release);
    return status != SLIPSTREAM_FATAL && status != SLIPSTREAM_PANIC;
}

static void begin(const ss_play_step *step, const uint8_t *frames, const ss_guest *guest) {
    uint8_t *room = mmap(NULL, FRAME_ROOM + PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED || mprotect(room + FRAME_ROOM, PAGE, PROT_NONE) != 0)
        ss_give_up("there is no memory for the events");
    fuzz.wall = room + FRAME_ROOM;
    fuzz.limit = step->a;
    fuzz.end_ns = ss_os_now_ns() + step->d * 1000000;
    for (size_t at = 0; at + SLIPSTREAM_FRAME_HEADER_LEN <= step->len;) {
        const size_t len = slipstream_load_u32(frames + at);
        if (len < SLIPSTREAM_FRAME_HEADER_LEN || len > step->len - at)
            break;
        keep(frames + at, len);
        at += len;
    }
    fuzz.given = fuzz.count;
    uintptr_t code;
    memcpy(&code, &guest->plugin.plugin.on_broadcast, sizeof code);
    fuzz.constant_count = ss_constants_of(code, fuzz.constants, CONSTANTS);
}

static void say(void) {
    const int32_t edges = ss_coverage_is_there() ? (int32_t)ss_coverage_edges() : -1;
    ss_note(SS_PLAYED_VALUE, edges, fuzz.tried, fuzz.count - fuzz.given, NULL, 0);
    fuzz.said_ns = ss_os_now_ns();
}

/* Whether to stop; now and then it is said how far it has come, for it may end in a crash. */
static bool look_at_clock(void) {
    if (fuzz.limit != 0 && fuzz.tried >= fuzz.limit)
        return true;
    if (fuzz.tried % CLOCK_EACH != 0)
        return false;
    const uint64_t now = ss_os_now_ns();
    if (now - fuzz.said_ns >= SAY_EACH_NS)
        say();
    return now >= fuzz.end_ns;
}

typedef struct fuzzing {
    const ss_play_step *step;
    const uint8_t *frames;
} fuzzing;

static void run(void *argument) {
    const fuzzing *it = argument;
    const ss_play_step *step = it->step;
    ss_guest *guest = ss_guest_in(step->slot);
    if (fuzz.wall == NULL) {
        begin(step, it->frames, guest);
        ss_coverage_fold(); /* what loading took */
        say();
    }
    ss_coverage_watch_numbers(true);
    for (uint64_t ordinal = 1; !fuzz.is_over && fuzz.given > 0; ordinal++) {
        const bool goes_on = try_next(step, guest, ordinal);
        fuzz.is_over = look_at_clock();
        if (!goes_on)
            break; /* an end of its own choice */
    }
    ss_coverage_watch_numbers(false);
    say();
}

void ss_fuzz(const ss_play_step *step, const void *data) {
    fuzzing it = {step, data};
    if (ss_events_may_come(step->slot))
        ss_threads_run(run, &it);
    else
        fuzz.is_over = true; /* it would not come in the next life either */
}

bool ss_fuzz_is_over(void) {
    return fuzz.is_over;
}
