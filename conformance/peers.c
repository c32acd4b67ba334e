/* peers.c - what a host that has peers offers; each call may be DENIED, or have to wait too long.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <stdio.h>
#include <string.h>

enum { ROOM = 4096, LISTED = 64 };

/* What `granted` in the config may say: a sum of these. */
enum { GRANT_SEND = 1, GRANT_PEERS = 2, GRANT_SIGN = 4, GRANT_OPEN = 8, GRANT_UNSAID = 16 };

static const uint8_t nobody[] = "\xFF probe: nobody is called so";

/* Is it an answer, and not only why there is none? Says so if it should have been DENIED. */
static bool is_answer(probe *self, const char *call, uint64_t grants, int32_t status) {
    if ((self->granted & GRANT_UNSAID) == 0 && (self->granted & grants) == 0)
        check(self, PEERS_DENIED, status == SLIPSTREAM_DENIED, "%s gave %d", call, (int)status);
    return status != SLIPSTREAM_DENIED && status != SLIPSTREAM_RETRY &&
           status != SLIPSTREAM_TIMEOUT;
}

/* A buffer whose every byte is known, and that a call has been given the first `room` bytes of. */
typedef struct output {
    uint8_t bytes[ROOM];
    size_t room, len;
} output;

static output *fresh(output *out, size_t room) {
    memset(out->bytes, 0xA5, sizeof out->bytes);
    out->room = out->len = room;
    return out;
}

static bool is_whole(const output *out, size_t from) {
    for (size_t i = from; i < sizeof out->bytes; i++)
        if (out->bytes[i] != 0xA5)
            return false;
    return true;
}

/* What holds of every call that writes into a buffer. */
static void check_output(probe *self, const char *call, int32_t status, const output *out) {
    if (status == SLIPSTREAM_OK)
        check(self, PEERS_BUFFER, out->len <= out->room && is_whole(out, out->len),
              "%s gave %zu bytes for a buffer of %zu, or wrote behind them", call, out->len,
              out->room);
    else
        check(self, PEERS_UNTOUCHED,
              is_whole(out, 0) && (status == SLIPSTREAM_TOO_LARGE || out->len == out->room),
              "%s gave %d and changed the buffer, or *len", call, (int)status);
}

static int32_t lookup(probe *self, const slipstream_peers_v1 *peers, const output *peer,
                      uint32_t field, output *out) {
    int32_t status;
    ASK(status,
        peers->lookup(self->copy.ctx, peer->bytes, peer->len, field, out->bytes, &out->len));
    check_output(self, "lookup", status, out);
    return status;
}

static int32_t peer_at(probe *self, const slipstream_peers_v1 *peers, uint32_t index, output *out) {
    int32_t status;
    ASK(status, peers->peer_at(self->copy.ctx, index, out->bytes, &out->len));
    check_output(self, "peer_at", status, out);
    return status;
}

/* ---- slipstream.peers/1 ------------------------------------------------------------- */

static void check_short(probe *self, const char *call, int32_t status, const output *out,
                        size_t needed) {
    if (is_answer(self, call, GRANT_PEERS, status) && status != SLIPSTREAM_NOT_FOUND)
        check(self, PEERS_BUFFER, status == SLIPSTREAM_TOO_LARGE && out->len == needed,
              "%s gave %d and %zu for a buffer that is too short for %zu", call, (int)status,
              out->len, needed);
}

