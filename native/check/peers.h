/* peers: the extensions of a host that has peers, with answers that a script chooses. */
#ifndef SS_CHECK_PEERS_H
#define SS_CHECK_PEERS_H

#include <stdint.h>

/* The table of `id` for a host of a kind (SS_PLAY_HOST_*); NULL where that has none. Its functions
 * get a ss_guest. */
const void *ss_peers_extension(const char *id, uint32_t kind);

#endif
