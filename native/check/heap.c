/* heap: what of it is in use, by the C library that this process has. */
#include "check/state.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* As glibc has them: mallinfo2 since 2.33, before that mallinfo, whose numbers are only so large. */
typedef struct wide {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
} wide;
typedef struct narrow {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
} narrow;

static uint64_t in_use(void) {
    wide (*ask)(void);
    narrow (*ask_older)(void);
    void *found = dlsym(RTLD_DEFAULT, "mallinfo2");
    if (found != NULL) {
        memcpy(&ask, &found, sizeof ask);
        const wide heap = ask();
        return heap.uordblks + heap.hblkhd;
    }
    found = dlsym(RTLD_DEFAULT, "mallinfo");
    if (found == NULL)
        return 0; /* musl does not tell */
    memcpy(&ask_older, &found, sizeof ask_older);
    const narrow heap = ask_older();
    return (uint64_t)(unsigned)heap.uordblks + (unsigned)heap.hblkhd;
}

void ss_state_heap(uint64_t *bytes, uint64_t *mappings) {
    FILE *maps = fopen("/proc/self/maps", "re");
    int c;
    *bytes = in_use();
    *mappings = 0;
    while (maps != NULL && (c = getc(maps)) != EOF)
        *mappings += c == '\n';
    if (maps != NULL)
        fclose(maps);
}