static void check_peers_listed(probe *self, const slipstream_peers_v1 *peers) {
    output peer, out;
    int32_t status = SLIPSTREAM_OK;
    uint32_t index = 0;
    for (; index < LISTED && status == SLIPSTREAM_OK; index++) {
        status = peer_at(self, peers, index, fresh(&peer, ROOM));
        if (status != SLIPSTREAM_OK || peer.len == 0)
            continue;
        check_short(self, "peer_at", peer_at(self, peers, index, fresh(&out, peer.len - 1)), &out,
                    peer.len);
        const int32_t unknown = lookup(self, peers, &peer, UINT32_MAX, fresh(&out, ROOM));
        if (is_answer(self, "lookup", GRANT_PEERS, unknown))
            check(self, PEERS_UNKNOWN, unknown == SLIPSTREAM_NOT_FOUND,
                  "lookup of field %u gave %d", (unsigned)UINT32_MAX, (int)unknown);
        if (lookup(self, peers, &peer, SLIPSTREAM_PEER_NAME, fresh(&out, ROOM)) == SLIPSTREAM_OK &&
            out.len > 0) {
            const size_t needed = out.len;
            check_short(self, "lookup",
                        lookup(self, peers, &peer, SLIPSTREAM_PEER_NAME, fresh(&out, needed - 1)),
                        &out, needed);
        }
    }
    if (index < LISTED && is_answer(self, "peer_at", GRANT_PEERS, status) &&
        status != SLIPSTREAM_TOO_LARGE)
        check(self, PEERS_UNKNOWN, status == SLIPSTREAM_NOT_FOUND,
              "the list of peers ends with %d", (int)status);
}

static void check_peers_unknown(probe *self, const slipstream_peers_v1 *peers) {
    output peer, out;
    fresh(&peer, sizeof nobody - 1);
    memcpy(peer.bytes, nobody, peer.len);
    for (uint32_t field = SLIPSTREAM_PEER_PUBLIC_KEY; field <= SLIPSTREAM_PEER_NAME; field++) {
        const int32_t status = lookup(self, peers, &peer, field, fresh(&out, ROOM));
        if (is_answer(self, "lookup", GRANT_PEERS, status))
            check(self, PEERS_UNKNOWN, status == SLIPSTREAM_NOT_FOUND,
                  "lookup of an unknown peer gave %d", (int)status);
    }
}

/* ---- slipstream.send/1 -------------------------------------------------------------- */

static void check_send(probe *self, const slipstream_send_v1 *sender) {
    static const uint32_t hows[] = {0, 3, UINT32_MAX};
    static const uint8_t name[] = "probe";
    uint64_t ticket = 0;
    int32_t status;
    for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++) {
        ASK(status, sender->send(self->copy.ctx, hows[i], nobody, sizeof nobody - 1, name,
                                 sizeof name - 1, NULL, 0, &ticket));
        if (is_answer(self, "send", GRANT_SEND, status))
            check(self, SEND_HOW, status == SLIPSTREAM_INVALID_ARGUMENT, "how %u gave %d",
                  (unsigned)hows[i], (int)status);
    }
    ASK(status, sender->send(self->copy.ctx, SLIPSTREAM_PEER_DIRECT, nobody, sizeof nobody - 1,
                             name, sizeof name - 1, NULL, 0, &ticket));
    is_answer(self, "send", GRANT_SEND, status);
    check(self, SEND_STATUS,
          status == SLIPSTREAM_OK || status == SLIPSTREAM_NOT_FOUND || status == SLIPSTREAM_RETRY ||
              status == SLIPSTREAM_TOO_LARGE || status == SLIPSTREAM_DENIED,
          "a message to nobody gave %d", (int)status);
}

/* ---- slipstream.identity/1 ---------------------------------------------------------- */

static void check_key(probe *self, const slipstream_identity_v1 *identity) {
    output first, second;
    int32_t status, again;
    fresh(&first, ROOM);
    fresh(&second, ROOM);
    ASK(status, identity->public_key(self->copy.ctx, first.bytes, &first.len));
    check_output(self, "public_key", status, &first);
    if (!is_answer(self, "public_key", GRANT_SIGN | GRANT_OPEN, status))
        return;
    ASK(again, identity->public_key(self->copy.ctx, second.bytes, &second.len));
    if (is_answer(self, "public_key", GRANT_SIGN | GRANT_OPEN, again))
        check(self, IDENTITY_KEY,
              status == SLIPSTREAM_OK && again == SLIPSTREAM_OK && first.len > 0 &&
                  first.len == second.len && memcmp(first.bytes, second.bytes, first.len) == 0,
              "it gave %d and %zu bytes, then %d and %zu", (int)status, first.len, (int)again,
              second.len);
}

