/* It has room on the stack for whatever comes. */
#include "rogue.h"
static void copy(slipstream_bytes bytes) {
    volatile uint8_t room[bytes.len + 1];
    for (size_t i = bytes.len + 1; i > 0; i -= i < 1024 ? i : 1024)
        room[i - 1] = 0;
    look_at(room[0]);
}
#define IN_UPDATE copy(update.value)
#define IN_BLOCK copy(block.block)
#include "good.h"
