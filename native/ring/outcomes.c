#include "ring/outcomes.h"

#include <stdlib.h>
#include <string.h>

static ss_noted_range *all(ss_outcomes *self) {
    return self->ranges != NULL ? self->ranges : self->few;
}

static const ss_noted_range *all_of(const ss_outcomes *self) {
    return self->ranges != NULL ? self->ranges : self->few;
}

void ss_outcomes_free(ss_outcomes *self) {
    free(self->ranges);
    self->ranges = NULL;
    self->from = self->to = self->room = 0;
}

/* Room for one more; moves what there is to the front. */
static bool make_room(ss_outcomes *self) {
    const size_t room = self->ranges != NULL ? self->room : SS_RANGES_LEAST;
    const size_t count = self->to - self->from;
    if (self->to < room)
        return true;
    if (self->from > 0) {
        memmove(all(self), all(self) + self->from, count * sizeof *self->ranges);
    } else {
        ss_noted_range *more = realloc(self->ranges, 2 * room * sizeof *more);
        if (more == NULL)
            return false;
        if (self->ranges == NULL)
            memcpy(more, self->few, sizeof self->few);
        self->ranges = more;
        self->room = 2 * room;
    }
    self->from = 0;
    self->to = count;
    return true;
}

/* The first range that ends at or behind this ordinal, as an index. */
static size_t find(const ss_outcomes *self, uint64_t ordinal) {
    const ss_noted_range *ranges = all_of(self);
    size_t low = self->from;
    size_t high = self->to;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (ranges[middle].last < ordinal)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Puts a range in front of number `at`, into a hole; returns the index behind it. */
static size_t insert(ss_outcomes *self, size_t at, uint64_t first, uint64_t last,
                     enum ss_noted noted) {
    ss_noted_range *ranges = all(self);
    if (at > self->from && ranges[at - 1].noted == noted && ranges[at - 1].last + 1 == first) {
        ranges[at - 1].last = last;
        return at;
    }
    if (at < self->to && ranges[at].noted == noted && last + 1 == ranges[at].first) {
        ranges[at].first = first;
        return at + 1;
    }
    const size_t offset = at - self->from;
    if (!make_room(self)) { /* then it counts as its neighbour does */
        if (offset > 0)
            ranges[at - 1].last = last;
        else
            ranges[at].first = first;
        return offset > 0 ? at : at + 1;
    }
    ranges = all(self);
    at = self->from + offset;
    memmove(ranges + at + 1, ranges + at, (self->to - at) * sizeof *ranges);
    ranges[at] = (ss_noted_range){first, last, noted};
    self->to++;
    return at + 1;
}

/* Takes ordinals out of the range number `at`, which holds them. The index of the hole. */
static size_t cut_out(ss_outcomes *self, size_t at, uint64_t first, uint64_t last) {
    ss_noted_range *range = &all(self)[at];
    const ss_noted_range whole = *range;
    if (whole.first == first && whole.last == last) {
        memmove(range, range + 1, (self->to - at - 1) * sizeof *range);
        self->to--;
        return at;
    }
    if (whole.first == first) {
        range->first = last + 1;
        return at;
    }
    range->last = first - 1;
    if (whole.last == last)
        return at + 1;
    const size_t offset = at - self->from;
    if (!make_room(self)) { /* the rest counts as delivered, or as its neighbour */
        return at + 1;
    }
    at = self->from + offset;
    range = &all(self)[at];
    memmove(range + 2, range + 1, (self->to - at - 1) * sizeof *range);
    range[1] = (ss_noted_range){last + 1, whole.last, whole.noted};
    self->to++;
    return at + 1;
}

void ss_outcomes_note(ss_outcomes *self, uint64_t first, uint64_t last, enum ss_noted noted) {
    if (first <= self->settled)
        first = self->settled + 1;
    for (size_t at = find(self, first); first <= last;) {
        const ss_noted_range *next = at < self->to ? &all(self)[at] : NULL;
        if (next == NULL || next->first > first) {
            const uint64_t end = next == NULL || next->first > last ? last : next->first - 1;
            at = insert(self, at, first, end, noted);
            first = end + 1;
            at = find(self, first);
            continue;
        }
        const uint64_t end = next->last < last ? next->last : last;
        if (next->noted < noted && next->noted < SS_NOTED_DEAD) {
            at = cut_out(self, at, first, end);
            insert(self, at, first, end, noted);
        }
        first = end + 1;
        at = find(self, first);
    }
}

bool ss_outcomes_is_dead(const ss_outcomes *self, uint64_t ordinal) {
    const size_t at = find(self, ordinal);
    const ss_noted_range *range = all_of(self) + at;
    return at < self->to && range->first <= ordinal && range->noted >= SS_NOTED_DEAD;
}

uint64_t ss_outcomes_next_dead(const ss_outcomes *self, uint64_t ordinal) {
    const ss_noted_range *ranges = all_of(self);
    for (size_t at = find(self, ordinal + 1); at < self->to; at++)
        if (ranges[at].noted >= SS_NOTED_DEAD)
            return ranges[at].first > ordinal ? ranges[at].first : ordinal + 1;
    return 0;
}

static uint64_t count_in(const ss_outcomes *self, uint64_t first, uint64_t last,
                         enum ss_noted least) {
    const ss_noted_range *ranges = all_of(self);
    uint64_t found = 0;
    for (size_t at = find(self, first); at < self->to && ranges[at].first <= last; at++) {
        const uint64_t from = ranges[at].first > first ? ranges[at].first : first;
        const uint64_t to = ranges[at].last < last ? ranges[at].last : last;
        if (ranges[at].noted >= least)
            found += to - from + 1;
    }
    return found;
}

uint64_t ss_outcomes_count_noted(const ss_outcomes *self, uint64_t first, uint64_t last) {
    return count_in(self, first, last, SS_NOTED_TAKEN);
}

uint64_t ss_outcomes_count_dead(const ss_outcomes *self, uint64_t first, uint64_t last) {
    return count_in(self, first, last, SS_NOTED_DEAD);
}

uint64_t ss_outcomes_lose_taken(ss_outcomes *self) {
    ss_noted_range *ranges = all(self);
    uint64_t lost = 0;
    for (size_t at = self->from; at < self->to; at++)
        if (ranges[at].noted == SS_NOTED_TAKEN) {
            ranges[at].noted = SS_NOTED_LOST;
            lost += ranges[at].last - ranges[at].first + 1;
        }
    return lost;
}

/* Gives everything up to `end` its outcome: dead where it is noted so, and two others. */
static void give(ss_outcomes *self, uint64_t end, uint64_t *lost, uint64_t *others) {
    uint64_t next = self->settled + 1;
    while (next <= end) {
        ss_noted_range *range = self->from < self->to ? &all(self)[self->from] : NULL;
        if (range == NULL || range->first > end) {
            *others += end - next + 1;
            break;
        }
        *others += range->first - next;
        const uint64_t last = range->last < end ? range->last : end;
        const uint64_t events = last - range->first + 1;
        if (range->noted >= SS_NOTED_DEAD)
            self->dead += events;
        else
            *(range->noted == SS_NOTED_LOST ? lost : others) += events;
        if (range->noted == SS_NOTED_DEAD_UNKEPT)
            self->dead_unkept += events;
        next = last + 1;
        range->first = next;
        self->from += last == range->last;
    }
    if (self->from == self->to)
        self->from = self->to = 0;
    if (self->settled < end)
        self->settled = end;
}

void ss_outcomes_settle(ss_outcomes *self, uint64_t acked) {
    give(self, acked, &self->told, &self->delivered);
}

void ss_outcomes_abandon(ss_outcomes *self, uint64_t last) {
    give(self, last, &self->undelivered, &self->undelivered);
}
