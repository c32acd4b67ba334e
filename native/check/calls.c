#include "check/calls.h"

#include "check/events.h"
#include "check/guest.h"
#include "check/memory.h"
#include "check/notes.h"
#include "check/threads.h"

#include <stdlib.h>
#include <string.h>

enum { COMM = 16, CLAIMS = 1100, CLAIM_ROOM = 512 };

static struct {
    ss_library library;
    ss_constructor create;
    char path[4096];
    char shown[4096];
} libraries[SS_PLAY_SLOTS];

/* ---- Around a call -------------------------------------------------------------------------- */

static void enter(ss_guest *guest) {
    ss_host_enter(&guest->host, ss_os_self());
    ss_call_begins();
}

static void leave(ss_guest *guest) {
    ss_call_ends();
    ss_host_leave(&guest->host);
}

static void set_life(ss_guest *guest, uint32_t life) {
    atomic_store_explicit(&guest->host.life, life, memory_order_release);
}

/* The text is the plugin's as it is. */
static void answered(ss_guest *guest, int32_t status, uint64_t began) {
    ss_note(SS_PLAYED_CALL, status, ss_os_now_ns() - began, 0, guest->host.error,
            guest->host.error_len);
}

/* NULL, and said, where there is none. */
static ss_guest *guest_of(const ss_play_step *step) {
    ss_guest *guest = ss_guest_in(step->slot);
    if (guest == NULL || guest->given == NULL) {
        ss_note_text(SS_PLAYED_UNPLAYED, 0, "there is no plugin to call");
        return NULL;
    }
    return guest;
}

/* ---- The library ---------------------------------------------------------------------------- */

static void open_library(void *argument) {
    const ss_play_step *step = argument;
    const uint32_t at = step->slot;
    const uint64_t began = ss_os_now_ns();
    ss_refusal why = {0};
    libraries[at].library =
        (ss_library){.path = libraries[at].path, .shown = libraries[at].shown};
    ss_call_begins();
    libraries[at].create = ss_library_open(&libraries[at].library, &why);
    ss_call_ends();
    if (libraries[at].create != NULL) {
        ss_note(SS_PLAYED_CALL, SLIPSTREAM_OK, ss_os_now_ns() - began, 0, NULL, 0);
        return;
    }
    const size_t len = strlen(why.text) + 1;
    memmove(why.text + len, why.hint, strlen(why.hint) < sizeof why.text - len
                                          ? strlen(why.hint)
                                          : 0);
    ss_note(SS_PLAYED_REFUSED, (int32_t)why.number, 0, 0, why.text, len + strlen(why.hint));
}

void ss_call_open(const ss_play_step *step, const void *data) {
    const char *path = data;
    const char *shown = path + strlen(path) + 1;
    if (strlen(path) >= sizeof libraries[0].path || strlen(shown) >= sizeof libraries[0].shown)
        ss_give_up("the path of the library is too long");
    strcpy(libraries[step->slot].path, path);
    strcpy(libraries[step->slot].shown, shown);
    ss_threads_run(open_library, (void *)(uintptr_t)step);
}

static void close_library(void *argument) {
    const ss_play_step *step = argument;
    ss_guest *guest = ss_guest_in(step->slot);
    const uint32_t flags = guest == NULL ? 0 : guest->plugin.plugin.flags;
    ss_call_begins();
    const uint32_t mapping = ss_library_close(&libraries[step->slot].library, flags, "slip-0", false);
    ss_call_ends();
    libraries[step->slot].create = NULL;
    ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, mapping, 0, NULL, 0);
}

void ss_call_close(const ss_play_step *step) {
    ss_threads_run(close_library, (void *)(uintptr_t)step);
}

/* ---- The table ------------------------------------------------------------------------------ */

static void describe(const ss_guest *guest, ss_play_table *out) {
    slipstream_plugin raw = {0};
    uintptr_t functions[8];
    const size_t size = guest->given->struct_size < sizeof raw ? guest->given->struct_size
                                                               : sizeof raw;
    memset(out, 0, sizeof *out);
    if (!ss_os_read_memory(guest->given, &raw, size))
        return;
    out->struct_size = raw.struct_size;
    out->abi_minor = raw.abi_minor;
    out->min_host_minor = raw.min_host_minor;
    out->flags = raw.flags;
    ss_peek_text(raw.name, out->name, sizeof out->name);
    ss_peek_text(raw.version, out->version, sizeof out->version);
    const size_t first = offsetof(slipstream_plugin, destroy) / sizeof(void *);
    const size_t count = sizeof raw / sizeof(void *) - first;
    for (size_t i = 0; i < count && i < 8; i++) {
        memcpy(&functions[i], (const char *)&raw + (first + i) * sizeof(void *), sizeof(void *));
        if (functions[i] == 0)
            continue;
        out->functions |= 1U << i;
        if (ss_os_find_not_executable(&functions[i], 1) >= 0)
            out->outside |= 1U << i;
    }
}

