/* play: what slipstream-check does for the one who judges a plugin: it plays the steps of a script,
 * in a process of its own, and says what came of each. It judges nothing itself.
 *
 * A script is steps, one behind the other; the data of a step stands behind it, padded to 8. What
 * came of it goes as ss_played, with its text behind it, into a pipe; each carries the number that
 * only we were told, so that nothing else that is written there counts. The last is SS_PLAYED_END.
 * Where the process falls before, the trace (memory that both sides see) says in which step, and
 * the fault what it did.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_PLAY_H
#define SS_PLAY_H

#include "ring/ring.h"

#include <stdint.h>

/* cdef:begin */

/* Steps. "slot" is the number of a plugin, "library" that of an open library, both below
 * SS_PLAY_SLOTS; what a, b, c, d are is said for each; what is not said is 0. */
#define SS_PLAY_SLOTS 4
#define SS_PLAY_OPEN 1 /* library in slot; data: path, NUL, name for people, NUL */
#define SS_PLAY_CLOSE 2 /* library in slot */
#define SS_PLAY_CONSTRUCT 3 /* slot; a: library; b: SS_PLAY_HOST_*; data: config folder, NUL */
#define SS_PLAY_TABLE 4 /* slot: looks at the table again; says what has changed */
#define SS_PLAY_LOAD 5 /* slot; a: reason; b: SS_PLAY_PLACE_*; c: 1: data is the config as it is, 2: NULL; else packed */
#define SS_PLAY_SUBSCRIBED 6 /* slot */
#define SS_PLAY_CLAIMS 7 /* slot */
#define SS_PLAY_EXTENSION 8 /* slot; data: id, NUL */
#define SS_PLAY_DELIVER 9 /* slot; a: frames; b: SS_PLAY_PLACE_*; c: first ordinal; d: attempt, times << 32; data: frames */
#define SS_PLAY_CONCURRENT 10 /* slot; a: threads; c: first ordinal; d: times; data: one frame */
#define SS_PLAY_MUTATE 11 /* slot; a: first; b: count; c: seed; data: one frame: its payload is changed in count ways */
#define SS_PLAY_FLUSH 12 /* slot; a: timeout in ms */
#define SS_PLAY_UNLOAD 13 /* slot; a: timeout in ms */
#define SS_PLAY_DESTROY 14 /* slot */
#define SS_PLAY_STOPPING 15 /* slot; a: whether is_stopping */
#define SS_PLAY_THREAD 16 /* calls come from now on from: a: 0 the main thread, else thread a; c: its stack in bytes */
#define SS_PLAY_KEEP 17 /* a: number of what is kept: how the process is now */
#define SS_PLAY_COMPARE 18 /* a: number of what was kept; b: set of what is looked at (1 << SS_STATE_*) */
#define SS_PLAY_HEAP 19 /* how many bytes and mappings are in use */
#define SS_PLAY_ALLOCATIONS 20 /* a: 1: count allocations from now on, c: which one is to fail (0: none); 0: stop, and say how many */
#define SS_PLAY_AGAIN 21 /* a: go back that many steps; c: times; d: 1: only while FUZZ has time left */
#define SS_PLAY_SLEEP 22 /* a: ms */
#define SS_PLAY_EXIT 23 /* the process ends, as a host's main that returns; END is said before */
#define SS_PLAY_MAPPED 24 /* data: path, NUL: is it mapped */
#define SS_PLAY_ACKED 25 /* slot: the last ordinal that is acknowledged, and that was delivered */
#define SS_PLAY_FUZZ 26 /* slot; a: at most so many, 0: any; c: seed; d: ms; data: frames, to make others of */
#define SS_PLAY_CHILDREN 27 /* a: ms: waits for copies of the process, forked in calls, to end */

/* The host that a plugin is constructed with. */
#define SS_PLAY_HOST_USUAL 0
#define SS_PLAY_HOST_NEWER 1 /* a larger table, a higher minor */
#define SS_PLAY_HOST_EDGE 2 /* its table ends where memory ends */
#define SS_PLAY_HOST_CONST 3 /* its table cannot be written to */
#define SS_PLAY_HOST_BARE 4 /* it offers no extension */
#define SS_PLAY_HOST_RESERVED 5 /* reserved words of its tables are not 0 */
#define SS_PLAY_HOST_ALONE 6 /* it has no peers, and offers none of their extensions */
#define SS_PLAY_HOST_DENYING 7 /* it grants nothing of them */
#define SS_PLAY_HOST_BUSY 8 /* its outbox is full, and it answers nothing in time */
#define SS_PLAY_HOST_EMPTY 9 /* it knows no peer, and can open nothing */
#define SS_PLAY_HOST_LONG 10 /* its answers have SS_PLAY_LONG bytes */
#define SS_PLAY_HOST_LITTER 11 /* in a buffer there is litter behind its answer; with 12 other litter */
#define SS_PLAY_LONG 100000
#define SS_PLAY_GUESTS 128 /* so many hosts back a late call is still seen */

