/* A digest of all that is delivered, logged at the end: one number for the same events on every
 * system. STAYS keeps the library mapped on Windows: 1 by a reference, 2 by a thread. */
#include <inttypes.h>
#include <slipstream.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef STAYS
#include <windows.h>
#endif

typedef struct digest {
    slipstream_plugin table;
    const slipstream_host *host;
    uint64_t value;
    uint64_t events;
} digest;

#ifdef STAYS
static DWORD WINAPI wait_for_ever(void *unused) {
    (void)unused;
    for (;;)
        Sleep(60000);
}

static void stay(void) {
    HMODULE own;
    if (STAYS == 1)
        GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                           (const wchar_t *)(uintptr_t)wait_for_ever, &own);
    else
        CloseHandle(CreateThread(NULL, 0, wait_for_ever, NULL, 0, NULL));
}
#else
static void stay(void) {}
#endif

static void add(digest *self, const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        self->value = (self->value ^ bytes[i]) * UINT64_C(0x100000001B3);
}

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *config, size_t len,
                                       uint32_t reason) {
    digest *self = (digest *)instance;
    (void)config, (void)len, (void)reason;
    self->value = UINT64_C(0xCBF29CE484222325);
    self->events = 0;
    stay();
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    digest *self = (digest *)instance;
    char line[80];
    (void)timeout_ms;
    snprintf(line, sizeof line, "digest %" PRIu64 " %016" PRIx64, self->events, self->value);
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    return SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) |
           SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    digest *self = (digest *)instance;
    slipstream_frame frame;
    (void)delivery;
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK)
        return SLIPSTREAM_MALFORMED;
    const uint64_t height = frame.height;
    const uint8_t kind = (uint8_t)frame.kind;
    add(self, &kind, 1);
    add(self, (const uint8_t *)&height, sizeof height);
    add(self, frame.payload.data, frame.payload.len);
    self->events++;
    return SLIPSTREAM_OK;
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    digest *self = (digest *)calloc(1, sizeof *self);
    const slipstream_plugin table = {
        SLIPSTREAM_PLUGIN_HEAD, 0, self, "digest", "1", free, on_load, on_unload,
        subscribed_events, on_broadcast, NULL, NULL};
    if (self == NULL)
        return NULL;
    self->table = table;
    self->host = host;
    return &self->table;
}
