#include "check/memory.h"

#include "check/play.h"
#include "check/notes.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    SLACK = 64 * 1024,
    WATCHED = SS_PLAY_PLACE_END | SS_PLAY_PLACE_START | SS_PLAY_PLACE_CONST | SS_PLAY_PLACE_GONE,
};

static uint8_t *map(size_t size) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        ss_give_up("there is no memory for the events of the check");
    return at;
}

static uint8_t *room; /* of plain memory, so many bytes */
static size_t room_size;

/* Memory with room around, which stays: whoever reads a little too much reads zeros, and
 * whoever reads too late reads something. A check that does not look for that does not see it. */
static uint8_t *plain(const void *data, size_t len, size_t shift) {
    if (len + shift + 2 * SLACK > room_size) {
        room_size = len + shift + 2 * SLACK + ((size_t)1 << 20);
        room = map(room_size);
    }
    uint8_t *at = room + SLACK + shift;
    if (len > 0)
        memcpy(at, data, len);
    memset(at + len, 0, 64);
    return at;
}

static ss_placed kept; /* pages are used again unless somebody may still look at them */

ss_placed ss_place(const void *data, size_t len, uint32_t place) {
    const size_t shift = place / SS_PLAY_PLACE_SHIFT % 64;
    /* Where neither end is watched there is room at both. */
    const bool is_tight = (place & (SS_PLAY_PLACE_END | SS_PLAY_PLACE_START)) != 0;
    const size_t before = (is_tight ? 0 : PAGE) + shift;
    const size_t size = (before + len + PAGE - 1) / PAGE * PAGE + (is_tight && len > 0 ? 0 : PAGE);
    ss_placed placed = {NULL, len, NULL, size, place};
    if ((place & WATCHED) == 0) {
        placed.data = plain(data, len, shift);
        return placed;
    }
    if (kept.pages != NULL && kept.size == size) {
        placed.pages = kept.pages;
        kept.pages = NULL;
    } else {
        uint8_t *around = map(size + 2 * PAGE);
        placed.pages = around + PAGE;
        if (mprotect(around, PAGE, PROT_NONE) != 0 ||
            mprotect(placed.pages + size, PAGE, PROT_NONE) != 0)
            ss_give_up("memory cannot be protected here");
    }
    placed.data = placed.pages + ((place & SS_PLAY_PLACE_END) != 0 ? size - len : before);
    memset(placed.pages, 0, size);
    if (len > 0)
        memcpy(placed.data, data, len);
    if ((place & SS_PLAY_PLACE_CONST) != 0)
        mprotect(placed.pages, size, PROT_READ);
    if ((place & (SS_PLAY_PLACE_GONE | SS_PLAY_PLACE_KEEP)) == 0)
        kept = placed;
    return placed;
}

void ss_place_leave(ss_placed *placed) {
    if (placed->pages == NULL)
        return;
    /* Not given back: something else would be there instead. */
    const bool is_gone = (placed->place & SS_PLAY_PLACE_GONE) != 0;
    mprotect(placed->pages, placed->size, is_gone ? PROT_NONE : PROT_READ | PROT_WRITE);
    if (is_gone)
        ss_trace()->gone = 1;
}
