#include "plugin/steps.h"

#include "frame/frame.h"
#include "plugin/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLAIMS_MAX = 1024, CLAIM_ROOM = 256 };

/* Around every call into the plugin. */
static void enter(ss_plugin *self, const char *function) {
    atomic_store_explicit(&self->host.function, function, memory_order_relaxed);
    ss_host_enter(&self->host, ss_os_self());
}

static void leave(ss_plugin *self) {
    ss_os_end_if_forked(self->host.process);
    ss_host_leave(&self->host);
    atomic_store_explicit(&self->host.function, NULL, memory_order_relaxed);
}

static void set_life(ss_plugin *self, uint32_t life) {
    atomic_store_explicit(&self->host.life, life, memory_order_release);
}

/* Keeps the text of a failure. */
__attribute__((format(printf, 2, 3))) static void say(ss_plugin *self, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(self->refusal.text, sizeof self->refusal.text, format, args);
    va_end(args);
    self->refusal.hint[0] = '\0';
}

/* After a call that failed: its status and the plugin's own text. */
static void keep_error(ss_plugin *self, const char *function, int32_t status) {
    char own[sizeof self->refusal.text];
    ss_host_judge_status(&self->host, function, status);
    self->status = status;
    if (ss_host_error(&self->host, own, sizeof own) > 0)
        say(self, "%s", own);
    else
        say(self, "%s returned %s (%d) and gave no text", function, ss_status_name(status),
            (int)status);
}

/* Copies the names that the plugin claims by slipstream.payload/1. */
static void read_claims(ss_plugin *self) {
    const slipstream_plugin *table = &self->table.plugin;
    slipstream_payload_v1 payload;
    char name[CLAIM_ROOM];
    if (table->get_extension == NULL)
        return;
    enter(self, "get_extension");
    const void *extension = table->get_extension(table->instance, SLIPSTREAM_EXT_PAYLOAD);
    uintptr_t name_at = 0;
    const bool readable = extension != NULL &&
                          ss_os_read_memory(extension, &payload, sizeof payload) &&
                          payload.struct_size >= sizeof payload && payload.name_at != NULL;
    if (readable)
        memcpy(&name_at, &payload.name_at, sizeof name_at);
    if (readable && ss_os_find_not_executable(&name_at, 1) < 0)
        self->claims = calloc(CLAIMS_MAX + 1, sizeof *self->claims);
    else if (extension != NULL)
        ss_log_queue_format(
            self->host.log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, self->host.log_id,
            "its table of %s is too small, unreadable or has no name_at; nothing is "
            "routed to it",
            SLIPSTREAM_EXT_PAYLOAD);
    atomic_store_explicit(&self->host.function, "name_at", memory_order_relaxed);
    for (uint32_t i = 0; self->claims != NULL && i < CLAIMS_MAX; i++) {
        const char *claim = payload.name_at(table->instance, i);
        if (claim == NULL)
            break;
        if (ss_peek_text(claim, name, sizeof name) <= 0) {
            ss_log_queue_format(
                self->host.log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, self->host.log_id,
                "payload name %u is empty, unreadable or longer than %d bytes; it and "
                "those after it are not routed",
                (unsigned)i, CLAIM_ROOM - 1);
            break;
        }
        self->claims[i] = strdup(name);
        if (self->claims[i] == NULL)
            break;
    }
    leave(self);
}

static int32_t call_on_unload(ss_plugin *self, uint32_t timeout_ms) {
    const slipstream_plugin *table = &self->table.plugin;
    int32_t status = SLIPSTREAM_OK;
    set_life(self, SS_UNLOADING);
    atomic_store_explicit(&self->host.stopping, 1, memory_order_relaxed);
    if (table->on_unload != NULL) {
        enter(self, "on_unload");
        status = table->on_unload(table->instance, timeout_ms);
        leave(self);
    }
    set_life(self, SS_UNLOADED);
    if (status != SLIPSTREAM_OK)
        keep_error(self, "on_unload", status);
    return status;
}

/* The loader knows libraries by name: it gives a new plugin what an old one has open. */
static void tell_replaced(ss_plugin *self) {
    char path[512];
    if (ss_os_library_needs_replaced(self->library.handle, path, sizeof path))
        ss_log_queue_format(self->host.log, SLIPSTREAM_LOG_WARN, self->host.log_id,
                            "it needs %s, whose file was replaced: it runs with the old one, which "
                            "this process has open; unload what needs that before you load, or use "
                            "mode \"process\"",
                            path);
}

