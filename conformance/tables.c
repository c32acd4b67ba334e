/* tables.c - the host's table, its extensions, and what does not need an event to be tried.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <stdio.h>
#include <string.h>

static bool is_printable(const char *text) {
    size_t len = 0;
    if (text == NULL)
        return false;
    for (; text[len] != '\0'; len++)
        if (text[len] < 0x20 || text[len] > 0x7E || len == SLIPSTREAM_NAME_MAX)
            return false;
    return len > 0;
}

static bool is_name(const char *name) {
    return is_printable(name) && name[0] != '.' && name[0] != '-' && name[0] != '_' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(name);
}

/* Copies the table as far as it goes: what a host leaves out is NULL. False: it cannot be used. */
bool check_host_table(probe *self) {
    const uint32_t size = self->host->struct_size;
    memcpy(&self->copy, self->host, size < sizeof self->copy ? size : sizeof self->copy);
    const slipstream_host *host = &self->copy;
    if (!check(self, HOST_SIZE, size >= SLIPSTREAM_HOST_SIZE_1_0,
               "struct_size is %u, of 1.0 it is %u", (unsigned)size,
               (unsigned)SLIPSTREAM_HOST_SIZE_1_0) ||
        !check(self, HOST_FUNCTION,
               host->log_enabled != NULL && host->log != NULL && host->set_error != NULL &&
                   host->ack != NULL && host->is_stopping != NULL && host->get_extension != NULL,
               "a function of the host's table is NULL"))
        return false;
    check(self, HOST_NAME, is_name(host->name), "the host's name is no name");
    check(self, HOST_VERSION, is_printable(host->version), "the host's version is no version");
    self->is_1_0 = host->abi_minor == 0;
    for (probe *other = self->older; other != NULL; other = other->older)
        check(other, HOST_OWN, other->life == DESTROYED || other->host != self->host,
              "two instances live with one host table");
    check(self, HOST_OWN, true, "-");
    return true;
}

void check_host_unchanged(probe *self) {
    check(self, HOST_CHANGED, memcmp(&self->copy, self->host, sizeof self->copy) == 0,
          "the host's table is another one than at construction");
}

/* ---- Extensions --------------------------------------------------------------------- */

const void *extension(probe *self, const char *id) {
    const void *found;
    ASK(found, self->copy.get_extension(self->copy.ctx, id));
    return found;
}

void check_extensions(probe *self) {
    static const struct {
        const char *id;
        uint32_t size;
    } known[] = {{SLIPSTREAM_EXT_CONFIG, SLIPSTREAM_CONFIG_V1_SIZE_1_0},
                 {SLIPSTREAM_EXT_METRICS, SLIPSTREAM_METRICS_V1_SIZE_1_0},
                 {SLIPSTREAM_EXT_SETTLE, SLIPSTREAM_SETTLE_V1_SIZE_1_0},
                 {SLIPSTREAM_EXT_SEND, SLIPSTREAM_SEND_V1_SIZE_1_0},
                 {SLIPSTREAM_EXT_PEERS, SLIPSTREAM_PEERS_V1_SIZE_1_0},
                 {SLIPSTREAM_EXT_IDENTITY, SLIPSTREAM_IDENTITY_V1_SIZE_1_0}};
    static const char *const unknown[] = {"", "org.example.nothing/1", "slipstream.config/999",
                                          "slipstream.config"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const uint8_t *table = extension(self, known[i].id);
        uint32_t words[2];
        bool is_whole = true;
        if (table == NULL)
            continue;
        memcpy(words, table, sizeof words);
        for (uint32_t at = 8; words[0] >= known[i].size && at < known[i].size;
             at += sizeof(void *)) {
            uintptr_t function;
            memcpy(&function, table + at, sizeof function);
            is_whole = is_whole && function != 0;
        }
        check(self, EXTENSION_TABLE,
              words[0] >= known[i].size && is_whole && (words[1] == 0 || !self->is_1_0),
              "the table of %s has %u bytes, of 1.0 it has %u; functions %s; reserved is %u",
              known[i].id, (unsigned)words[0], (unsigned)known[i].size,
              is_whole ? "complete" : "missing", (unsigned)words[1]);
    }
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        check(self, EXTENSION_UNKNOWN, extension(self, unknown[i]) == NULL, "a table for \"%s\"",
              unknown[i]);
}

