/* history.c - which bytes came under which ordinal: in memory, or in the file `history`, which a
 * restarted and a reloaded plugin go on with.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t hash_of(const void *bytes, size_t len) {
    const uint8_t *p = bytes;
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001B3);
    return hash;
}

void history_open(probe *self, const char *path, uint32_t reason) {
    if (path != NULL) {
        const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (file >= 0 && ftruncate(file, sizeof *self->history) == 0) {
            void *map =
                mmap(NULL, sizeof *self->history, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            self->history = map == MAP_FAILED ? NULL : map;
            self->history_is_file = self->history != NULL;
        }
        if (file >= 0)
            close(file);
    }
    if (self->history == NULL)
        self->history = calloc(1, sizeof *self->history);
    if (self->history != NULL && reason == SLIPSTREAM_LOAD_START)
        memset(self->history, 0, sizeof *self->history); /* ordinals start anew */
}

void history_close(probe *self) {
    if (self->history_is_file)
        munmap(self->history, sizeof *self->history);
    else
        free(self->history);
    self->history = NULL;
}

/* What is lost was there before, or was not: a GAP has bytes of its own. */
void history_note(probe *self, uint64_t ordinal, uint32_t kind, uint64_t hash) {
    const size_t at = ordinal % REMEMBERED;
    if (self->history == NULL || kind == SLIPSTREAM_KIND_GAP)
        return;
    if (self->history->seen[at].hash != 0 && self->history->seen[at].ordinal == ordinal)
        check(self, ORDINAL_BYTES, self->history->seen[at].hash == hash,
              "ordinal %llu came with other bytes than before", (unsigned long long)ordinal);
    self->history->seen[at].ordinal = ordinal;
    self->history->seen[at].hash = hash;
}