static void open_plugin(ss_plugin *self) {
    const char *shown = self->library.shown;
    ss_refusal *why = &self->refusal;
    const ss_constructor create = ss_library_open(&self->library, why);
    ss_os_end_if_forked(self->host.process);
    if (create == NULL)
        return;
    tell_replaced(self);
    enter(self, SLIPSTREAM_CONSTRUCTOR);
    const slipstream_plugin *table = create(&self->host.table);
    leave(self);
    if (table == NULL) {
        char own[sizeof why->text];
        const bool gave = ss_host_error(&self->host, own, sizeof own) > 0;
        ss_refuse(why, SS_REFUSED_CONSTRUCTOR_REFUSED, "%s refused to be created: %s", shown,
                  gave ? own : "it returned NULL and gave no reason");
        ss_advise(why, "the plugin's own documentation may say more");
        return;
    }
    if (!ss_table_check(table, shown, &self->table, why))
        return;
    atomic_store_explicit(&self->host.explicit_ack,
                          (self->table.plugin.flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0,
                          memory_order_relaxed);
    snprintf(self->host.name, sizeof self->host.name, "%s", self->table.plugin.name);
    set_life(self, SS_CONSTRUCTED);
}

/* Ctrl-C, and a polite end, are the application's: a plugin would take away its way to stop. */
static void put_back(ss_plugin *self, const ss_os_stop_handlers *kept) {
    const char *changed = ss_os_put_back_stop_handlers(kept);
    if (changed != NULL)
        ss_log_queue_format(self->host.log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, self->host.log_id,
                            "it set a handler of its own for %s: that of the application is put back",
                            changed);
}

void ss_plugin_open(ss_plugin *self) {
    ss_os_stop_handlers kept;
    ss_os_get_stop_handlers(&kept);
    open_plugin(self);
    put_back(self, &kept);
}

static void name_kinds(char *out, size_t room, uint64_t kinds) {
    size_t used = 0;
    snprintf(out, room, "none");
    for (uint32_t kind = 0; kind < 64 && used < room; kind++) {
        if ((kinds & SLIPSTREAM_KIND_BIT(kind)) == 0)
            continue;
        const char *before = used == 0 ? "" : ", ";
        const int len = kind < SLIPSTREAM_KIND_APP_FIRST
                            ? snprintf(out + used, room - used, "%s%u (%s)", before, (unsigned)kind,
                                       ss_frame_kind_name(kind))
                            : snprintf(out + used, room - used, "%s%u", before, (unsigned)kind);
        used += (size_t)len;
    }
}

/* What a plugin subscribes to was said before it was opened, if it has an info. */
static bool check_kinds(ss_plugin *self) {
    char wanted[1024];
    char said[1024];
    if ((self->kinds & ~self->allowed & ~SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP)) == 0)
        return true;
    name_kinds(wanted, sizeof wanted, self->kinds);
    name_kinds(said, sizeof said, self->allowed);
    ss_refuse(&self->refusal, SS_REFUSED_INFO_DISAGREES,
              "%s subscribes to the kinds %s, but \"kinds\" of its %s is %s", self->library.shown,
              wanted, SLIPSTREAM_INFO_SYMBOL, said);
    return ss_advise(&self->refusal, "name there all that subscribed_events may ever return");
}

static void load(ss_plugin *self, char *config, size_t len, uint32_t reason) {
    const slipstream_plugin *table = &self->table.plugin;
    self->status = SLIPSTREAM_OK;
    if (atomic_load(&self->host.life) != SS_CONSTRUCTED) {
        self->status = SLIPSTREAM_WRONG_STATE;
        say(self, "on_load was asked for in a wrong state");
        return;
    }
    if (!ss_host_config_open(&self->host.config, config, len)) {
        self->status = SLIPSTREAM_MALFORMED;
        say(self, "the host has packed the config wrongly");
        return;
    }
    set_life(self, SS_LOADING);
    if (table->on_load != NULL) {
        enter(self, "on_load");
        const int32_t status = table->on_load(table->instance, self->host.config.json,
                                              self->host.config.json_len, reason);
        leave(self);
        if (status != SLIPSTREAM_OK)
            keep_error(self, "on_load", status);
    }
    set_life(self, self->status == SLIPSTREAM_OK ? SS_LOADED : SS_UNLOADED);
    ss_host_config_close(&self->host.config);
    if (self->status != SLIPSTREAM_OK)
        return;
    if (table->subscribed_events != NULL) {
        enter(self, "subscribed_events");
        self->kinds = table->subscribed_events(table->instance);
        leave(self);
    }
    if (!check_kinds(self)) {
        call_on_unload(self, 0);
        return;
    }
    if (self->kinds != 0)
        self->kinds |= SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP);
    read_claims(self);
    const bool claims = self->claims != NULL && self->claims[0] != NULL;
    if ((self->kinds != 0 || claims) && table->on_broadcast == NULL) {
        call_on_unload(self, 0);
        ss_refuse(&self->refusal, SS_REFUSED_BROADCAST_MISSING,
                  "%s %s, but slipstream_plugin::on_broadcast is NULL", self->library.shown,
                  claims ? "claims payloads" : "subscribes to events");
        ss_advise(&self->refusal, "give it an on_broadcast, or subscribe to nothing");
    }
}

