#include "ring/losses.h"

#include "base/clock.h"
#include "base/text.h"

#include <slipstream.h>
#include <stdio.h>

static const uint64_t minute_ns = UINT64_C(60000000000);

static bool is_over(uint64_t since, uint64_t now) {
    return ss_ticks_to_ns(now - since) >= minute_ns;
}

/* Why they are lost, all reasons in one phrase. */
static void name_reasons(char *out, size_t room, uint32_t reasons) {
    static const struct {
        uint32_t reason;
        const char *text;
    } texts[] = {
        {SLIPSTREAM_GAP_QUARANTINED, "it is quarantined, and its ring is full"},
        {SLIPSTREAM_GAP_PAUSED, "it is paused, or has failed"},
        {SLIPSTREAM_GAP_RELOAD, "it is being reloaded"},
        {SLIPSTREAM_GAP_BLOCK_TIMEOUT, "its ring stays full"},
        {SLIPSTREAM_GAP_DROPPED_NEWEST, "its ring is full (drop_newest)"},
        {SLIPSTREAM_GAP_DROPPED_OLDEST, "its ring is full (drop_oldest)"},
        {SLIPSTREAM_GAP_TOO_LARGE, "they are larger than its ring"},
    };
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && used < room; i++)
        if ((reasons & texts[i].reason) != 0)
            used += (size_t)snprintf(out + used, room - used, "%s%s", used > 0 ? "; " : "",
                                     texts[i].text);
}

static void tell(ss_losses *losses, uint64_t ordinal, uint64_t now) {
    char why[256];
    name_reasons(why, sizeof why, losses->reasons);
    if (ordinal != 0)
        ss_log_queue_format(losses->log, SLIPSTREAM_LOG_WARN, losses->log_id,
                            "events are lost from ordinal %llu on: %s",
                            (unsigned long long)ordinal, why);
    else
        ss_log_queue_format(losses->log, SLIPSTREAM_LOG_WARN, losses->log_id,
                            "%llu %s lost since the last such line, %llu in all: %s",
                            (unsigned long long)(losses->all - losses->told),
                            ss_text_form(losses->all - losses->told, "event was", "events were"),
                            (unsigned long long)losses->all, why);
    losses->told = losses->all;
    losses->told_at = now;
    losses->reasons = 0;
}

void ss_losses_count(ss_losses *losses, uint64_t count, uint32_t reasons) {
    if (reasons != 0 && (unsigned)__builtin_ctz(reasons) < SS_GAP_REASONS)
        losses->by[__builtin_ctz(reasons)] += count;
}

void ss_losses_note(ss_losses *losses, uint64_t ordinal, uint64_t count, uint32_t reasons) {
    ss_losses_count(losses, count, reasons);
    if (losses->log == NULL || count == 0)
        return;
    const uint64_t now = ss_ticks();
    const bool begins = losses->told_at == 0 || is_over(losses->last_at, now);
    if (begins && losses->told != losses->all) /* of the spell before */
        tell(losses, 0, now);
    losses->all += count;
    losses->reasons |= reasons;
    losses->last_at = now;
    if (begins)
        tell(losses, ordinal, now);
    else if (is_over(losses->told_at, now))
        tell(losses, 0, now);
}

void ss_losses_look(ss_losses *losses) {
    if (losses->told != losses->all && is_over(losses->told_at, ss_ticks()))
        tell(losses, 0, ss_ticks());
}