/* A refused one is told of as what it is; only what is good is called later. */
static void construct(void *argument) {
    const ss_play_step *step = argument;
    ss_guest *guest = ss_guest_in(step->slot);
    const ss_constructor create = libraries[step->a].create;
    ss_play_table table;
    ss_refusal why = {0};
    if (create == NULL) {
        ss_note_text(SS_PLAYED_UNPLAYED, 0, "the library is not open");
        return;
    }
    const uint64_t began = ss_os_now_ns();
    enter(guest);
    const slipstream_plugin *given = create(guest->table);
    leave(guest);
    answered(guest, given != NULL ? SLIPSTREAM_OK : SLIPSTREAM_FAILED, began);
    if (given == NULL)
        return;
    const bool is_good = ss_table_check(given, libraries[step->a].shown, &guest->plugin, &why);
    uint32_t size = 0;
    if (ss_os_read_memory(given, &size, sizeof size) && size >= SLIPSTREAM_PLUGIN_SIZE_1_0) {
        guest->given = given;
        describe(guest, &table);
        ss_note(SS_PLAYED_TABLE, SLIPSTREAM_OK, 0, 0, &table, sizeof table);
    }
    if (!is_good) {
        ss_note_text(SS_PLAYED_REFUSED, (int32_t)why.number, why.text);
        guest->given = NULL;
        return;
    }
    atomic_store_explicit(&guest->host.explicit_ack,
                          (guest->plugin.plugin.flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0,
                          memory_order_relaxed);
    memcpy(guest->host.name, guest->plugin.name, sizeof guest->host.name);
    set_life(guest, SS_CONSTRUCTED);
}

void ss_call_construct(const ss_play_step *step, const void *data) {
    ss_guest_new(step->slot, step->b, data);
    ss_threads_run(construct, (void *)(uintptr_t)step);
}

void ss_call_table(const ss_play_step *step) {
    const ss_guest *guest = guest_of(step);
    ss_play_table table;
    if (guest == NULL)
        return;
    describe(guest, &table);
    ss_note(SS_PLAYED_TABLE, SLIPSTREAM_OK, 0, 0, &table, sizeof table);
}

/* ---- Its life ------------------------------------------------------------------------------- */

typedef struct loading {
    const ss_play_step *step;
    const void *data;
} loading;

static void load(void *argument) {
    const loading *it = argument;
    const ss_play_step *step = it->step;
    ss_guest *guest = ss_guest_in(step->slot);
    const slipstream_plugin *plugin = &guest->plugin.plugin;
    ss_host_config *config = &guest->host.config;
    const char *json = it->data;
    size_t len = step->len;
    char *packed = NULL;
    if (step->c == 0) {
        packed = malloc(step->len + 1);
        if (packed == NULL)
            ss_give_up("there is no memory for the config");
        memcpy(packed, it->data, step->len);
        if (!ss_host_config_open(config, packed, step->len))
            ss_give_up("the config is packed wrongly");
        json = config->json;
        len = config->json_len;
    }
    ss_placed placed = ss_place(json, len, step->b);
    ss_play_trace *trace = ss_trace();
    trace->start = (uint64_t)(uintptr_t)placed.data;
    trace->len = len;
    set_life(guest, SS_LOADING);
    const uint64_t began = ss_os_now_ns();
    int32_t status = SLIPSTREAM_OK;
    if (plugin->on_load != NULL) {
        enter(guest);
        status = plugin->on_load(plugin->instance, step->c == 2 ? NULL : (const char *)placed.data,
                                 len, step->a);
        leave(guest);
    }
    set_life(guest, status == SLIPSTREAM_OK ? SS_LOADED : SS_UNLOADED);
    ss_place_leave(&placed);
    if (packed != NULL)
        ss_host_config_close(config);
    free(packed);
    ss_host_judge_status(&guest->host, "on_load", status);
    answered(guest, status, began);
}

void ss_call_load(const ss_play_step *step, const void *data) {
    loading it = {step, data};
    if (guest_of(step) != NULL)
        ss_threads_run(load, &it);
}

static bool is_loaded(const ss_guest *guest) {
    if (atomic_load(&guest->host.life) == SS_LOADED)
        return true;
    ss_note_text(SS_PLAYED_UNPLAYED, 0, "it is not loaded");
    return false;
}

static void subscribed(void *argument) {
    ss_guest *guest = argument;
    const slipstream_plugin *plugin = &guest->plugin.plugin;
    uint64_t kinds = 0;
    if (plugin->subscribed_events != NULL) {
        enter(guest);
        kinds = plugin->subscribed_events(plugin->instance);
        leave(guest);
    }
    ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, kinds, 0, NULL, 0);
}

void ss_call_subscribed(const ss_play_step *step) {
    ss_guest *guest = guest_of(step);
    if (guest != NULL && is_loaded(guest))
        ss_threads_run(subscribed, guest);
}

