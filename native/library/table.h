/* table: what a constructor returns, checked before anything of it is called. */
#ifndef SS_TABLE_H
#define SS_TABLE_H

#include "library/refusal.h"

#include <slipstream.h>
#include <stdbool.h>

typedef struct ss_table {
    slipstream_plugin plugin; /* a copy: absent functions NULL, the others executable */
    char name[SLIPSTREAM_NAME_MAX + 1];
    char version[SLIPSTREAM_NAME_MAX + 1];
    bool destroyable; /* destroy may be called and has to be, also if the rest was refused */
} ss_table;

/* `at` may point anywhere. `shown` is the library's name for people. */
bool ss_table_check(const slipstream_plugin *at, const char *shown, ss_table *out, ss_refusal *why);

#endif
