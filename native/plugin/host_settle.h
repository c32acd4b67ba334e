/* host_settle: slipstream.settle/1, with which a plugin rejects single events of a run. */
#ifndef SS_HOST_SETTLE_H
#define SS_HOST_SETTLE_H

#include "base/lock.h"

#include <slipstream.h>

typedef struct ss_rejection {
    uint64_t ordinal;
    int32_t status;
    uint32_t len;
    char *text;
} ss_rejection;

typedef struct ss_host_settle {
    ss_lock lock;
    bool is_off; /* while flush runs: no run is under way */
    /* Of whoever calls on_broadcast: the delivery that it gives, and what is to be true once
     * something was rejected; NULL where nobody does. */
    const slipstream_delivery *delivery;
    bool *noticed;
    bool until_acked; /* those of earlier runs, too, as long as they are not acknowledged */
    /* With EXPLICIT_ACK, from a ring: what is known of an ordinal that was delivered. */
    int32_t (*judge)(void *context, uint64_t ordinal);
    void (*late)(void *context, const ss_rejection *rejection);
    void *context;
    /* Those of the run that is under way. */
    ss_rejection *rejections;
    size_t count;
    size_t room;
} ss_host_settle;

/* What `judge` says. */
#define SS_JUDGED_UNKNOWN 0 /* not delivered, or acknowledged */
#define SS_JUDGED_RUNNING 1 /* in the run that is under way */
#define SS_JUDGED_DONE 2    /* delivered before, and not acknowledged */

/* Before on_broadcast, of who tries a plugin, and keeps what it was given as a ring does. */
void ss_host_settle_begin(ss_host_settle *settle, const slipstream_delivery *delivery,
                          uint32_t flags);
/* Those of the run that has returned OK, in the order of their ordinals, and from now on the
 * caller's: free each with ss_rejection_free, then the array. How many. */
size_t ss_host_take_rejections(ss_host_settle *settle, ss_rejection **out);
/* The run from this ordinal on did not return OK. */
void ss_host_forget_rejections(ss_host_settle *settle, uint64_t from);
void ss_rejection_free(ss_rejection *rejection);
void ss_host_settle_free(ss_host_settle *settle);

/* What it gives; its functions get a ss_host. */
extern const slipstream_settle_v1 ss_host_settle_table;

#endif
