/* outcomes: what became of a plugin's events, each of which has one outcome in the end. Counted
 * when it is heard that they are acknowledged: what nobody has noted otherwise was delivered.
 * It only counts: it knows no ring and no file. [whoever holds the queue's lock] */
#ifndef SS_OUTCOMES_H
#define SS_OUTCOMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is noted of events above the acknowledged ones. */
enum ss_noted {
    SS_NOTED_TAKEN,       /* with the consumer alone: delivered, or lost if it ends before */
    SS_NOTED_LOST,        /* told of by a GAP, once that is acknowledged */
    SS_NOTED_DEAD,        /* refused for good, and kept durably */
    SS_NOTED_DEAD_UNKEPT, /* refused for good, and not kept */
};

typedef struct ss_noted_range {
    uint64_t first; /* ordinals */
    uint64_t last;
    enum ss_noted noted;
} ss_noted_range;

enum { SS_RANGES_LEAST = 32 };

typedef struct ss_outcomes {
    uint64_t settled; /* up to this ordinal each event has its outcome */
    uint64_t delivered;
    uint64_t dead; /* those of dead_unkept among them */
    uint64_t dead_unkept;
    uint64_t told;
    uint64_t undelivered;
    /* Above `settled`, in order, without overlaps. Each range ends at an event in the ring, or at
     * a piece that was copied out of it and is not acknowledged. */
    ss_noted_range *ranges; /* NULL: `few` */
    size_t from;
    size_t to;
    size_t room;
    ss_noted_range few[SS_RANGES_LEAST];
} ss_outcomes;

void ss_outcomes_free(ss_outcomes *self);

/* What stands further down above replaces what stands higher up; once dead is for good. */
void ss_outcomes_note(ss_outcomes *self, uint64_t first, uint64_t last, enum ss_noted noted);
/* The first dead event above `ordinal`; 0 if there is none. */
uint64_t ss_outcomes_next_dead(const ss_outcomes *self, uint64_t ordinal);
bool ss_outcomes_is_dead(const ss_outcomes *self, uint64_t ordinal);
/* How many of these are noted, as anything or as dead. */
uint64_t ss_outcomes_count_noted(const ss_outcomes *self, uint64_t first, uint64_t last);
uint64_t ss_outcomes_count_dead(const ss_outcomes *self, uint64_t first, uint64_t last);
/* The consumer is gone: what it had taken is lost. How many those were. */
uint64_t ss_outcomes_lose_taken(ss_outcomes *self);

/* Everything up to `acked` is acknowledged. */
void ss_outcomes_settle(ss_outcomes *self, uint64_t acked);
/* Nothing is delivered any more: what waits up to `last` is dead, where it was noted so, or
 * undelivered. */
void ss_outcomes_abandon(ss_outcomes *self, uint64_t last);

#endif