void ss_plugin_load(ss_plugin *self, char *config, size_t len, uint32_t reason) {
    ss_os_stop_handlers kept;
    ss_os_get_stop_handlers(&kept);
    load(self, config, len, reason);
    put_back(self, &kept);
}

/* Nobody keeps dead letters here. */
static void log_rejections(ss_plugin *self) {
    ss_rejection *rejections;
    const size_t count = ss_host_take_rejections(&self->host.settle, &rejections);
    for (size_t i = 0; i < count; i++) {
        ss_host_log_rejection(self->host.log, self->host.log_id, &rejections[i]);
        ss_rejection_free(&rejections[i]);
    }
    free(rejections);
}

void ss_plugin_deliver(ss_plugin *self, const slipstream_delivery *delivery, const uint8_t *frames,
                       size_t len) {
    const slipstream_plugin *table = &self->table.plugin;
    self->status = SLIPSTREAM_WRONG_STATE;
    if (table->on_broadcast == NULL || atomic_load(&self->host.life) != SS_LOADED) {
        say(self, "it is not loaded, or subscribes to nothing");
        return;
    }
    atomic_store_explicit(&self->host.delivered, delivery->first_ordinal + delivery->count - 1,
                          memory_order_release);
    enter(self, "on_broadcast");
    ss_host_settle_begin(&self->host.settle, delivery, table->flags);
    self->status = table->on_broadcast(table->instance, delivery, frames, len);
    self->host.settle.delivery = NULL;
    leave(self);
    if (self->status == SLIPSTREAM_OK)
        log_rejections(self);
    else if (self->status != SLIPSTREAM_IGNORED)
        keep_error(self, "on_broadcast", self->status);
    ss_host_forget_rejections(&self->host.settle, delivery->first_ordinal);
    if (self->status == SLIPSTREAM_PANIC)
        set_life(self, SS_UNLOADED); /* nothing but destroy may follow */
}

void ss_plugin_flush(ss_plugin *self, uint32_t timeout_ms) {
    const slipstream_plugin *table = &self->table.plugin;
    self->status = SLIPSTREAM_OK;
    if (table->flush == NULL || atomic_load(&self->host.life) != SS_LOADED)
        return;
    const uint64_t delivered = atomic_load_explicit(&self->host.delivered, memory_order_relaxed);
    enter(self, "flush");
    self->host.settle.is_off = true;
    const int32_t status = table->flush(table->instance, timeout_ms);
    self->host.settle.is_off = false;
    leave(self);
    log_rejections(self);
    if (status == SLIPSTREAM_OK)
        ss_host_raise_acked(&self->host, delivered);
    else
        keep_error(self, "flush", status);
}

void ss_plugin_unload(ss_plugin *self, uint32_t timeout_ms) {
    self->status = SLIPSTREAM_OK;
    if (atomic_load(&self->host.life) == SS_LOADED)
        call_on_unload(self, timeout_ms);
    if (self->host.settle.until_acked) /* those that came after the last run */
        log_rejections(self);
}

void ss_plugin_destroy(ss_plugin *self) {
    const slipstream_plugin *table = &self->table.plugin;
    if (!self->table.destroyable)
        return;
    self->table.destroyable = false;
    enter(self, "destroy");
    table->destroy(table->instance);
    leave(self);
}

void ss_plugin_free(ss_plugin *self) {
    ss_host_free(&self->host);
    for (char **claim = self->claims; claim != NULL && *claim != NULL; claim++)
        free(*claim);
    free(self->claims);
}
