/* events: on_broadcast, in every way. */
#ifndef SS_CHECK_EVENTS_H
#define SS_CHECK_EVENTS_H

#include "check/guest.h"
#include "check/play.h"

#include <stdbool.h>

void ss_events_deliver(const ss_play_step *step, const void *data);
void ss_events_concurrent(const ss_play_step *step, const void *data);
void ss_events_mutate(const ss_play_step *step, const void *data);

/* Notes what was rejected: of a run from `first` on if it returned OK, and, with EXPLICIT_ACK, of
 * those before it. */
void ss_events_rejected(ss_guest *guest, int32_t status, uint64_t first);

/* Whether the plugin in `slot` is loaded and takes events; if not, that is said. */
bool ss_events_may_come(uint32_t slot);
/* One call of on_broadcast, of the bytes as they are. */
int32_t ss_events_call(ss_guest *guest, const slipstream_delivery *delivery, const uint8_t *frames,
                       size_t len);

#endif
