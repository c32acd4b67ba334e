/* hatch: the memory through which a plugin asks its host: an outbox for messages, and a few places
 * for questions that are waited for (slipstream.send/1, peers/1, identity/1).
 *
 * One instance of a plugin has one hatch. In thread and inline mode it is private memory, in
 * process mode shared memory that only this worker and its host have; the code is the same. On one
 * side stand the plugin's threads (caller.h), on the other the threads that serve its desk
 * (desk.h). No Python runs on the plugin's side, and no thread of a plugin runs anybody else's code.
 *
 * Who writes what
 *
 *   the plugin's side   `bell`, `put`, `put_count`, its counters; of a call `what`, `number`,
 *                       `question_len`, the question, and last `asked`; the outbox
 *   the host            `sleepers`, `taken`, `taken_count`; of a call `status`, `answer_len`, the
 *                       answer, and last `answered`
 *
 * Neither reads back what it has written itself: each keeps it in memory of its own. So both may
 * take all that they read for hostile: the worker may have been written over by its plugin, and
 * the worker looks at the host's words as closely, for a mistake there is none of the plugin's.
 * Everything is read once, bytes are copied before they are looked at, and each length is held
 * against what the reader knows by itself.
 *
 * Questions. Each has a number, never 0, which grows from one to the next and is written behind
 * everything else of it; whoever answers writes that number behind the answer. So an answer that
 * comes late, after the caller has given up, meets nobody: the next question at the same place has
 * another number, and the host answers only what it has taken there last. A question that is given
 * up before it was taken is taken back (`asked` is 0). A caller waits on `answered`, until its
 * deadline and no longer, whatever the other side does. Where all places are taken the answer is
 * RETRY at once: nobody queues for them.
 *
 * Messages. A record of the outbox is a head, the peer, the name and the body, one behind the
 * other; records are multiples of 8 bytes and wrap at the outbox's end anywhere. `put` and `taken`
 * count bytes and never shrink. The outbox has its bounds in bytes and in messages; beyond them the
 * answer is RETRY at once. What is put is the host's: it is taken out also when the worker has
 * died since. An outbox that makes no sense is not read any further, and ends its worker.
 *
 * The bell changes whenever something was put or asked, and is what the host's threads sleep on;
 * it is rung by a system call only where `sleepers` says that somebody sleeps. A worker that does
 * not ring, or rings for nothing, holds up its own plugin's calls, and nobody else's. */
#ifndef SS_HATCH_H
#define SS_HATCH_H

#include "platform/platform.h"

#include <slipstream.h>
#include <stdatomic.h>
#include <stdbool.h>

/* cdef:begin */
/* What the application has a service for: which extensions a plugin finds. */
#define SS_OFFERS_SEND 1
#define SS_OFFERS_PEERS 2
#define SS_OFFERS_IDENTITY 4

/* What a plugin's config grants it. */
#define SS_GRANTS_SEND 1
#define SS_GRANTS_PEERS 2
#define SS_GRANTS_SIGN 4
#define SS_GRANTS_OPEN 8

/* What is asked. */
#define SS_ASKS_SEND 0
#define SS_ASKS_LOOKUP 1 /* number: SLIPSTREAM_PEER_PUBLIC_KEY or _NAME */
#define SS_ASKS_PEER_AT 2 /* number: the index */
#define SS_ASKS_PUBLIC_KEY 3
#define SS_ASKS_SIGN 4
#define SS_ASKS_OPEN 5

#define SS_CALLS_AT_ONCE 4
#define SS_QUESTION_MAX 262144 /* bytes of a question, and of an answer */
#define SS_PEER_MAX 1024
#define SS_MESSAGE_NAME_MAX 255

/* Under which terms an instance asks. */
typedef struct ss_terms {
    uint32_t offers;
    uint32_t grants;
    uint32_t call_timeout_ms;
    uint32_t outbox_messages;
    uint64_t outbox_bytes; /* a multiple of 8 */
} ss_terms;

typedef struct ss_hatch_map ss_hatch_map;
/* cdef:end */

#define SS_HATCH_LINE _Alignas(64)

typedef struct ss_call {
    SS_HATCH_LINE _Atomic uint32_t asked; /* the question's number; 0: none */
    _Atomic uint32_t what;
    _Atomic uint32_t number;
    _Atomic uint32_t question_len;
    SS_HATCH_LINE _Atomic uint32_t answered; /* the number of the question that is answered */
    _Atomic int32_t status;
    _Atomic uint32_t answer_len;
} ss_call;

typedef struct ss_hatch {
    SS_HATCH_LINE _Atomic uint32_t bell;
    _Atomic uint64_t put;
    _Atomic uint64_t put_count;
    /* Counters of the plugin's side; shown, never relied on. */
    _Atomic uint64_t denied;
    _Atomic uint64_t retries;
    _Atomic uint64_t timeouts;
    SS_HATCH_LINE _Atomic uint32_t sleepers;
    _Atomic uint64_t taken;
    _Atomic uint64_t taken_count;
    ss_call calls[SS_CALLS_AT_ONCE];
} ss_hatch;

/* In front of each message in the outbox. */
typedef struct ss_message_head {
    uint64_t ticket;
    uint32_t how;
    uint32_t peer_len;
    uint32_t name_len;
    uint32_t body_len;
} ss_message_head;

/* Bytes that a message takes in the outbox; 0 if no outbox holds that much. */
static inline uint64_t ss_message_room(uint64_t peer_len, uint64_t name_len, uint64_t body_len) {
    if (peer_len > SS_PEER_MAX || name_len > SS_MESSAGE_NAME_MAX || body_len > UINT32_MAX)
        return 0;
    return (sizeof(ss_message_head) + peer_len + name_len + body_len + 7) / 8 * 8;
}

/* A hatch as one side has it mapped. Counted: whoever may still call through it holds it. */
struct ss_hatch_map {
    ss_hatch *hatch;
    uint8_t *questions; /* SS_CALLS_AT_ONCE of SS_QUESTION_MAX bytes */
    uint8_t *answers;
    uint8_t *outbox;
    ss_terms terms;
    size_t size;
    bool shared;
    _Atomic uint32_t references;
};

/* The grants of which one is needed to ask this; 0 if nobody asks it. */
uint32_t ss_grants_for(uint32_t what);

/* What a look-up may ask for. */
static inline bool ss_is_peer_field(uint32_t number) {
    return number == SLIPSTREAM_PEER_PUBLIC_KEY || number == SLIPSTREAM_PEER_NAME;
}

/* Bytes of its memory. */
size_t ss_hatch_size(const ss_terms *terms);
/* Makes one; with `fd` for a worker, and the caller closes *fd. NULL with errno set. */
ss_hatch_map *ss_hatch_new(const ss_terms *terms, int *fd);
/* The same in the worker that got the descriptor. */
ss_hatch_map *ss_hatch_open(const ss_terms *terms, int fd);
void ss_hatch_retain(ss_hatch_map *map);
void ss_hatch_release(ss_hatch_map *map);

/* Between a place in the outbox and memory, around its end. */
void ss_outbox_write(const ss_hatch_map *map, uint64_t at, const void *data, size_t len);
void ss_outbox_read(const ss_hatch_map *map, uint64_t at, void *out, size_t len);

/* There is something new. */
void ss_hatch_ring(const ss_hatch_map *map);

#endif
