/* caller: the plugin's side of a hatch, for any number of the plugin's threads. It takes no lock of
 * an interpreter, waits for nobody but the answer, and believes no word of the other side.
 *
 * Between the marks stand only declarations; the build parses them. [any-thread] */
#ifndef SS_CALLER_H
#define SS_CALLER_H

#include "base/lock.h"
#include "base/log_queue.h"
#include "peers/hatch.h"

/* cdef:begin */
typedef struct ss_caller ss_caller;

/* Takes over a reference to `map`. NULL when there is no memory. */
ss_caller *ss_caller_new(ss_hatch_map *map, ss_log_queue *log, uint32_t log_id);
void ss_caller_free(ss_caller *caller);

/* One message into the outbox. OK, and its number in *ticket; DENIED, INVALID_ARGUMENT, TOO_LARGE,
 * RETRY. */
int32_t ss_caller_send(ss_caller *caller, uint32_t how, const uint8_t *peer, size_t peer_len,
                       const uint8_t *name, size_t name_len, const uint8_t *body, size_t body_len,
                       uint64_t *ticket);

/* Asks (SS_ASKS_*, but for a message), and waits for the answer, which goes to `buffer`: *len is its
 * size before, and the answer's length afterwards. What the host says; or DENIED; INVALID_ARGUMENT;
 * RETRY, where too many ask; TIMEOUT; TOO_LARGE, *len being what is needed, or 0 where it is the
 * question that is too large; FAILED, where the answer makes no sense. */
int32_t ss_caller_ask(ss_caller *caller, uint32_t what, uint32_t number, const uint8_t *question,
                      size_t question_len, uint8_t *buffer, size_t *len);
/* cdef:end */

struct ss_caller {
    ss_hatch_map *map;
    ss_log_queue *log;
    uint32_t log_id;
    _Atomic uint32_t said; /* SS_GRANTS_*: that it is missing stands in the log */
    ss_lock lock;
    /* Under the lock. */
    uint64_t put;
    uint64_t put_count;
    uint32_t taken;  /* bit n: place n has a question */
    uint32_t number; /* of the last question */
};

#endif
