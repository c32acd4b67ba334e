/* Losses: what is said of them, and when. */
#include "check.h"
#include "base/clock.h"
#include "ring/losses.h"

#include <slipstream.h>
#include <string.h>

static ss_log_queue *queue;

/* The next line; "" if there is none. */
static const char *said(void) {
    static char text[512];
    ss_log_line line;
    text[0] = '\0';
    if (ss_log_queue_next(queue, &line)) {
        REQUIRE(line.level == SLIPSTREAM_LOG_WARN && line.log_id == 7);
        REQUIRE(line.len < sizeof text);
        memcpy(text, line.text, line.len + 1);
    }
    return text;
}

/* As if so many seconds had passed. */
static void pass(ss_losses *losses, uint64_t seconds) {
    const uint64_t ticks = (uint64_t)((double)seconds * 1e9 /
                                      ((double)ss_ticks_to_ns(UINT64_C(1) << 32) / 4294967296.0));
    losses->told_at -= losses->told_at == 0 ? 0 : ticks;
    losses->last_at -= ticks;
}

int main(void) {
    queue = ss_log_queue_new(64 * 1024);
    ss_losses losses = {.log_id = 7};
    ss_ticks_start();
    while (ss_ticks_rate == 0)
        ss_ticks_first_rate();
    ss_losses_note(&losses, 1, 5, SLIPSTREAM_GAP_PAUSED); /* nobody to be told */
    REQUIRE(losses.all == 0);
    losses.log = queue;
    ss_losses_note(&losses, 11, 1, SLIPSTREAM_GAP_PAUSED);
    REQUIRE(strcmp(said(), "events are lost from ordinal 11 on: it is paused, or has failed") == 0);
    for (uint64_t i = 0; i < 1000; i++)
        ss_losses_note(&losses, 12 + i, 1, SLIPSTREAM_GAP_PAUSED);
    ss_losses_look(&losses);
    REQUIRE(said()[0] == '\0');
    /* Once a minute, whether more are lost or not. */
    pass(&losses, 59);
    ss_losses_note(&losses, 1012, 1, SLIPSTREAM_GAP_QUARANTINED);
    ss_losses_look(&losses);
    REQUIRE(said()[0] == '\0');
    pass(&losses, 2);
    ss_losses_look(&losses);
    const char *text = said();
    REQUIRE(strstr(text, "1001 events were lost since the last such line, 1002 in all") == text);
    REQUIRE(strstr(text, "quarantined") != NULL && strstr(text, "paused") != NULL);
    ss_losses_look(&losses);
    ss_losses_note(&losses, 1013, 5, SLIPSTREAM_GAP_BLOCK_TIMEOUT);
    pass(&losses, 59);
    ss_losses_note(&losses, 1018, 5, SLIPSTREAM_GAP_BLOCK_TIMEOUT);
    REQUIRE(said()[0] == '\0');
    pass(&losses, 2);
    ss_losses_note(&losses, 1023, 10, SLIPSTREAM_GAP_BLOCK_TIMEOUT);
    REQUIRE(strstr(said(), "20 events were lost since the last such line, 1022 in all") != NULL);
    /* A minute without: what was not told of the spell before is, then the next one begins. */
    ss_losses_note(&losses, 1033, 2, SLIPSTREAM_GAP_BLOCK_TIMEOUT);
    pass(&losses, 61);
    ss_losses_note(&losses, 2000, 3, SLIPSTREAM_GAP_DROPPED_NEWEST);
    REQUIRE(strstr(said(), "2 events were lost since the last such line, 1024 in all") != NULL);
    REQUIRE(strstr(said(), "events are lost from ordinal 2000 on: its ring is full") != NULL);
    REQUIRE(said()[0] == '\0');
    ss_log_queue_release(queue);
    printf("losses told of\n");
    return 0;
}