/* ---- Metrics ------------------------------------------------------------------------ */

void check_metrics_once_more(probe *self) {
    const slipstream_metrics_v1 *metrics = extension(self, SLIPSTREAM_EXT_METRICS);
    void *ctx = self->copy.ctx;
    int32_t added, set;
    if (metrics == NULL)
        return;
    ASK(added, metrics->counter_add(ctx, "probe_counter", NULL, 1));
    ASK(set, metrics->gauge_set(ctx, "probe_gauge", "kind=one", 0.5));
    check(self, METRICS_OK, added == SLIPSTREAM_OK && set == SLIPSTREAM_OK,
          "counter_add gave %d, gauge_set %d", (int)added, (int)set);
}

void check_metrics(probe *self) {
    static const char *const names[] = {
        "",
        "9",
        "Upper",
        "a-b",
        "a b",
        "\xC3\xA9",
        "a123456789012345678901234567890123456789012345678901234567890123"};
    static const char *const labels[] = {
        "",     "novalue",    "=v",
        "9=v",  "K=v",        "k-=v",
        "k=\n", "k=\xC3\xA9", "k=0123456789012345678901234567890123456789012345678901234567890123"};
    const slipstream_metrics_v1 *metrics = extension(self, SLIPSTREAM_EXT_METRICS);
    void *ctx = self->copy.ctx;
    int32_t status, other;
    char label[32];
    if (metrics == NULL)
        return;
    check_metrics_once_more(self);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ASK(status, metrics->counter_add(ctx, names[i], NULL, 1));
        ASK(other, metrics->gauge_set(ctx, names[i], NULL, 1));
        check(self, METRICS_NAME,
              status == SLIPSTREAM_INVALID_ARGUMENT && other == SLIPSTREAM_INVALID_ARGUMENT,
              "the name \"%s\" gave %d as a counter, %d as a gauge", names[i], (int)status,
              (int)other);
    }
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        ASK(status, metrics->counter_add(ctx, "probe_counter", labels[i], 1));
        check(self, METRICS_LABEL, status == SLIPSTREAM_INVALID_ARGUMENT, "\"%s\" gave %d",
              labels[i], (int)status);
    }
    ASK(status, metrics->gauge_set(ctx, "probe_counter", NULL, 1));
    ASK(other, metrics->counter_add(ctx, "probe_gauge", "kind=two", 1));
    check(self, METRICS_OTHER,
          status == SLIPSTREAM_INVALID_ARGUMENT && other == SLIPSTREAM_INVALID_ARGUMENT,
          "a counter as a gauge gave %d, a gauge as a counter %d", (int)status, (int)other);
    for (int i = 0; i < 62; i++) { /* with the two above */
        snprintf(label, sizeof label, "number=%d", i);
        ASK(status, metrics->counter_add(ctx, "probe_series", label, 1));
        check(self, METRICS_OK, status == SLIPSTREAM_OK, "series %d gave %d", i + 3, (int)status);
    }
}

/* ---- ack and reject, at the wrong time ---------------------------------------------- */

void check_reject_state(probe *self) {
    const slipstream_settle_v1 *settle = extension(self, SLIPSTREAM_EXT_SETTLE);
    int32_t status;
    if (settle == NULL || settle->reject == NULL || (self->flags & SLIPSTREAM_FLAG_BATCH) == 0)
        return;
    ASK(status,
        settle->reject(self->copy.ctx, self->delivered, SLIPSTREAM_FAILED, "probe: too late", 15));
    check(self, SETTLE_STATE, status == SLIPSTREAM_WRONG_STATE, "reject gave %d", (int)status);
}

void check_not_loaded(probe *self) {
    int32_t status;
    ASK(status, self->copy.ack(self->copy.ctx, self->delivered));
    if ((self->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0) /* else it is wrong in two ways */
        check(self, ACK_STATE, status == SLIPSTREAM_WRONG_STATE, "when not loaded ack gave %d",
              (int)status);
    check_reject_state(self);
    check_peers_state(self);
}
