/* What a consumer does before it sleeps: it gives way where events stream, and only there.
 * Usage: park. It is linked with --wrap=ss_os_yield. */
#include "ring_source.h"

#include "ring/cursor.h"

void __wrap_ss_os_yield(void);

enum { MS = 5 }; /* of a sleep that nobody ends: none of the short ones */

static source events;
static uint32_t yields, comes_at;

static void publish(void) {
    size_t len = FRAME_LEAST;
    REQUIRE(put(&events, 1, &len), "no room");
}

/* Whoever has the processor meanwhile may be the producer. */
void __wrap_ss_os_yield(void) {
    if (++yields == comes_at)
        publish();
}

static bool has_come(void *context) {
    const ss_cursor *cursor = context;
    return atomic_load(&cursor->view->head->head) != cursor->at;
}

static void take_all(ss_cursor *cursor) {
    ss_chunk chunk;
    while (ss_cursor_take(cursor, &chunk) == SS_TOOK_CHUNK)
        continue;
}

/* So many events come one by one; then it parks, and during a yield there is another. Returns how
 * often it slept. */
static uint32_t park_after(ss_cursor *cursor, uint32_t count, uint32_t comes) {
    for (uint32_t i = 0; i < count; i++) {
        publish();
        take_all(cursor);
    }
    yields = 0;
    comes_at = comes;
    const uint32_t before = cursor->sleep;
    ss_cursor_park(cursor, has_come, cursor, MS);
    take_all(cursor);
    return cursor->sleep - before;
}

int main(void) {
    events = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    const ss_view view = ss_ring_view(events.ring);
    ss_cursor cursor;
    ss_ring_prepare_resume(events.ring);
    ss_cursor_start(&cursor, &view);
    REQUIRE(park_after(&cursor, 0, 0) == 1, "it did not sleep");

    REQUIRE(park_after(&cursor, 1, 0) == 1 && yields == 0, "after a single event: %u", yields);
    REQUIRE(park_after(&cursor, 0, 0) == 1 && yields == 0, "after nothing: %u", yields);
    REQUIRE(park_after(&cursor, 2, 1) == 0 && yields == 1, "after two: %u", yields);
    REQUIRE(park_after(&cursor, 0, 1) == 0 && yields == 1, "they go on: %u", yields);
    REQUIRE(park_after(&cursor, 0, 0) == 1 && yields == 1, "nothing came: %u", yields);
    REQUIRE(park_after(&cursor, 0, 1) == 1 && yields == 0, "it has slept: %u", yields);

    ss_cursor_end(&cursor);
    end_source(&events);
    printf("gives way\n");
    return 0;
}
