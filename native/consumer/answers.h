/* answers: what follows from what a plugin answers. */
#ifndef SS_ANSWERS_H
#define SS_ANSWERS_H

#include "consumer/loop.h"

/* Offers an event, for which the plugin has asked again, until it gives another
 * answer, `status`, or until the operator's bound: then the answer stands. GO_ON; or how that
 * ended the consumer, with the event kept. */
int32_t ss_loop_retry(loop *l, const uint8_t *frame, size_t len, uint64_t ordinal,
                      uint32_t attempt, int32_t *status);
/* What follows from an answer by which it was not taken. GO_ON, or how it ends the consumer. */
int32_t ss_loop_fail(loop *l, int32_t status, const uint8_t *frame, size_t len, uint64_t ordinal);
/* A run up to ordinal `last` was taken, but for what was rejected of it. */
void ss_loop_settle(loop *l, int32_t status, const uint8_t *frames, uint64_t last, uint32_t count);
static inline void ss_loop_finish(loop *l, int32_t status, const uint8_t *frames, uint64_t last,
                                  uint32_t count) {
    if (l->acks.is_slow)
        ss_loop_settle(l, status, frames, last, count);
    else
        ss_acks_finish_fast(&l->acks, last);
}

#endif
