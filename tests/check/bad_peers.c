/* bad_peers.c - what a host with two peers offers, right but for the mode. In mode good-single
 * nothing of it is granted. */
#include "bad_host.h"

static const char *const peers[] = {"alice", "bob"};
static const uint8_t key[32] = "the key of the host";

/* OK, or why it is not answered. In mode peers.denied open is not granted, and all the same OK. */
static int32_t judge(void) {
    if (!is_loaded && !is_stopping)
        return is("peers.state") ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_WRONG_STATE;
    return is("good-single") ? SLIPSTREAM_DENIED : SLIPSTREAM_OK;
}

static int32_t give(const void *bytes, size_t size, uint8_t *buffer, size_t *len) {
    const bool fits = size <= *len;
    if (!fits && is("peers.buffer"))
        return SLIPSTREAM_FAILED;
    if (fits || is("peers.untouched"))
        memcpy(buffer, bytes, fits ? size : *len);
    *len = size;
    return fits ? SLIPSTREAM_OK : SLIPSTREAM_TOO_LARGE;
}

static int32_t send_message(void *ctx, uint32_t how, const uint8_t *peer, size_t peer_len,
                            const uint8_t *name, size_t name_len, const uint8_t *body,
                            size_t body_len, uint64_t *ticket) {
    const int32_t judged = judge();
    (void)ctx, (void)peer, (void)peer_len, (void)name, (void)name_len, (void)body, (void)body_len;
    if (judged != SLIPSTREAM_OK)
        return judged;
    if (how != SLIPSTREAM_PEER_DIRECT && how != SLIPSTREAM_PEER_ROUTED && !is("send.how"))
        return SLIPSTREAM_INVALID_ARGUMENT;
    *ticket = 1;
    return is("send.status") ? SLIPSTREAM_IGNORED : SLIPSTREAM_NOT_FOUND;
}

static int32_t lookup(void *ctx, const uint8_t *peer, size_t peer_len, uint32_t field,
                      uint8_t *buffer, size_t *len) {
    const int32_t judged = judge();
    (void)ctx;
    if (judged != SLIPSTREAM_OK)
        return judged;
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++)
        if (peer_len == strlen(peers[i]) && memcmp(peer, peers[i], peer_len) == 0 &&
            (field == SLIPSTREAM_PEER_NAME || is("peers.unknown")))
            return give(peers[i], peer_len, buffer, len);
    return SLIPSTREAM_NOT_FOUND;
}

static int32_t peer_at(void *ctx, uint32_t index, uint8_t *buffer, size_t *len) {
    const int32_t judged = judge();
    (void)ctx;
    if (judged != SLIPSTREAM_OK)
        return judged;
    if (index >= sizeof peers / sizeof peers[0])
        return SLIPSTREAM_NOT_FOUND;
    return give(peers[index], strlen(peers[index]), buffer, len);
}

static int32_t public_key(void *ctx, uint8_t *buffer, size_t *len) {
    static uint8_t given[sizeof key];
    const int32_t judged = judge();
    (void)ctx;
    if (judged != SLIPSTREAM_OK)
        return judged;
    memcpy(given, key, sizeof given);
    if (is("identity.key")) {
        static uint8_t number;
        given[0] = ++number;
    }
    return give(given, sizeof given, buffer, len);
}

static int32_t sign(void *ctx, const uint8_t *data, size_t len, uint8_t *signature) {
    const int32_t judged = judge();
    (void)ctx, (void)data, (void)len;
    if (judged == SLIPSTREAM_OK)
        memset(signature, 'S', is("identity.sign") ? 32 : SLIPSTREAM_SIGNATURE_LEN);
    return judged;
}

static int32_t open_box(void *ctx, const uint8_t *sealed, size_t sealed_len, uint8_t *buffer,
                        size_t *len) {
    const int32_t judged = judge();
    (void)ctx, (void)sealed, (void)sealed_len, (void)buffer, (void)len;
    if (judged != SLIPSTREAM_OK)
        return judged;
    return is("identity.open") ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_MALFORMED;
}

const void *peers_extension(const char *id) {
    static const slipstream_send_v1 sender = {sizeof sender, 0, send_message};
    static const slipstream_peers_v1 directory = {sizeof directory, 0, lookup, peer_at};
    static const slipstream_identity_v1 identity = {sizeof identity, 0, public_key, sign, open_box};
    if (strcmp(id, SLIPSTREAM_EXT_SEND) == 0)
        return &sender;
    if (strcmp(id, SLIPSTREAM_EXT_PEERS) == 0)
        return &directory;
    return strcmp(id, SLIPSTREAM_EXT_IDENTITY) == 0 ? &identity : NULL;
}
