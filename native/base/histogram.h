/* histogram: which bucket of a histogram of times a value belongs to.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_HISTOGRAM_H
#define SS_HISTOGRAM_H

#include <stdint.h>

/* cdef:begin */
#define SS_TIME_BUCKETS 40
/* cdef:end */

/* Bucket n is for values of at least 2^(n-1) and below 2^n; the last one takes the rest, too. */
static inline unsigned ss_histogram_bucket(uint64_t value) {
    const unsigned bucket = value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
    return bucket < SS_TIME_BUCKETS ? bucket : SS_TIME_BUCKETS - 1;
}

#endif
