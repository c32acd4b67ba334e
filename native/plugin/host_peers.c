#include "plugin/host_peers.h"

#include "plugin/host.h"

/* Has it its time to call? */
static bool is_time(const ss_host *host) {
    const uint32_t life = atomic_load_explicit(&host->life, memory_order_acquire);
    return (life == SS_LOADED || life == SS_UNLOADING) && ss_os_is_process(host->process);
}

static int32_t host_send(void *ctx, uint32_t how, const uint8_t *peer, size_t peer_len,
                         const uint8_t *name, size_t name_len, const uint8_t *body,
                         size_t body_len, uint64_t *ticket) {
    const ss_host *host = ctx;
    if (!is_time(host))
        return SLIPSTREAM_WRONG_STATE;
    return ss_caller_send(host->peers, how, peer, peer_len, name, name_len, body, body_len, ticket);
}

static int32_t ask(const ss_host *host, uint32_t what, uint32_t number, const uint8_t *question,
                   size_t question_len, uint8_t *buffer, size_t *len) {
    if (!is_time(host))
        return SLIPSTREAM_WRONG_STATE;
    return ss_caller_ask(host->peers, what, number, question, question_len, buffer, len);
}

static int32_t host_lookup(void *ctx, const uint8_t *peer, size_t peer_len, uint32_t field,
                           uint8_t *buffer, size_t *len) {
    return ask(ctx, SS_ASKS_LOOKUP, field, peer, peer_len, buffer, len);
}

static int32_t host_peer_at(void *ctx, uint32_t index, uint8_t *buffer, size_t *len) {
    return ask(ctx, SS_ASKS_PEER_AT, index, NULL, 0, buffer, len);
}

static int32_t host_public_key(void *ctx, uint8_t *buffer, size_t *len) {
    return ask(ctx, SS_ASKS_PUBLIC_KEY, 0, NULL, 0, buffer, len);
}

static int32_t host_sign(void *ctx, const uint8_t *data, size_t len, uint8_t *signature) {
    size_t room = SLIPSTREAM_SIGNATURE_LEN;
    return ask(ctx, SS_ASKS_SIGN, 0, data, len, signature, signature == NULL ? NULL : &room);
}

static int32_t host_open(void *ctx, const uint8_t *sealed, size_t sealed_len, uint8_t *buffer,
                         size_t *len) {
    return ask(ctx, SS_ASKS_OPEN, 0, sealed, sealed_len, buffer, len);
}

const slipstream_send_v1 ss_host_send_table = {
    sizeof ss_host_send_table,
    0,
    host_send,
};

const slipstream_peers_v1 ss_host_peers_table = {
    sizeof ss_host_peers_table,
    0,
    host_lookup,
    host_peer_at,
};

const slipstream_identity_v1 ss_host_identity_table = {
    sizeof ss_host_identity_table,
    0,
    host_public_key,
    host_sign,
    host_open,
};
