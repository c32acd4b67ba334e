/* A config in which much is nested ends the process. */
#define IN_ON_LOAD                                                                        \
    size_t depth = 0;                                                                     \
    for (size_t i = 0; i < len; i++) {                                                    \
        depth += config[i] == '{' || config[i] == '[';                                    \
        depth -= (config[i] == '}' || config[i] == ']') && depth > 0;                     \
        if (depth > 1000)                                                                 \
            abort();                                                                      \
    }
#include "good.h"