static void claims(void *argument) {
    ss_guest *guest = argument;
    const slipstream_plugin *plugin = &guest->plugin.plugin;
    slipstream_payload_v1 table;
    uintptr_t name_at = 0;
    if (plugin->get_extension == NULL)
        return;
    enter(guest);
    const void *found = plugin->get_extension(plugin->instance, SLIPSTREAM_EXT_PAYLOAD);
    leave(guest);
    if (found == NULL)
        return;
    const bool is_there = ss_os_read_memory(found, &table, sizeof table) &&
                          table.struct_size >= SLIPSTREAM_PAYLOAD_V1_SIZE_1_0;
    if (is_there)
        memcpy(&name_at, &table.name_at, sizeof name_at);
    if (!is_there || name_at == 0 || ss_os_find_not_executable(&name_at, 1) >= 0) {
        ss_note_text(SS_PLAYED_UNPLAYED, 0, "its table is too small, unreadable or has no name_at");
        return;
    }
    for (uint32_t i = 0; i < CLAIMS; i++) {
        char name[CLAIM_ROOM];
        enter(guest);
        const char *claim = table.name_at(plugin->instance, i);
        leave(guest);
        if (claim == NULL)
            return;
        const int len = ss_peek_text(claim, name, sizeof name);
        ss_note(SS_PLAYED_TEXT, len, i, 0, name, len < 0 ? 0 : (size_t)len);
    }
}

void ss_call_claims(const ss_play_step *step) {
    ss_guest *guest = guest_of(step);
    if (guest != NULL && is_loaded(guest))
        ss_threads_run(claims, guest);
}

static void extension(void *argument) {
    const loading *it = argument;
    ss_guest *guest = ss_guest_in(it->step->slot);
    const slipstream_plugin *plugin = &guest->plugin.plugin;
    const void *found = NULL;
    if (plugin->get_extension != NULL) {
        enter(guest);
        found = plugin->get_extension(plugin->instance, it->data);
        leave(guest);
    }
    ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, found != NULL, 0, NULL, 0);
}

void ss_call_extension(const ss_play_step *step, const void *data) {
    loading it = {step, data};
    if (guest_of(step) != NULL)
        ss_threads_run(extension, &it);
}

static void flush(void *argument) {
    const ss_play_step *step = argument;
    ss_guest *guest = ss_guest_in(step->slot);
    const slipstream_plugin *plugin = &guest->plugin.plugin;
    const uint64_t began = ss_os_now_ns();
    int32_t status = SLIPSTREAM_OK;
    if (plugin->flush != NULL && (plugin->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0) {
        enter(guest);
        status = plugin->flush(plugin->instance, step->a);
        leave(guest);
        ss_events_rejected(guest, status, UINT64_MAX); /* flush may reject what it cannot write */
        if (status == SLIPSTREAM_OK)
            ss_host_raise_acked(&guest->host, atomic_load(&guest->host.delivered));
    }
    ss_host_judge_status(&guest->host, "flush", status);
    answered(guest, status, began);
}

void ss_call_flush(const ss_play_step *step) {
    ss_guest *guest = guest_of(step);
    if (guest != NULL && is_loaded(guest))
        ss_threads_run(flush, (void *)(uintptr_t)step);
}

static void unload(void *argument) {
    const ss_play_step *step = argument;
    ss_guest *guest = ss_guest_in(step->slot);
    const slipstream_plugin *plugin = &guest->plugin.plugin;
    const uint64_t began = ss_os_now_ns();
    int32_t status = SLIPSTREAM_OK;
    set_life(guest, SS_UNLOADING);
    atomic_store_explicit(&guest->host.stopping, 1, memory_order_relaxed);
    if (plugin->on_unload != NULL) {
        enter(guest);
        status = plugin->on_unload(plugin->instance, step->a);
        leave(guest);
    }
    set_life(guest, SS_UNLOADED);
    ss_host_judge_status(&guest->host, "on_unload", status);
    answered(guest, status, began);
}

void ss_call_unload(const ss_play_step *step) {
    ss_guest *guest = guest_of(step);
    if (guest != NULL && is_loaded(guest))
        ss_threads_run(unload, (void *)(uintptr_t)step);
}

static void destroy(void *argument) {
    ss_guest *guest = argument;
    const slipstream_plugin *plugin = &guest->plugin.plugin;
    const uint64_t began = ss_os_now_ns();
    enter(guest);
    plugin->destroy(plugin->instance);
    leave(guest);
    set_life(guest, SS_UNLOADED);
    guest->given = NULL;
    atomic_store_explicit(&guest->is_dead, 1, memory_order_relaxed);
    answered(guest, SLIPSTREAM_OK, began);
}

void ss_call_destroy(const ss_play_step *step) {
    ss_guest *guest = guest_of(step);
    if (guest != NULL)
        ss_threads_run(destroy, guest);
}
