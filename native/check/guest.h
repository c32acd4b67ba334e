/* guest: a plugin that is played with, and the host that it sees. */
#ifndef SS_CHECK_GUEST_H
#define SS_CHECK_GUEST_H

#include "check/play.h"
#include "library/open.h"
#include "library/table.h"
#include "plugin/host.h"

typedef struct ss_guest {
    ss_host host; /* first: what the plugin gets as ctx */
    const slipstream_host *table; /* what it gets as its host */
    uint32_t kind;                /* SS_PLAY_HOST_* */
    _Atomic uint32_t is_dead;     /* destroy has returned */
    _Atomic uint32_t asked;       /* set of SS_PLAY_ASKED_*: what it has asked of a host with peers */
    _Atomic uint32_t sent;        /* messages */
    _Atomic uint32_t told;        /* calls of these that were against the contract */
    const slipstream_plugin *given; /* the plugin's own table */
    ss_table plugin;                /* a checked copy */
} ss_guest;

/* A new host for slot; the guest that was there is let go of, but stays where it was, so that a
 * late call of it is seen. */
ss_guest *ss_guest_new(uint32_t slot, uint32_t kind, const char *config_dir);
/* NULL if nothing was constructed there. */
ss_guest *ss_guest_in(uint32_t slot);

#endif
