/* refusals: what a plugin refuses, from the moment at which the host hears of it: a dead letter,
 * written with others as a group, and then counted. Only then the consumer is told, which does
 * not acknowledge it before. */
#ifndef SS_REFUSALS_H
#define SS_REFUSALS_H

#include "frame/dead_letter.h"
#include "ring/queue.h"

typedef struct ss_refusals {
    ss_queue *queue;
    ss_letters *letters;
    ss_lock lock; /* one group at a time, whoever adds to it */
    uint32_t heard; /* since the last group: those that need no letter among them */
    uint32_t count;
    struct {
        uint64_t ordinal;
        bool added;
    } pending[SS_REFUSALS_MAX];
} ss_refusals;

/* `letter` without a frame: that is in the ring. What was heard before, or is none of this
 * ring's, is only confirmed. `number`: what `kept` (ring.h) will be once this one is; false, and
 * nothing is done, for any but the next, which is the word of a consumer out of its senses.
 * [any thread] */
bool ss_refusals_add(ss_refusals *self, const ss_letter *letter, uint32_t number);
/* Writes the group and counts what is in it. May take its time. [any thread] */
void ss_refusals_keep(ss_refusals *self);
/* One that crashed the plugin, from the first to the last ordinal: an event, or what a GAP told
 * of. [any thread] */
void ss_refusals_keep_crash(ss_refusals *self, const ss_letter *letter, uint64_t first);

#endif
