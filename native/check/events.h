/* events: on_broadcast, in every way. */
#ifndef SS_CHECK_EVENTS_H
#define SS_CHECK_EVENTS_H

#include "check/play.h"

void ss_events_deliver(const ss_play_step *step, const void *data);
void ss_events_concurrent(const ss_play_step *step, const void *data);
void ss_events_mutate(const ss_play_step *step, const void *data);

#endif
