/* worker_setup: what a worker takes over from its host, and what it gives up. */
#ifndef SS_WORKER_SETUP_H
#define SS_WORKER_SETUP_H

#include "process/protocol.h"
#include "ring/ring.h"

/* From the host's terminal nothing comes any more, and a plugin finds none. */
void ss_worker_leave_terminal(void);
/* The kernel ends it before its host where memory runs out. */
void ss_worker_offer_itself(void);
/* Maps ring and control area and closes their descriptors, so that the plugin does not even
 * find them. */
bool ss_worker_map(const ss_start *start, ss_view *view);
/* Limits, user and core files. False when it cannot become the user: then which step failed, with
 * errno set. */
bool ss_worker_confine(const ss_start *start, const char *user, const char **failed);

#endif
