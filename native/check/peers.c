#include "check/peers.h"

#include "check/guest.h"
#include "check/notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLAIN_MAX = 16 << 20, /* of a message, and of a box */
    NAME_MAX = 255,
    PEERS = 2,
    TOLD = 200, /* messages of one guest that are told of, and misuses of it */
};

/* Whom the host knows; the first is the peer of the events that are made up. */
static const struct {
    const char *peer;
    const char *key;
    const char *name;
} known[PEERS] = {
    {"peer-1", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", "one"},
    {"peer-2", NULL, "two"},
};

static const char own_key[] = "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii";

/* ---- How it is asked ------------------------------------------------------------------------ */

static ss_guest *guest_of(void *ctx, const char *function) {
    ss_guest *guest = ctx;
    if (atomic_load_explicit(&guest->is_dead, memory_order_relaxed) != 0)
        ss_note_text(SS_PLAYED_LATE_CALL, 0, function);
    return guest;
}

static int32_t misused(ss_guest *guest, const char *function, const char *how, bool is_late) {
    char text[256];
    const int len = snprintf(text, sizeof text, "%s was called %s", function, how);
    if (atomic_fetch_add_explicit(&guest->told, 1, memory_order_relaxed) < TOLD)
        ss_note(SS_PLAYED_MISUSED, 0, is_late, 0, text, (size_t)len);
    return is_late ? SLIPSTREAM_WRONG_STATE : SLIPSTREAM_INVALID_ARGUMENT;
}

static int32_t wrong(ss_guest *guest, const char *function, const char *how) {
    return misused(guest, function, how, false);
}

/* What every call begins with: may it come now, and is it granted? */
static int32_t begin(ss_guest *guest, const char *function, uint32_t asked) {
    const uint32_t life = atomic_load_explicit(&guest->host.life, memory_order_acquire);
    const uint32_t bit = 1U << asked;
    if (!ss_os_is_process(guest->host.process))
        return SLIPSTREAM_WRONG_STATE;
    if (life != SS_LOADED && life != SS_UNLOADING)
        return misused(guest, function,
                       life < SS_LOADED ? "before on_load has returned" : "after on_unload", true);
    if ((atomic_fetch_or_explicit(&guest->asked, bit, memory_order_relaxed) & bit) == 0 &&
        asked != SS_PLAY_ASKED_SEND)
        ss_note(SS_PLAYED_ASKED, SLIPSTREAM_OK, asked, 0, NULL, 0);
    if (guest->kind == SS_PLAY_HOST_DENYING)
        return SLIPSTREAM_DENIED;
    if (guest->kind == SS_PLAY_HOST_BUSY)
        return asked == SS_PLAY_ASKED_SEND ? SLIPSTREAM_RETRY : SLIPSTREAM_TIMEOUT;
    return SLIPSTREAM_OK;
}

/* ---- What it answers ------------------------------------------------------------------------ */

static int32_t check_room(ss_guest *guest, const char *function, const uint8_t *buffer,
                          const size_t *len) {
    if (len == NULL)
        return wrong(guest, function, "with a len that is NULL");
    if (buffer == NULL && *len > 0)
        return wrong(guest, function, "with a buffer that is NULL, and a len that is not 0");
    return SLIPSTREAM_OK;
}

static uint8_t litter_of(const ss_guest *guest) {
    return guest->kind == SS_PLAY_HOST_LITTER ? 'x' : 'y';
}

/* An answer of `size` bytes, which begins with `answer`: for a host with long ones it goes on. */
static int32_t give(const ss_guest *guest, const uint8_t *answer, size_t size, uint8_t *buffer,
                    size_t *len) {
    const bool is_long = guest->kind == SS_PLAY_HOST_LONG && size < SS_PLAY_LONG;
    const size_t whole = is_long ? SS_PLAY_LONG : size;
    if (*len < whole) {
        *len = whole;
        return SLIPSTREAM_TOO_LARGE;
    }
    if (size > 0)
        memcpy(buffer, answer, size);
    memset(buffer + size, 'l', whole - size);
    if (guest->kind >= SS_PLAY_HOST_LITTER)
        memset(buffer + whole, litter_of(guest), *len - whole);
    *len = whole;
    return SLIPSTREAM_OK;
}

/* PEERS where it is nobody that the host knows. */
static size_t find(const ss_guest *guest, const uint8_t *peer, size_t len) {
    size_t at = guest->kind == SS_PLAY_HOST_EMPTY ? PEERS : 0;
    while (at < PEERS && (strlen(known[at].peer) != len || memcmp(known[at].peer, peer, len) != 0))
        at++;
    return at;
}

/* ---- slipstream.send/1 ---------------------------------------------------------------------- */

static void tell_message(ss_guest *guest, uint32_t how, const uint8_t *name, size_t name_len,
                         const uint8_t *body, size_t body_len) {
    enum { SHOWN = 2048 };
    char text[NAME_MAX + 1 + SHOWN];
    const size_t shown = body_len < SHOWN ? body_len : SHOWN;
    memcpy(text, name, name_len);
    text[name_len] = '\0';
    if (shown > 0)
        memcpy(text + name_len + 1, body, shown);
    if (atomic_fetch_add_explicit(&guest->sent, 1, memory_order_relaxed) < TOLD)
        ss_note(SS_PLAYED_ASKED, SLIPSTREAM_OK, SS_PLAY_ASKED_SEND, how, text,
                name_len + 1 + shown);
}

static int32_t send(void *ctx, uint32_t how, const uint8_t *peer, size_t peer_len,
                    const uint8_t *name, size_t name_len, const uint8_t *body, size_t body_len,
                    uint64_t *ticket) {
    ss_guest *guest = guest_of(ctx, "send");
    const int32_t status = begin(guest, "send", SS_PLAY_ASKED_SEND);
    if (status == SLIPSTREAM_WRONG_STATE)
        return status;
    if (how != SLIPSTREAM_PEER_DIRECT && how != SLIPSTREAM_PEER_ROUTED)
        return wrong(guest, "send", "with an unknown way to send");
    if (peer == NULL || peer_len == 0)
        return wrong(guest, "send", "without a peer");
    if (name == NULL || name_len == 0)
        return wrong(guest, "send", "without a name");
    if (body == NULL && body_len > 0)
        return wrong(guest, "send", "with a body that is NULL, and a length that is not 0");
    if (ticket == NULL)
        return wrong(guest, "send", "without room for the ticket");
    if (name_len > NAME_MAX || body_len > PLAIN_MAX)
        return SLIPSTREAM_TOO_LARGE;
    tell_message(guest, how, name, name_len, body, body_len);
    if (status != SLIPSTREAM_OK)
        return status;
    if (find(guest, peer, peer_len) == PEERS)
        return SLIPSTREAM_NOT_FOUND;
    *ticket = atomic_load_explicit(&guest->sent, memory_order_relaxed);
    return SLIPSTREAM_OK;
}

/* ---- slipstream.peers/1 --------------------------------------------------------------------- */

static int32_t lookup(void *ctx, const uint8_t *peer, size_t peer_len, uint32_t field,
                      uint8_t *buffer, size_t *len) {
    ss_guest *guest = guest_of(ctx, "lookup");
    int32_t status = begin(guest, "lookup", SS_PLAY_ASKED_PEERS);
    if (status == SLIPSTREAM_WRONG_STATE)
        return status;
    if (peer == NULL || peer_len == 0)
        return wrong(guest, "lookup", "without a peer");
    const int32_t room = check_room(guest, "lookup", buffer, len);
    if (room != SLIPSTREAM_OK || status != SLIPSTREAM_OK)
        return room != SLIPSTREAM_OK ? room : status;
    const size_t at = find(guest, peer, peer_len);
    const char *found = at == PEERS                           ? NULL
                        : field == SLIPSTREAM_PEER_PUBLIC_KEY ? known[at].key
                        : field == SLIPSTREAM_PEER_NAME       ? known[at].name
                                                              : NULL;
    if (found == NULL)
        return SLIPSTREAM_NOT_FOUND;
    return give(guest, (const uint8_t *)found, strlen(found), buffer, len);
}

static int32_t peer_at(void *ctx, uint32_t index, uint8_t *buffer, size_t *len) {
    ss_guest *guest = guest_of(ctx, "peer_at");
    const int32_t status = begin(guest, "peer_at", SS_PLAY_ASKED_PEERS);
    if (status == SLIPSTREAM_WRONG_STATE)
        return status;
    const int32_t room = check_room(guest, "peer_at", buffer, len);
    if (room != SLIPSTREAM_OK || status != SLIPSTREAM_OK)
        return room != SLIPSTREAM_OK ? room : status;
    if (index >= PEERS || guest->kind == SS_PLAY_HOST_EMPTY)
        return SLIPSTREAM_NOT_FOUND;
    return give(guest, (const uint8_t *)known[index].peer, strlen(known[index].peer), buffer, len);
}

/* ---- slipstream.identity/1 ------------------------------------------------------------------ */

static int32_t public_key(void *ctx, uint8_t *buffer, size_t *len) {
    ss_guest *guest = guest_of(ctx, "public_key");
    const int32_t status = begin(guest, "public_key", SS_PLAY_ASKED_KEY);
    if (status == SLIPSTREAM_WRONG_STATE)
        return status;
    const int32_t room = check_room(guest, "public_key", buffer, len);
    if (room != SLIPSTREAM_OK || status != SLIPSTREAM_OK)
        return room != SLIPSTREAM_OK ? room : status;
    return give(guest, (const uint8_t *)own_key, sizeof own_key - 1, buffer, len);
}

/* No signature of anything, but another one for other bytes. */
static int32_t sign(void *ctx, const uint8_t *data, size_t len, uint8_t *signature) {
    ss_guest *guest = guest_of(ctx, "sign");
    const int32_t status = begin(guest, "sign", SS_PLAY_ASKED_SIGN);
    if (status == SLIPSTREAM_WRONG_STATE)
        return status;
    if (data == NULL && len > 0)
        return wrong(guest, "sign", "with data that are NULL, and a length that is not 0");
    if (signature == NULL)
        return wrong(guest, "sign", "without room for the signature");
    if (status != SLIPSTREAM_OK)
        return status;
    memset(signature, 's', SLIPSTREAM_SIGNATURE_LEN);
    for (size_t i = 0; i < len; i++)
        signature[i % SLIPSTREAM_SIGNATURE_LEN] ^= (uint8_t)(data[i] + i);
    return SLIPSTREAM_OK;
}

/* A box is what it holds, with each bit the other way round. */
static int32_t open_box(void *ctx, const uint8_t *sealed, size_t sealed_len, uint8_t *buffer,
                        size_t *len) {
    ss_guest *guest = guest_of(ctx, "open");
    const int32_t status = begin(guest, "open", SS_PLAY_ASKED_OPEN);
    if (status == SLIPSTREAM_WRONG_STATE)
        return status;
    if (sealed == NULL && sealed_len > 0)
        return wrong(guest, "open", "with a box that is NULL, and a length that is not 0");
    const int32_t room = check_room(guest, "open", buffer, len);
    if (room != SLIPSTREAM_OK || status != SLIPSTREAM_OK)
        return room != SLIPSTREAM_OK ? room : status;
    if (sealed_len == 0 || guest->kind == SS_PLAY_HOST_EMPTY)
        return SLIPSTREAM_MALFORMED;
    uint8_t *plain = malloc(sealed_len);
    if (plain == NULL)
        return SLIPSTREAM_NO_MEMORY;
    for (size_t i = 0; i < sealed_len; i++)
        plain[i] = (uint8_t)~sealed[i];
    const int32_t given = give(guest, plain, sealed_len, buffer, len);
    free(plain);
    return given;
}

/* ---- All of them ---------------------------------------------------------------------------- */

static const slipstream_send_v1 sends[] = {{sizeof sends[0], 0, send},
                                           {sizeof sends[0], UINT32_MAX, send}};
static const slipstream_peers_v1 peers[] = {{sizeof peers[0], 0, lookup, peer_at},
                                            {sizeof peers[0], UINT32_MAX, lookup, peer_at}};
static const slipstream_identity_v1 identities[] = {
    {sizeof identities[0], 0, public_key, sign, open_box},
    {sizeof identities[0], UINT32_MAX, public_key, sign, open_box},
};

const void *ss_peers_extension(const char *id, uint32_t kind) {
    const size_t at = kind == SS_PLAY_HOST_RESERVED;
    if (kind == SS_PLAY_HOST_ALONE)
        return NULL;
    if (strcmp(id, SLIPSTREAM_EXT_SEND) == 0)
        return &sends[at];
    if (strcmp(id, SLIPSTREAM_EXT_PEERS) == 0)
        return &peers[at];
    if (strcmp(id, SLIPSTREAM_EXT_IDENTITY) == 0)
        return &identities[at];
    return NULL;
}
