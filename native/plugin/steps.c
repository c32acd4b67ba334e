#include "plugin/inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLAIMS_MAX = 1024, CLAIM_ROOM = 256 };

/* After a call that failed: its status and the plugin's own text. */
static void keep_error(ss_instance *self, const char *function, int32_t status) {
    char own[SS_TEXT_ROOM];
    self->status = status;
    if (ss_host_error(&self->host, own, sizeof own) > 0)
        snprintf(self->text, sizeof self->text, "%s", own);
    else
        snprintf(self->text, sizeof self->text, "%s returned %s (%d) and gave no text", function,
                 ss_status_name(status), (int)status);
    self->hint[0] = '\0';
}

/* Copies the names that the plugin claims by slipstream.payload/1. */
static void read_claims(ss_instance *self) {
    slipstream_payload_v1 payload;
    char name[CLAIM_ROOM];
    if (self->table.get_extension == NULL)
        return;
    ss_instance_enter(self);
    const void *table = self->table.get_extension(self->table.instance, SLIPSTREAM_EXT_PAYLOAD);
    uintptr_t name_at = 0;
    const bool readable = table != NULL && ss_peek_read(table, &payload, sizeof payload) &&
                          payload.struct_size >= sizeof payload && payload.name_at != NULL;
    if (readable)
        memcpy(&name_at, &payload.name_at, sizeof name_at);
    if (readable && ss_peek_executable(&name_at, 1) < 0)
        self->claims = calloc(CLAIMS_MAX + 1, sizeof *self->claims);
    else if (table != NULL)
        ss_log_queue_format(
            self->host.log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, self->host.log_id,
            "its table of %s is too small, unreadable or has no name_at; nothing is "
            "routed to it",
            SLIPSTREAM_EXT_PAYLOAD);
    for (uint32_t i = 0; self->claims != NULL && i < CLAIMS_MAX; i++) {
        const char *claim = payload.name_at(self->table.instance, i);
        if (claim == NULL)
            break;
        if (ss_peek_text(claim, name, sizeof name) <= 0) {
            ss_log_queue_format(
                self->host.log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, self->host.log_id,
                "payload name %u is empty, unreadable or longer than %d bytes; it and "
                "those behind it are not routed",
                (unsigned)i, CLAIM_ROOM - 1);
            break;
        }
        self->claims[i] = strdup(name);
        if (self->claims[i] == NULL)
            break;
    }
    ss_host_leave(&self->host);
}

static int32_t call_on_unload(ss_instance *self) {
    int32_t status = SLIPSTREAM_OK;
    ss_instance_set_life(self, SS_UNLOADING);
    atomic_store_explicit(&self->host.stopping, 1, memory_order_relaxed);
    if (self->table.on_unload != NULL) {
        ss_instance_enter(self);
        status = self->table.on_unload(self->table.instance, self->timeout_ms);
        ss_host_leave(&self->host);
    }
    ss_instance_set_life(self, SS_UNLOADED);
    if (status != SLIPSTREAM_OK)
        keep_error(self, "on_unload", status);
    return status;
}

void ss_run_load(ss_instance *self) {
    self->status = SLIPSTREAM_OK;
    if (atomic_load(&self->host.life) != SS_CONSTRUCTED) {
        self->status = SLIPSTREAM_WRONG_STATE;
        snprintf(self->text, sizeof self->text, "on_load was asked for in a wrong state");
        return;
    }
    self->host.config = self->config;
    self->host.config_len = self->config_len;
    ss_instance_set_life(self, SS_LOADING);
    if (self->table.on_load != NULL) {
        ss_instance_enter(self);
        const int32_t status = self->table.on_load(self->table.instance, self->config,
                                                   self->config_len, self->reason);
        ss_host_leave(&self->host);
        if (status != SLIPSTREAM_OK)
            keep_error(self, "on_load", status);
    }
    ss_instance_set_life(self, self->status == SLIPSTREAM_OK ? SS_LOADED : SS_UNLOADED);
    self->host.config = NULL;
    explicit_bzero(self->config, self->config_len); /* it holds secrets in clear */
    if (self->status != SLIPSTREAM_OK)
        return;
    if (self->table.subscribed_events != NULL) {
        ss_instance_enter(self);
        self->kinds = self->table.subscribed_events(self->table.instance);
        ss_host_leave(&self->host);
    }
    if (self->kinds != 0)
        self->kinds |= SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP);
    read_claims(self);
    const bool claims = self->claims != NULL && self->claims[0] != NULL;
    if ((self->kinds != 0 || claims) && self->table.on_broadcast == NULL) {
        call_on_unload(self);
        ss_refuse(self, SS_REFUSED_BROADCAST_MISSING,
                  "%s %s, but slipstream_plugin::on_broadcast is NULL", self->shown,
                  claims ? "claims payloads" : "subscribes to events");
        ss_advise(self, "give it an on_broadcast, or subscribe to nothing");
    }
}

void ss_run_deliver(ss_instance *self) {
    self->status = SLIPSTREAM_WRONG_STATE;
    if (self->table.on_broadcast == NULL || atomic_load(&self->host.life) != SS_LOADED) {
        snprintf(self->text, sizeof self->text, "it is not loaded, or subscribes to nothing");
        return;
    }
    atomic_store_explicit(&self->host.delivered,
                          self->delivery.first_ordinal + self->delivery.count - 1,
                          memory_order_release);
    ss_instance_enter(self);
    self->status = self->table.on_broadcast(self->table.instance, &self->delivery, self->frames,
                                            self->frames_len);
    ss_host_leave(&self->host);
    if (self->status != SLIPSTREAM_OK)
        keep_error(self, "on_broadcast", self->status);
    if (self->status == SLIPSTREAM_PANIC)
        ss_instance_set_life(self, SS_UNLOADED); /* nothing but destroy may follow */
}

void ss_run_flush(ss_instance *self) {
    self->status = SLIPSTREAM_OK;
    if (self->table.flush == NULL || atomic_load(&self->host.life) != SS_LOADED)
        return;
    const uint64_t delivered = atomic_load_explicit(&self->host.delivered, memory_order_relaxed);
    ss_instance_enter(self);
    const int32_t status = self->table.flush(self->table.instance, self->timeout_ms);
    ss_host_leave(&self->host);
    if (status == SLIPSTREAM_OK)
        ss_host_raise_acked(&self->host, delivered);
    else
        keep_error(self, "flush", status);
}

void ss_run_unload(ss_instance *self) {
    self->status = SLIPSTREAM_OK;
    if (atomic_load(&self->host.life) == SS_LOADED)
        call_on_unload(self);
}

void ss_run_destroy(ss_instance *self) {
    if (!self->destroyable)
        return;
    self->destroyable = false;
    ss_instance_enter(self);
    self->table.destroy(self->table.instance);
    ss_host_leave(&self->host);
    ss_instance_set_life(self, SS_UNLOADED);
}
