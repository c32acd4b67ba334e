/* side: one hatch as the host sees it: reads what a plugin's side has written there, all of which is
 * hostile, and writes the answers. One thread at a time, as its desk sees to.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_SIDE_H
#define SS_SIDE_H

#include "peers/hatch.h"

/* cdef:begin */
/* What a plugin wants. */
typedef struct ss_asked {
    uint32_t what; /* SS_ASKS_* */
    uint32_t number; /* of a message: SLIPSTREAM_PEER_DIRECT or _ROUTED; of a look-up the field */
    uint64_t ticket; /* of a message, for log lines */
    const uint8_t *first; /* the question; of a message the peer */
    size_t first_len;
    const uint8_t *name; /* of a message */
    size_t name_len;
    const uint8_t *body;
    size_t body_len;
    void *memory; /* of the bytes */
    uint64_t side; /* the hatch */
    uint64_t serial; /* of a question: its number */
    uint32_t place;
    uint32_t index; /* of SS_ASKS_PEER_AT */
    uint64_t taken_ns; /* when; 0: it has its answer */
    uint64_t late_ns;  /* how long its answer took, if nobody waited for it any more; else 0 */
    bool is_last;      /* nobody else waits for what is wanted */
} ss_asked;
/* cdef:end */

typedef struct ss_side {
    struct ss_side *next; /* an older one */
    ss_hatch_map *map;
    uint64_t id;
    uint64_t taken; /* as the hatch has it, which is not believed */
    uint64_t taken_count;
    uint32_t questions[SS_CALLS_AT_ONCE]; /* the last that was taken at each place */
    uint32_t turn; /* whose place is looked at first: who asks at once again comes last */
    uint32_t sleepers;
    uint32_t log_id;
    bool left;   /* its instance has ended */
    bool broken; /* its outbox makes no sense: nothing more of it is read */
} ss_side;

/* How many messages wait; the plugin's word, held within what there can be. */
uint64_t ss_side_waiting(const ss_side *side);
/* The next message, copied. OK; NOT_FOUND; NO_MEMORY; MALFORMED once, and it is `broken`. */
int32_t ss_side_take_message(ss_side *side, ss_asked *out);
/* A question that was not taken yet, copied. OK; NOT_FOUND; NO_MEMORY. What must not be asked is
 * answered here: MALFORMED then. */
int32_t ss_side_take_question(ss_side *side, ss_asked *out);
/* False if nobody waits for it any more. */
bool ss_side_answer(ss_side *side, const ss_asked *asked, int32_t status, const uint8_t *answer,
                    size_t len);

#endif
