/* channel: what host and slipstream-worker say to each other, over a sequenced-packet
 * socket. One packet is one message: this head, then `len` bytes. Both sides check the
 * size; the host takes everything from a worker as hostile. Events never go this way. */
#ifndef SS_PROTOCOL_H
#define SS_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#define SS_MESSAGE_MAX (48 * 1024)

enum ss_message_type {
    /* host to worker */
    SS_TO_WORKER_START =
        1, /* ss_start, then texts: path, shown, config folder, data folder, user */
    SS_TO_WORKER_CONFIG, /* a piece of the config, in order */
    SS_TO_WORKER_LOAD, /* number: reason */
    SS_TO_WORKER_RUN, /* take events from the ring */
    SS_TO_WORKER_NOTED, /* number: the ordinal of a FAILED that was written down */
    SS_TO_WORKER_UNLOAD, /* number: milliseconds */
    SS_TO_WORKER_EXIT, /* destroy, and end */
    /* worker to host */
    SS_TO_HOST_OPENED = 64, /* ss_opened, then texts: name, version */
    SS_TO_HOST_REFUSED, /* number: SS_REFUSED_*; texts: what, next step */
    SS_TO_HOST_LOADED, /* number: kinds; texts: the payload names that it claims */
    SS_TO_HOST_FAILED_LOAD, /* number: status; text: the plugin's own */
    SS_TO_HOST_ENDED, /* number: SS_CONSUMED_* */
    SS_TO_HOST_UNLOADED, /* number: status; text */
    SS_TO_HOST_LOG, /* number: level; text */
    SS_TO_HOST_EVENT_FAILED, /* number: ordinal; an i32 status, then its text */
    SS_TO_HOST_METRIC, /* number: count, or a double's bits; u32 is_gauge; name, label */
};

typedef struct ss_message {
    uint32_t type;
    uint32_t len;
    uint64_t number;
} ss_message;

typedef struct ss_start {
    uint64_t ring_bytes;
    uint64_t memory;     /* RLIMIT_AS without the ring; 0: as it is */
    uint64_t open_files; /* RLIMIT_NOFILE; 0: as it is */
    uint32_t log_id;
    uint32_t log_level;
    uint32_t overflow;
    uint32_t flush_idle_ms;
    uint32_t max_attempts;
    uint32_t core_files; /* non-zero: let the kernel write core files */
    uint32_t flush_timeout_ms; /* what the plugin's flush is told */
    uint32_t reserved;
} ss_start;

typedef struct ss_opened {
    uint32_t flags;
    uint32_t abi_minor;
} ss_opened;

/* Descriptors that a worker finds at its start. */
enum { SS_FD_CHANNEL = 3, SS_FD_RING = 4, SS_FD_CONTROL = 5, SS_FD_HOST = 6 };

#endif