static void check_identity(probe *self, const slipstream_identity_v1 *identity) {
    output out;
    int32_t status;
    check_key(self, identity);
    fresh(&out, ROOM);
    ASK(status, identity->sign(self->copy.ctx, nobody, sizeof nobody - 1, out.bytes));
    if (is_answer(self, "sign", GRANT_SIGN, status) && status == SLIPSTREAM_OK)
        check(self, IDENTITY_SIGN,
              is_whole(&out, SLIPSTREAM_SIGNATURE_LEN) &&
                  !is_whole(&out, SLIPSTREAM_SIGNATURE_LEN - 8),
              "it did not write %d bytes", SLIPSTREAM_SIGNATURE_LEN);
    fresh(&out, ROOM);
    ASK(status,
        identity->open(self->copy.ctx, nobody, sizeof nobody - 1, out.bytes, &out.len));
    check_output(self, "open", status, &out);
    if (is_answer(self, "open", GRANT_OPEN, status))
        check(self, IDENTITY_OPEN, status == SLIPSTREAM_MALFORMED, "it gave %d", (int)status);
}

/* ---- All of it ---------------------------------------------------------------------- */

void check_peers(probe *self) {
    const slipstream_send_v1 *sender = extension(self, SLIPSTREAM_EXT_SEND);
    const slipstream_peers_v1 *peers = extension(self, SLIPSTREAM_EXT_PEERS);
    const slipstream_identity_v1 *identity = extension(self, SLIPSTREAM_EXT_IDENTITY);
    if (sender != NULL)
        check_send(self, sender);
    if (peers != NULL) {
        check_peers_unknown(self, peers);
        check_peers_listed(self, peers);
    }
    if (identity != NULL)
        check_identity(self, identity);
}

static void check_state(probe *self, const char *call, int32_t status, const output *out) {
    check(self, PEERS_STATE, status == SLIPSTREAM_WRONG_STATE, "when not loaded %s gave %d", call,
          (int)status);
    check_output(self, call, status, out);
}

void check_peers_state(probe *self) {
    const slipstream_send_v1 *sender = extension(self, SLIPSTREAM_EXT_SEND);
    const slipstream_peers_v1 *peers = extension(self, SLIPSTREAM_EXT_PEERS);
    const slipstream_identity_v1 *identity = extension(self, SLIPSTREAM_EXT_IDENTITY);
    void *ctx = self->copy.ctx;
    uint64_t ticket = 0;
    int32_t status;
    output out;
    fresh(&out, ROOM);
    if (sender != NULL) {
        ASK(status,
            sender->send(ctx, SLIPSTREAM_PEER_ROUTED, nobody, 1, nobody, 1, NULL, 0, &ticket));
        check_state(self, "send", status, &out);
    }
    if (peers != NULL) {
        ASK(status, peers->lookup(ctx, nobody, 1, SLIPSTREAM_PEER_NAME, out.bytes, &out.len));
        check_state(self, "lookup", status, &out);
        ASK(status, peers->peer_at(ctx, 0, out.bytes, &out.len));
        check_state(self, "peer_at", status, &out);
    }
    if (identity != NULL) {
        ASK(status, identity->public_key(ctx, out.bytes, &out.len));
        check_state(self, "public_key", status, &out);
        ASK(status, identity->sign(ctx, nobody, 1, out.bytes));
        check_state(self, "sign", status, &out);
        ASK(status, identity->open(ctx, nobody, 1, out.bytes, &out.len));
        check_state(self, "open", status, &out);
    }
}
