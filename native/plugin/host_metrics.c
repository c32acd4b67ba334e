#include "plugin/host_metrics.h"

#include "plugin/host.h"

#include <string.h>

static bool is_key(const char *p, size_t len) {
    if (len == 0 || len > SLIPSTREAM_NAME_MAX || (*p >= '0' && *p <= '9'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') || p[i] == '_'))
            return false;
    return true;
}

static bool is_label(const char *label) {
    const size_t len = strnlen(label, 2 * SLIPSTREAM_NAME_MAX + 2);
    const char *equals = memchr(label, '=', len);
    if (equals == NULL || !is_key(label, (size_t)(equals - label)))
        return false;
    const char *value = equals + 1;
    const size_t value_len = len - (size_t)(value - label);
    if (value_len > SLIPSTREAM_NAME_MAX)
        return false;
    for (size_t i = 0; i < value_len; i++)
        if (value[i] < 0x20 || value[i] > 0x7E)
            return false;
    return true;
}

static ss_series *known_series(ss_host_metrics *metrics, const char *name, const char *label,
                               uint32_t is_gauge) {
    const uint32_t count = atomic_load_explicit(&metrics->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        ss_series *series = &metrics->series[i];
        if (series->is_gauge == is_gauge && strcmp(series->name, name) == 0 &&
            strcmp(series->label, label) == 0)
            return series;
    }
    return NULL;
}

/* Who reads the numbers knows a name as one or the other. */
static bool is_otherwise(const ss_host_metrics *metrics, const char *name, uint32_t is_gauge) {
    const uint32_t count = atomic_load_explicit(&metrics->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
        if (metrics->series[i].is_gauge != is_gauge && strcmp(metrics->series[i].name, name) == 0)
            return true;
    return false;
}

static int32_t find_series(ss_host *host, const char *name, const char *label, uint32_t is_gauge,
                           ss_series **out) {
    ss_host_metrics *metrics = &host->metrics;
    if (name == NULL || !is_key(name, strnlen(name, SLIPSTREAM_NAME_MAX + 1)) ||
        (label != NULL && !is_label(label)))
        return SLIPSTREAM_INVALID_ARGUMENT;
    if (label == NULL)
        label = "";
    *out = known_series(metrics, name, label, is_gauge);
    if (*out != NULL)
        return SLIPSTREAM_OK;
    ss_os_mutex_lock(&metrics->lock);
    if (is_otherwise(metrics, name, is_gauge)) {
        ss_os_mutex_unlock(&metrics->lock);
        return SLIPSTREAM_INVALID_ARGUMENT;
    }
    *out = known_series(metrics, name, label, is_gauge);
    const uint32_t count = atomic_load_explicit(&metrics->count, memory_order_relaxed);
    if (*out == NULL && count < SS_SERIES_MAX) {
        ss_series *series = &metrics->series[count];
        strcpy(series->name, name);
        strcpy(series->label, label);
        series->is_gauge = is_gauge;
        atomic_store_explicit(&metrics->count, count + 1, memory_order_release);
        *out = series;
    }
    ss_os_mutex_unlock(&metrics->lock);
    return *out == NULL ? SLIPSTREAM_TOO_LARGE : SLIPSTREAM_OK;
}

static int32_t counter_add(void *ctx, const char *name, const char *label, uint64_t amount) {
    ss_series *series;
    const int32_t status = find_series(ctx, name, label, 0, &series);
    if (status == SLIPSTREAM_OK)
        atomic_fetch_add_explicit(&series->bits, amount, memory_order_relaxed);
    return status;
}

static int32_t gauge_set(void *ctx, const char *name, const char *label, double value) {
    ss_series *series;
    uint64_t bits;
    const int32_t status = find_series(ctx, name, label, 1, &series);
    if (status != SLIPSTREAM_OK)
        return status;
    memcpy(&bits, &value, sizeof bits);
    atomic_store_explicit(&series->bits, bits, memory_order_relaxed);
    return SLIPSTREAM_OK;
}

const slipstream_metrics_v1 ss_host_metrics_table = {
    sizeof ss_host_metrics_table,
    0,
    counter_add,
    gauge_set,
};

int32_t ss_host_metric(const ss_host_metrics *metrics, uint32_t index, ss_metric *out) {
    if (index >= atomic_load_explicit(&metrics->count, memory_order_acquire))
        return SLIPSTREAM_NOT_FOUND;
    const ss_series *series = &metrics->series[index];
    const uint64_t bits = atomic_load_explicit(&series->bits, memory_order_relaxed);
    memset(out, 0, sizeof *out);
    out->name = series->name;
    out->label = series->label;
    out->is_gauge = series->is_gauge;
    if (series->is_gauge)
        memcpy(&out->gauge, &bits, sizeof out->gauge);
    else
        out->count = bits;
    return SLIPSTREAM_OK;
}
