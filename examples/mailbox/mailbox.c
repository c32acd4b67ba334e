/*
 * mailbox - keeps the messages that peers send, each once, and answers with receipts.
 *
 * Config: database   required; the SQLite file, relative to the config's folder
 *
 * A message is a payload that is routed to the mailbox by its name:
 *     org.example.mailbox.put      u64 number, u64 oldest (little-endian), the message
 *     org.example.mailbox.sealed   the same, but the message is in a box for this host
 * `number` counts the messages of its sender, from 1; before `oldest` the sender waits for no
 * receipt any more. What has its number already is there, and what is behind a hole is left out:
 * in both cases the receipt says what the sender has to send next. So messages stand in the order
 * of their sender, and none twice, whatever is lost on the way.
 *
 * A receipt is a message to the sender, org.example.mailbox.receipt: u64 number, up to which all
 * its messages are safe here, and the host's signature of "org.example.mailbox.receipt", the
 * sender and these 8 bytes, if the host signs for the mailbox.
 *
 * How far the host's stream is taken is written in the transaction that keeps its messages. After the
 * commit its events are acknowledged, and the receipts sent. What was not acknowledged when something
 * crashed comes again; what is in the file by then is known. A receipt that cannot be sent is not
 * missed: the sender sends again what it waits for, and gets another.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _DEFAULT_SOURCE /* clock_gettime */
#include "store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PUT "org.example.mailbox.put"
#define SEALED "org.example.mailbox.sealed"
#define RECEIPT "org.example.mailbox.receipt"
#define HEAD_LEN 16 /* of a message: number and oldest */
#define RECEIPTS 64 /* senders of a transaction that get one; others when they send again */
#define PEER_LIMIT 256 /* longest name of a peer that gets one */
#define COMMIT_EVERY 1000
#define COMMIT_MS 50 /* looked at when events come; the host's flush takes care of the rest */
#define PATH_LIMIT 2048 /* so that an error text has room for two */

/* What a host reads before any of this runs. */
SLIPSTREAM_INFO({
    "name" : "mailbox",
    "version" : "1.0.0",
    "abi" : 1,
    "flags" : [ "BATCH", "EXPLICIT_ACK", "MULTI_INSTANCE" ],
    "kinds" : [ "PEER_SEEN", "PEER_FORGOTTEN" ],
    "requires" : ["slipstream.config/1"],
    "optional" : [ "slipstream.send/1", "slipstream.identity/1" ],
    "grants" : [ "send", "identity.sign", "identity.open" ],
    "config_schema" : {
        "type" : "object",
        "properties" : {
            "database" : {
                "type" : "string",
                "minLength" : 1,
                "examples" : ["mailbox.db"],
                "description" : "the SQLite file, relative to the folder of the config"
            }
        },
        "required" : ["database"],
        "additionalProperties" : false
    },
    "sample_config" : {"database" : "mailbox.db"},
    "licence" : "Apache-2.0"
});

typedef struct peer {
    uint8_t bytes[PEER_LIMIT];
    size_t len;
} peer;

typedef struct mailbox {
    slipstream_plugin table;
    const slipstream_host *host;
    const slipstream_send_v1 *send; /* NULL where the host has no peers */
    const slipstream_identity_v1 *identity; /* the same */
    store store;
    uint8_t *opened; /* what was in a box */
    size_t opened_room;
    peer due[RECEIPTS]; /* who gets a receipt after the commit */
    size_t due_count;
    uint64_t uncommitted; /* events in the open transaction */
    uint64_t oldest_ms; /* when that was opened */
    uint64_t last_ordinal; /* everything up to here is in the file or the transaction */
    bool is_broken; /* FATAL was returned: nothing may be acknowledged any more */
    bool is_denied; /* it was said that something is not granted */
    uint64_t taken;
    uint64_t sent;
} mailbox;

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- Messages ---------------------------------------------------------------------- */

/* Says once that the operator does not let the mailbox do all that it could. */
static void note_denied(mailbox *self, int32_t status, const char *what) {
    if (status != SLIPSTREAM_DENIED || self->is_denied)
        return;
    self->is_denied = true;
    slipstream_log(self->host, SLIPSTREAM_LOG_WARN, what);
}

