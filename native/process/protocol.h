/* protocol: what host and slipstream-worker say to each other, over a sequenced-packet
 * socket. One packet is one message: this head, then `len` bytes. Both sides check the
 * size; the host takes everything from a worker as hostile. Events never go this way. */
#ifndef SS_PROTOCOL_H
#define SS_PROTOCOL_H

#include "peers/hatch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest log line, and its head. */
#define SS_MESSAGE_MAX (64 * 1024 + 64)
/* Room for a message's data and a NUL, which ends its last text whatever was sent. */
#define SS_MESSAGE_ROOM (SS_MESSAGE_MAX + 1)

enum ss_message_type {
    /* host to worker */
    SS_TO_WORKER_START = 1, /* ss_start, then texts: path, shown, config folder, user */
    SS_TO_WORKER_CONFIG, /* a piece of the config, in order */
    SS_TO_WORKER_LOAD, /* number: reason; text: the data folder */
    SS_TO_WORKER_RUN, /* take events from the ring */
    SS_TO_WORKER_UNLOAD, /* number: milliseconds */
    SS_TO_WORKER_EXIT, /* destroy, and end */
    /* worker to host */
    SS_TO_HOST_OPENED = 64, /* ss_opened, then texts: name, version */
    SS_TO_HOST_REFUSED, /* number: SS_REFUSED_*; texts: what, next step */
    SS_TO_HOST_LOADED, /* number: kinds; texts: the payload names that it claims */
    SS_TO_HOST_FAILED_LOAD, /* number: status; text: the plugin's own */
    SS_TO_HOST_ENDED, /* number: SS_CONSUMED_* */
    SS_TO_HOST_UNLOADED, /* number: status; text */
    SS_TO_HOST_LOG, /* number: level; ss_logged, then the text, without a NUL */
    SS_TO_HOST_REFUSAL, /* number: ordinal; ss_refused_event, then its text, without a NUL */
    SS_TO_HOST_METRIC, /* number: count, or a double's bits; u32 is_gauge; name, label */
};

/* With which a worker ends of its own accord. */
enum ss_worker_exit {
    SS_EXIT_HOST_GONE = 81,
    SS_EXIT_PROTOCOL = 82, /* what the host said made no sense */
    SS_EXIT_SET_UP = 83,   /* no memory or descriptor to be had, or one was taken away */
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
    uint64_t kinds;      /* all that it may subscribe to */
    uint32_t log_id;
    uint32_t log_level;
    uint32_t overflow;
    uint32_t flush_idle_ms;
    uint32_t retry_initial_ms;
    uint32_t retry_max_ms;
    uint32_t retry_max_time_ms; /* 0: never */
    uint32_t core_files; /* non-zero: let the kernel write core files */
    uint32_t flush_timeout_ms; /* what the plugin's flush is told */
    ss_terms terms; /* of its hatch; without any offer there is none */
} ss_start;

typedef struct ss_opened {
    uint32_t flags;
    uint32_t abi_minor;
    uint32_t min_host_minor;
} ss_opened;

typedef struct ss_logged {
    int64_t time_ns;
    uint64_t whole; /* bytes before the text was cut */
} ss_logged;

typedef struct ss_refused_event {
    int32_t status;
    uint32_t attempts;
    uint32_t number; /* see ss_refusals_add */
} ss_refused_event;

/* The data of a message while it is written: a fixed part, then texts, each with its NUL.
 * What does not fit is left out as a whole. */
typedef struct ss_body {
    size_t len;
    bool is_cut; /* something did not fit */
    char data[SS_MESSAGE_MAX];
} ss_body;

void ss_body_start(ss_body *body, const void *fixed, size_t len);
void ss_body_add_text(ss_body *body, const char *text);
/* The next text of a message; "" behind the last one. */
const char *ss_next_text(const char **at, const char *end);
/* The same, copied and made safe to show: a name; and a text for people, without secrets. */
void ss_copy_text(char *out, size_t room, const char **at, const char *end);
void ss_show_text(char *out, size_t room, const char **at, const char *end);

/* `flags` are sendmsg's. False with errno set. */
bool ss_message_send(int channel, uint32_t type, uint64_t number, const void *data, size_t len,
                     int flags);
/* The same with the data in two parts, each of its own length. */
typedef struct ss_part {
    const void *data;
    size_t len;
} ss_part;
bool ss_message_send_parts(int channel, uint32_t type, uint64_t number, ss_part first,
                           ss_part second, int flags);
/* Takes one message; its data goes to `data` (SS_MESSAGE_ROOM). 1: taken; 0: the other side
 * has closed its end; -1 with errno set, EBADMSG for what makes no sense. */
int ss_message_receive(int channel, ss_message *head, char *data, int flags);

/* Descriptors that a worker finds at its start; that of the hatch is /dev/null where it has none. */
enum {
    SS_FD_CHANNEL = 3,
    SS_FD_RING = 4,
    SS_FD_CONTROL = 5,
    SS_FD_HOST = 6,
    SS_FD_HATCH = 7,
};

#endif
