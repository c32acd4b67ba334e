/* host_peers: slipstream.send/1, peers/1 and identity/1: what a host that has peers offers. Each call
 * is checked here and goes through the instance's hatch (peers/hatch.h). */
#ifndef SS_HOST_PEERS_H
#define SS_HOST_PEERS_H

#include <slipstream.h>

/* What it gives; its functions get a ss_host, which has a caller. */
extern const slipstream_send_v1 ss_host_send_table;
extern const slipstream_peers_v1 ss_host_peers_table;
extern const slipstream_identity_v1 ss_host_identity_table;

#endif