static bool make_room(mailbox *self, size_t room) {
    if (room <= self->opened_room)
        return true;
    uint8_t *more = (uint8_t *)realloc(self->opened, room);
    if (more == NULL)
        return false;
    self->opened = more;
    self->opened_room = room;
    return true;
}

/* Opens the box of a message. One that cannot be opened is kept as it is: OK, too. */
static int32_t open_box(mailbox *self, store_message *message) {
    const slipstream_bytes box = message->body;
    size_t len = box.len;
    int32_t status = SLIPSTREAM_TOO_LARGE;
    if (self->identity == NULL)
        return SLIPSTREAM_OK;
    for (int i = 0; i < 2 && status == SLIPSTREAM_TOO_LARGE; i++) {
        if (!make_room(self, len))
            return store_fail(&self->store, SLIPSTREAM_NO_MEMORY, "no memory for a message");
        len = self->opened_room;
        status = self->identity->open(self->host->ctx, box.data, box.len, self->opened, &len);
    }
    note_denied(self, status, "boxes stay closed: grant identity.open to open them");
    if (status == SLIPSTREAM_RETRY || status == SLIPSTREAM_TIMEOUT ||
        status == SLIPSTREAM_NO_MEMORY)
        return store_fail(&self->store, status, "the host does not open a box now");
    if (status == SLIPSTREAM_OK) {
        message->body = (slipstream_bytes){self->opened, len};
        message->is_sealed = false;
    }
    return SLIPSTREAM_OK;
}

static void note_due(mailbox *self, slipstream_bytes sender) {
    size_t at = 0;
    while (at < self->due_count && (self->due[at].len != sender.len ||
                                    memcmp(self->due[at].bytes, sender.data, sender.len) != 0))
        at++;
    if (at < self->due_count || at == RECEIPTS || sender.len > PEER_LIMIT)
        return;
    memcpy(self->due[at].bytes, sender.data, sender.len);
    self->due[at].len = sender.len;
    self->due_count++;
}

static bool is_name(slipstream_bytes name, const char *text) {
    return name.len == strlen(text) && memcmp(name.data, text, name.len) == 0;
}

static int32_t take_message(mailbox *self, const slipstream_frame *frame, bool is_new) {
    slipstream_payload payload;
    store_message message;
    uint64_t last = 0;
    int32_t status = slipstream_read_payload(frame, &payload);
    if (status != SLIPSTREAM_OK)
        return store_fail(&self->store, status, "the payload is malformed");
    const bool is_sealed = is_name(payload.name, SEALED);
    if (!is_sealed && !is_name(payload.name, PUT))
        return SLIPSTREAM_IGNORED;
    if (payload.source.len == 0 || payload.body.len < HEAD_LEN)
        return store_fail(&self->store, SLIPSTREAM_MALFORMED,
                          "a message needs a sender, and a number in front");
    message.sender = payload.source;
    message.number = slipstream_load_u64(payload.body.data);
    message.oldest = slipstream_load_u64(payload.body.data + 8);
    message.body = (slipstream_bytes){payload.body.data + HEAD_LEN, payload.body.len - HEAD_LEN};
    message.is_sealed = is_sealed;
    status = store_last(&self->store, message.sender, &last);
    /* One that comes again was taken, and may be forgotten by now: it only gets its receipt anew,
     * since the first may not have gone out. */
    if (status == SLIPSTREAM_OK && is_new && is_sealed)
        status = open_box(self, &message);
    if (status == SLIPSTREAM_OK && is_new)
        status = store_put(&self->store, &message, frame, &last);
    if (status == SLIPSTREAM_OK)
        note_due(self, message.sender);
    return status;
}

static int32_t take_seen(mailbox *self, const slipstream_frame *frame) {
    slipstream_peer_seen seen;
    if (slipstream_read_peer_seen(frame, &seen) != SLIPSTREAM_OK)
        return store_fail(&self->store, SLIPSTREAM_MALFORMED, "the news of a peer is malformed");
    return store_see(&self->store, &seen, frame);
}

static int32_t take_forgotten(mailbox *self, const slipstream_frame *frame) {
    slipstream_peer_forgotten gone;
    if (slipstream_read_peer_forgotten(frame, &gone) != SLIPSTREAM_OK)
        return store_fail(&self->store, SLIPSTREAM_MALFORMED, "the news of a peer is malformed");
    return store_forget(&self->store, gone.peer);
}

