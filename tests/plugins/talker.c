/* talker: calls host functions as it is told by payloads: the name is the function, the body
 * its argument. Answers what the function has answered. */
#include <slipstream.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FLAGS
#define FLAGS 0
#endif

static const slipstream_host *host;

typedef struct text {
    char *data;
    size_t len;
} text;

static void *set_error_here(void *argument) {
    const text *what = argument;
    host->set_error(host->ctx, what->data, what->len);
    return NULL;
}

static void *log_here(void *argument) {
    const text *what = argument;
    for (unsigned i = 0; i < 1000; i++)
        host->log(host->ctx, SLIPSTREAM_LOG_INFO, what->data, what->len);
    return NULL;
}

static void on_threads(void *(*run)(void *), unsigned count, text *argument) {
    pthread_t threads[8];
    for (unsigned i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, run, argument);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static int32_t obey(const char *command, text *body) {
    const slipstream_metrics_v1 *metrics = slipstream_extension(host, SLIPSTREAM_EXT_METRICS);
    char *comma = strchr(body->data, ',');
    unsigned number = 0;
    if (sscanf(command, "log/%u", &number) == 1) {
        host->log(host->ctx, number, body->data, body->len);
    } else if (sscanf(command, "enabled/%u", &number) == 1) {
        return host->log_enabled(host->ctx, number) ? SLIPSTREAM_OK : SLIPSTREAM_IGNORED;
    } else if (sscanf(command, "repeat/%u", &number) == 1) {
        for (unsigned i = 0; i < number; i++)
            host->log(host->ctx, SLIPSTREAM_LOG_INFO, body->data, body->len);
    } else if (strcmp(command, "log and abort") == 0) {
        host->log(host->ctx, SLIPSTREAM_LOG_INFO, body->data, body->len);
        abort();
    } else if (strcmp(command, "print") == 0) {
        printf("%s\n", body->data);
        fflush(stdout);
    } else if (strcmp(command, "log NULL") == 0) {
        host->log(host->ctx, SLIPSTREAM_LOG_INFO, NULL, 5);
    } else if (strcmp(command, "set_error NULL") == 0) {
        host->set_error(host->ctx, NULL, 5);
    } else if (strcmp(command, "set_error from a thread") == 0) {
        on_threads(set_error_here, 1, body);
    } else if (strcmp(command, "log from threads") == 0) {
        on_threads(log_here, 4, body);
    } else if (strcmp(command, "fail") == 0) {
        host->set_error(host->ctx, body->data, body->len);
        return SLIPSTREAM_FAILED;
    } else if (strcmp(command, "status") == 0) {
        return (int32_t)strtol(body->data, NULL, 10);
    } else if (strcmp(command, "ack") == 0) {
        return host->ack(host->ctx, strtoull(body->data, NULL, 10));
    } else if (strcmp(command, "config") == 0) {
        const slipstream_config_v1 *config = slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
        uint32_t value;
        return config->get_bool(host->ctx, "/on", &value);
    } else if (strcmp(command, "extension") == 0) {
        return slipstream_extension(host, body->data) ? SLIPSTREAM_OK : SLIPSTREAM_NOT_FOUND;
    } else if (strcmp(command, "count") == 0) {
        *comma = '\0';
        return metrics->counter_add(host->ctx, body->data, comma[1] ? comma + 1 : NULL, 3);
    } else if (strcmp(command, "gauge") == 0) {
        *comma = '\0';
        return metrics->gauge_set(host->ctx, body->data, comma[1] ? comma + 1 : NULL, -0.5);
    } else if (strcmp(command, "count NULL") == 0) {
        return metrics->counter_add(host->ctx, NULL, NULL, 1);
    } else {
        return slipstream_fail(host, SLIPSTREAM_UNSUPPORTED, command);
    }
    return SLIPSTREAM_OK;
}

static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    slipstream_frame frame;
    slipstream_payload payload;
    char command[64] = "";
    (void)instance;
    (void)delivery;
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK ||
        slipstream_read_payload(&frame, &payload) != SLIPSTREAM_OK ||
        payload.name.len >= sizeof command)
        return SLIPSTREAM_MALFORMED;
    memcpy(command, payload.name.data, payload.name.len);
    text body = {malloc(payload.body.len + 1), payload.body.len};
    memcpy(body.data, payload.body.data, body.len);
    body.data[body.len] = '\0';
    const int32_t status = obey(command, &body);
    free(body.data);
    return status;
}

static uint64_t subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PAYLOAD);
}

static int32_t flush(void *instance, uint32_t timeout_ms) {
    (void)instance;
    (void)timeout_ms;
    return SLIPSTREAM_OK;
}

/* With what on_load and on_unload fail, if they are to. */
#ifndef LOAD_ERROR
#define LOAD_ERROR NULL
#endif
#ifndef UNLOAD_ERROR
#define UNLOAD_ERROR NULL
#endif

static int32_t end_with(const char *error) {
    return error == NULL ? SLIPSTREAM_OK : slipstream_fail(host, SLIPSTREAM_FAILED, error);
}

static int32_t on_load(void *instance, const char *config, size_t len, uint32_t reason) {
    (void)instance, (void)config, (void)len, (void)reason;
    return end_with(LOAD_ERROR);
}

static int32_t on_unload(void *instance, uint32_t timeout_ms) {
    (void)instance;
    (void)timeout_ms;
    slipstream_log(host, SLIPSTREAM_LOG_INFO,
                   slipstream_is_stopping(host) ? "stopping" : "not stopping");
    return end_with(UNLOAD_ERROR);
}

static void destroy(void *instance) {
    (void)instance;
    if ((FLAGS & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 &&
        host->ack(host->ctx, 1) != SLIPSTREAM_WRONG_STATE)
        slipstream_log(host, SLIPSTREAM_LOG_ERROR, "ack in a wrong state");
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, FLAGS, NULL, "talker", "1", destroy, on_load,
        on_unload, subscribed_events, on_broadcast, flush, NULL};
    host = given;
    if ((FLAGS & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 &&
        host->ack(host->ctx, 0) != SLIPSTREAM_WRONG_STATE)
        slipstream_log(host, SLIPSTREAM_LOG_ERROR, "ack in a wrong state");
    return &table;
}