/* Where bytes lie that a plugin gets. */
#define SS_PLAY_PLACE_END 1 /* where they end, memory ends */
#define SS_PLAY_PLACE_START 2 /* where they start, memory starts */
#define SS_PLAY_PLACE_CONST 4 /* they cannot be written to */
#define SS_PLAY_PLACE_GONE 8 /* they are gone when the call has returned */
#define SS_PLAY_PLACE_DELIVERY 16 /* the same goes for the delivery, not for the frames */
#define SS_PLAY_PLACE_FLAGS 32 /* the delivery has an unknown flag and is larger than we know */
#define SS_PLAY_PLACE_KEEP 64 /* for us: the pages are not used for anything else later */
#define SS_PLAY_PLACE_SHIFT 256 /* times 0 to 63: they start so many bytes behind a multiple of 64 */

/* What came of a step. */
#define SS_PLAYED_END 1
#define SS_PLAYED_REFUSED 2 /* status: SS_REFUSED_*; text: why, NUL, the next step */
#define SS_PLAYED_CALL 3 /* a call of the plugin has returned: status; a: ns; b: which time; text: its error */
#define SS_PLAYED_TABLE 4 /* status: whether it is the one from before; text: ss_play_table */
#define SS_PLAYED_VALUE 5 /* a, b: as the step says */
#define SS_PLAYED_TEXT 6 /* text: a name that it claims, say; status: SS_PEEK_* */
#define SS_PLAYED_LINE 7 /* status: level; text: a line that it or the core has logged */
#define SS_PLAYED_CHANGE 8 /* a: SS_STATE_*; text: what is not as it was kept */
#define SS_PLAYED_CHILD 9 /* a call has returned in a child of a fork */
#define SS_PLAYED_LATE_CALL 10 /* text: the host function that was called after destroy */
#define SS_PLAYED_UNPLAYED 11 /* the step could not be done; text: why */
#define SS_PLAYED_REJECTED 12 /* settle/1: status; a: ordinal; text: its error */
#define SS_PLAYED_ASKED 13 /* a host with peers was asked: a: SS_PLAY_ASKED_*; b: how, of SEND; text: what was sent */
#define SS_PLAYED_MISUSED 14 /* the same, but against the contract: a: 1: at the wrong time; text: how */

/* What a host with peers is asked. */
#define SS_PLAY_ASKED_SEND 0
#define SS_PLAY_ASKED_PEERS 1
#define SS_PLAY_ASKED_KEY 2
#define SS_PLAY_ASKED_SIGN 3
#define SS_PLAY_ASKED_OPEN 4
#define SS_PLAY_ASKS 5

/* The exit code of the process where nobody hears it any more. */
#define SS_PLAY_UNHEARD 99

/* How a process is. */
#define SS_STATE_SIGNALS 0
#define SS_STATE_MASK 1
#define SS_STATE_LOCALE 2
#define SS_STATE_FLOATS 3
#define SS_STATE_OUTPUT 4
#define SS_STATE_DIRECTORY 5
#define SS_STATE_UMASK 6
#define SS_STATE_ENVIRONMENT 7
#define SS_STATE_TIMERS 8
#define SS_STATE_LIMITS 9
#define SS_STATE_THREADS 10
#define SS_STATE_THREAD_MASKS 11 /* threads that are new and do not block signals */
#define SS_STATE_DESCRIPTORS 12
#define SS_STATE_CHILDREN 13
#define SS_STATE_FILES 14 /* in the folder for temporary files */
#define SS_STATES 15

typedef struct ss_play_step {
    uint32_t what;
    uint32_t slot;
    uint32_t a;
    uint32_t b;
    uint64_t c;
    uint64_t d;
    uint32_t len; /* of the data */
    uint32_t reserved;
} ss_play_step;

typedef struct ss_played {
    uint64_t nonce;
    uint32_t step;
    uint32_t what;
    int32_t status;
    uint32_t len; /* of the text */
    uint64_t a;
    uint64_t b;
} ss_played;

/* What took too long: one call, or all of them although each has returned. */
#define SS_PLAY_CALL_LATE 1
#define SS_PLAY_WHOLE_LATE 2

/* How the process has ended that played. */
typedef struct ss_play_ended {
    int32_t status; /* as waitpid gives it */
    uint32_t timed_out; /* SS_PLAY_*_LATE, or 0 */
    uint32_t left; /* processes that it has left behind */
    uint32_t reserved;
} ss_play_ended;

/* What a constructor has returned. */
typedef struct ss_play_table {
    uint32_t struct_size;
    uint32_t abi_minor;
    uint32_t min_host_minor;
    uint32_t flags;
    uint32_t functions; /* bit n: the function number n is not NULL, in the table's order */
    uint32_t outside;   /* bit n: it lies in no memory that may be executed */
    char name[72];      /* as far as it can be read */
    char version[72];
} ss_play_table;

#define SS_PLAY_INPUT 1048576

/* Memory that the judge sees, also when the process has fallen. */
typedef struct ss_play_trace {
    uint32_t step;
    uint32_t in_call; /* a function of the plugin is running */
    uint64_t time;    /* which time, of those that a step does again */
    uint64_t calls;   /* of the plugin that have begun, so far */
    uint64_t start;   /* the bytes that it got last; */
    uint64_t len;
    uint64_t table;   /* the host's table, or the delivery, where that is what is watched */
    uint64_t table_len;
    uint32_t gone;    /* they are not there any more */
    uint32_t input_len; /* of MUTATE: what it got */
    ss_fault fault;
    uint8_t input[1048576];
} ss_play_trace;
/* cdef:end */

#endif