/* What is lost of messages is sent again; a peer that was forgotten meanwhile is not. */
static int32_t take_gap(mailbox *self, const slipstream_frame *frame) {
    slipstream_gap gap;
    char line[160];
    if (slipstream_read_gap(frame, &gap) != SLIPSTREAM_OK)
        return store_fail(&self->store, SLIPSTREAM_MALFORMED, "a GAP is malformed");
    snprintf(line, sizeof line, "%" PRIu64 " events were lost%s", gap.count,
             (gap.kinds & SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_FORGOTTEN)) != 0
                 ? "; peers may have been forgotten whose messages are still here"
                 : "");
    slipstream_log(self->host, SLIPSTREAM_LOG_WARN, line);
    return SLIPSTREAM_OK;
}

static int32_t take(mailbox *self, const slipstream_frame *frame) {
    bool is_new = true;
    int32_t status = SLIPSTREAM_OK;
    if (frame->kind == SLIPSTREAM_KIND_GAP)
        return take_gap(self, frame);
    if (frame->kind != SLIPSTREAM_KIND_PAYLOAD && frame->kind != SLIPSTREAM_KIND_PEER_SEEN &&
        frame->kind != SLIPSTREAM_KIND_PEER_FORGOTTEN)
        return SLIPSTREAM_IGNORED;
    status = store_is_new(&self->store, frame, &is_new);
    if (status != SLIPSTREAM_OK)
        return status;
    if (frame->kind == SLIPSTREAM_KIND_PAYLOAD)
        return take_message(self, frame, is_new);
    /* A peer that was forgotten may have been seen again since, before the crash. */
    if (!is_new)
        return SLIPSTREAM_OK;
    return frame->kind == SLIPSTREAM_KIND_PEER_SEEN ? take_seen(self, frame)
                                                    : take_forgotten(self, frame);
}

/* ---- Receipts ---------------------------------------------------------------------- */

/* The receipt's length, with the signature if there is one. */
static size_t write_receipt(mailbox *self, const peer *sender, uint64_t number, uint8_t *body) {
    uint8_t data[sizeof RECEIPT - 1 + PEER_LIMIT + 8];
    const size_t name = sizeof RECEIPT - 1;
    for (int i = 0; i < 8; i++)
        body[i] = (uint8_t)(number >> 8 * i);
    if (self->identity == NULL)
        return 8;
    memcpy(data, RECEIPT, name);
    memcpy(data + name, sender->bytes, sender->len);
    memcpy(data + name + sender->len, body, 8);
    const int32_t status =
        self->identity->sign(self->host->ctx, data, name + sender->len + 8, body + 8);
    note_denied(self, status, "receipts are not signed: grant identity.sign to sign them");
    return status == SLIPSTREAM_OK ? 8 + SLIPSTREAM_SIGNATURE_LEN : 8;
}

static void send_receipts(mailbox *self) {
    uint8_t body[8 + SLIPSTREAM_SIGNATURE_LEN];
    uint64_t ticket = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < self->due_count && self->send != NULL; i++) {
        const peer *to = &self->due[i];
        if (store_last(&self->store, (slipstream_bytes){to->bytes, to->len}, &last) !=
            SLIPSTREAM_OK)
            break;
        const size_t len = write_receipt(self, to, last, body);
        const int32_t status =
            self->send->send(self->host->ctx, SLIPSTREAM_PEER_ROUTED, to->bytes, to->len,
                             (const uint8_t *)RECEIPT, sizeof RECEIPT - 1, body, len, &ticket);
        note_denied(self, status, "no receipts: grant send to send them");
        self->sent += status == SLIPSTREAM_OK;
        if (status == SLIPSTREAM_RETRY) /* the outbox is full: those behind do not fit, either */
            break;
    }
    self->due_count = 0;
}

/* ---- Runs -------------------------------------------------------------------------- */

static int32_t fail(mailbox *self, int32_t status) {
    self->is_broken = self->is_broken || status == SLIPSTREAM_FATAL;
    return slipstream_fail(self->host, status, self->store.error);
}

/* Earlier runs were undone, too. The host still has them, since they were not acknowledged, and
 * gives them to the next instance. */
