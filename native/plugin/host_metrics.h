/* host_metrics: slipstream.metrics/1, with which a plugin counts and measures.
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_HOST_METRICS_H
#define SS_HOST_METRICS_H

#include "platform/platform.h"

#include <slipstream.h>

enum { SS_SERIES_MAX = 128 };

/* cdef:begin */

/* One number that a plugin counts or measures. */
typedef struct ss_metric {
    const char *name;
    const char *label; /* "key=value" or "" */
    uint32_t is_gauge;
    uint32_t reserved;
    uint64_t count;
    double gauge;
} ss_metric;
/* cdef:end */

typedef struct ss_series {
    char name[SLIPSTREAM_NAME_MAX + 1];
    char label[2 * SLIPSTREAM_NAME_MAX + 2];
    uint32_t is_gauge;
    uint32_t reserved;
    _Atomic uint64_t bits; /* a counter's value, or a gauge's double as bits */
} ss_series;

typedef struct ss_host_metrics {
    ss_os_mutex lock; /* for adding one */
    _Atomic uint32_t count;
    uint32_t reserved;
    ss_series series[SS_SERIES_MAX];
} ss_host_metrics;

/* Number `index`, by any thread; OK or NOT_FOUND behind the last one. */
int32_t ss_host_metric(const ss_host_metrics *metrics, uint32_t index, ss_metric *out);

/* What it gives; its functions get a ss_host. */
extern const slipstream_metrics_v1 ss_host_metrics_table;

#endif
