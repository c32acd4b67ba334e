#include "plugin/status.h"

#include <slipstream.h>

const char *ss_status_name(int32_t status) {
    static const char *const names[] = {
        "OK",
        "FAILED",
        "RETRY",
        "NOT_FOUND",
        "UNSUPPORTED",
        "INVALID_ARGUMENT",
        "INVALID_CONFIG",
        "MALFORMED",
        "WRONG_STATE",
        "TOO_LARGE",
        "OUT_OF_RANGE",
        "WRONG_TYPE",
        "NO_MEMORY",
        "IO",
        "TIMEOUT",
        "DENIED",
        "FATAL",
        "PANIC",
    };
    if (status == SLIPSTREAM_END)
        return "END";
    if (status == SLIPSTREAM_IGNORED)
        return "IGNORED";
    if (status > 0 || status <= -(int32_t)(sizeof names / sizeof names[0]))
        return "unknown status";
    return names[-status];
}