static int32_t fail_lost(mailbox *self) {
    char text[SLIPSTREAM_ERROR_MAX];
    snprintf(text, sizeof text,
             "%.3900s; %" PRIu64 " earlier events were undone with it and come again when the "
             "plugin is loaded anew",
             self->store.error, self->uncommitted);
    store_fail(&self->store, SLIPSTREAM_FATAL, "%s", text);
    return fail(self, SLIPSTREAM_FATAL);
}

/* Commits what waits; then acknowledges it and sends the receipts. After a failure it waits on, or
 * is lost: see store_is_pending. */
static int32_t settle(mailbox *self) {
    const int32_t status =
        store_is_pending(&self->store) ? store_commit(&self->store) : SLIPSTREAM_OK;
    if (status != SLIPSTREAM_OK)
        return status;
    self->taken += self->uncommitted;
    self->uncommitted = 0;
    if (self->last_ordinal > 0)
        slipstream_ack(self->host, self->last_ordinal);
    send_receipts(self);
    return SLIPSTREAM_OK;
}

static int32_t take_run(mailbox *self, const uint8_t *frames, size_t len, bool *is_ignored) {
    slipstream_frame frame;
    size_t at = 0;
    int32_t status = store_begin(&self->store);
    *is_ignored = true;
    if (status != SLIPSTREAM_OK)
        return status;
    while ((status = slipstream_next_frame(frames, len, &at, &frame)) == SLIPSTREAM_OK) {
        status = take(self, &frame);
        if (status < 0)
            return status;
        *is_ignored = *is_ignored && status == SLIPSTREAM_IGNORED;
    }
    if (status != SLIPSTREAM_END)
        return store_fail(&self->store, status, "the frame cannot be read");
    return store_end(&self->store);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    mailbox *self = (mailbox *)instance;
    const uint64_t earlier = self->uncommitted;
    const uint64_t ordinal = self->last_ordinal;
    bool is_ignored = false;
    if (self->is_broken)
        return fail(self, SLIPSTREAM_FATAL);
    int32_t status = take_run(self, frames, len, &is_ignored);
    if (status != SLIPSTREAM_OK)
        return store_undo(&self->store) || earlier == 0 ? fail(self, status) : fail_lost(self);
    if (earlier == 0)
        self->oldest_ms = now_ms();
    self->uncommitted += delivery->count;
    self->last_ordinal = delivery->first_ordinal + delivery->count - 1;
    /* IGNORED acknowledges at once, and an acknowledgement covers what came before. */
    if (is_ignored || self->uncommitted >= COMMIT_EVERY || self->due_count == RECEIPTS ||
        now_ms() - self->oldest_ms >= COMMIT_MS)
        status = settle(self);
    if (status != SLIPSTREAM_OK && !store_is_pending(&self->store)) {
        self->last_ordinal = ordinal;
        self->uncommitted = earlier;
        return earlier == 0 ? fail(self, status) : fail_lost(self);
    }
    if (status != SLIPSTREAM_OK) /* nothing is lost or acknowledged; the next one may succeed */
        slipstream_log(self->host, SLIPSTREAM_LOG_WARN, self->store.error);
    return is_ignored && status == SLIPSTREAM_OK ? SLIPSTREAM_IGNORED : SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL flush(void *instance, uint32_t timeout_ms) {
    mailbox *self = (mailbox *)instance;
    (void)timeout_ms; /* a commit waits for nobody: the right to write is already ours */
    const int32_t status = self->is_broken ? SLIPSTREAM_FATAL : settle(self);
    if (status == SLIPSTREAM_OK)
        return status;
    return self->is_broken || store_is_pending(&self->store) ? fail(self, status) : fail_lost(self);
}

/* ---- Config and life --------------------------------------------------------------- */

static int32_t fail_database(mailbox *self, const char *must) {
    char text[192];
    snprintf(text, sizeof text, "config key 'database' must be %s", must);
    return slipstream_fail(self->host, SLIPSTREAM_INVALID_CONFIG, text);
}

/* The absolute path of the database, malloc'ed. */
static int32_t read_path(mailbox *self, const slipstream_config_v1 *config, char **path) {
    char name[PATH_LIMIT];
    char folder[PATH_LIMIT];
    size_t name_len = sizeof name - 1;
    size_t folder_len = sizeof folder - 1;
    int32_t status = config->get_text(self->host->ctx, "/database", name, &name_len);
    if (status == SLIPSTREAM_NOT_FOUND)
        return fail_database(self, "set: the path of the SQLite file, relative to the config's "
                                   "folder");
    if (status != SLIPSTREAM_OK || name_len == 0 || memchr(name, '\0', name_len) != NULL)
        return fail_database(self, "a text, the path of a file (at most 2,047 bytes)");
    name[name_len] = '\0';
    if (name[0] == '/')
        folder_len = 0;
    else if (config->config_dir(self->host->ctx, folder, &folder_len) != SLIPSTREAM_OK)
        return fail_database(self, "an absolute path: the config's folder is unknown");
    folder[folder_len] = '\0';
    *path = (char *)malloc(folder_len + name_len + 2);
    if (*path == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_NO_MEMORY, "no memory for a path");
    sprintf(*path, "%s%s%s", folder, name[0] == '/' ? "" : "/", name);
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *text, size_t len,
                                       uint32_t reason) {
    mailbox *self = (mailbox *)instance;
    const slipstream_host *host = self->host;
    const slipstream_config_v1 *config =
        (const slipstream_config_v1 *)slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
    char *path = NULL;
    (void)text;
    (void)len;
    (void)reason;
    if (config == NULL)
        return slipstream_fail(host, SLIPSTREAM_UNSUPPORTED,
                               "the host does not offer " SLIPSTREAM_EXT_CONFIG
                               ", which mailbox reads its config with; use a newer host");
    int32_t status = read_path(self, config, &path);
    if (status != SLIPSTREAM_OK)
        return status;
    status = store_open(&self->store, path);
    if (status != SLIPSTREAM_OK) {
        slipstream_fail(host, status, self->store.error);
        store_close(&self->store);
        return status;
    }
    self->send = (const slipstream_send_v1 *)slipstream_extension(host, SLIPSTREAM_EXT_SEND);
    self->identity =
        (const slipstream_identity_v1 *)slipstream_extension(host, SLIPSTREAM_EXT_IDENTITY);
    if (self->send == NULL)
        slipstream_log(host, SLIPSTREAM_LOG_WARN, "no receipts: this host has no peers");
    return SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_SEEN) |
           SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_FORGOTTEN);
}

static const char *SLIPSTREAM_CALL name_at(void *instance, uint32_t index) {
    static const char *const names[] = {PUT, SEALED};
    (void)instance;
    return index < sizeof names / sizeof *names ? names[index] : NULL;
}

static const void *SLIPSTREAM_CALL get_extension(void *instance, const char *id) {
    static const slipstream_payload_v1 payload = {sizeof payload, 0, name_at};
    (void)instance;
    return strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0 ? &payload : NULL;
}

static int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    mailbox *self = (mailbox *)instance;
    char line[160];
    const int32_t status = flush(instance, timeout_ms);
    store_close(&self->store);
    snprintf(line, sizeof line, "%" PRIu64 " events taken, %" PRIu64 " receipts sent", self->taken,
             self->sent);
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    return status;
}

/* Also after a PANIC or without on_unload: what is not committed was not acknowledged. */
static void SLIPSTREAM_CALL destroy(void *instance) {
    mailbox *self = (mailbox *)instance;
    store_close(&self->store);
    free(self->opened);
    free(self);
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    mailbox *self = (mailbox *)calloc(1, sizeof *self);
    if (self == NULL) {
        slipstream_fail(host, SLIPSTREAM_NO_MEMORY, "no memory for an instance");
        return NULL;
    }
    self->table = (slipstream_plugin){
        .struct_size = sizeof self->table,
        .abi_minor = SLIPSTREAM_ABI_MINOR,
        .flags =
            SLIPSTREAM_FLAG_BATCH | SLIPSTREAM_FLAG_EXPLICIT_ACK | SLIPSTREAM_FLAG_MULTI_INSTANCE,
        .instance = self,
        .name = "mailbox",
        .version = "1.0.0",
        .destroy = destroy,
        .on_load = on_load,
        .on_unload = on_unload,
        .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast,
        .flush = flush,
        .get_extension = get_extension,
    };
    self->host = host;
    return &self->table;
}
