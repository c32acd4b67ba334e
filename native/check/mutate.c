#include "check/mutate.h"

#include <slipstream.h>
#include <string.h>

ss_dice ss_dice_of(uint64_t seed, uint64_t number) {
    return (ss_dice){seed * UINT64_C(0x9E3779B97F4A7C15) + number};
}

/* splitmix64: the state is a counter, so that neighbouring numbers give unlike sequences. */
uint64_t ss_dice_next(ss_dice *dice) {
    uint64_t z = dice->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static size_t below(ss_dice *dice, size_t limit) {
    return limit == 0 ? 0 : (size_t)(ss_dice_next(dice) % limit);
}

/* Numbers at which programs go wrong. */
static uint32_t telling_number(ss_dice *dice, uint32_t len) {
    static const uint32_t fixed[] = {0, 1, 7, 8, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF,
                                     0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF};
    const size_t count = sizeof fixed / sizeof fixed[0];
    const size_t which = below(dice, count + 3);
    return which < count ? fixed[which] : len + (uint32_t)(which - count) - 1;
}

static void store(uint8_t *at, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static void change_header(uint8_t *frame, ss_dice *dice) {
    static const size_t places[] = {16, 24, 32, 40};
    const uint64_t value =
        below(dice, 2) == 0 ? ss_dice_next(dice) : ss_dice_next(dice) >> below(dice, 64);
    store(frame + places[below(dice, 4)], value, 8);
}

void ss_mutate(uint8_t *frame, size_t len, ss_dice *dice) {
    const size_t head = slipstream_load_u16(frame + 4);
    if (head >= len)
        return;
    uint8_t *payload = frame + head;
    const size_t room = len - head;
    const size_t changes = 1 + below(dice, 4);
    for (size_t i = 0; i < changes; i++) {
        const size_t at = below(dice, room);
        switch (below(dice, 6)) {
        case 0:
            payload[at] ^= (uint8_t)(1U << below(dice, 8));
            break;
        case 1: /* offsets, lengths: words at multiples of 4 */
            if (room >= 4)
                store(payload + below(dice, room / 4) * 4, telling_number(dice, (uint32_t)room), 4);
            break;
        case 2:
            payload[at] = (uint8_t)ss_dice_next(dice);
            break;
        case 3: { /* a stretch, filled */
            const size_t stretch = 1 + below(dice, room - at);
            memset(payload + at, (int)below(dice, 256), stretch);
            break;
        }
        case 4: { /* the payload's own length, from nothing to all that is there */
            store(frame + 12, below(dice, room + 1), 4);
            break;
        }
        default:
            change_header(frame, dice);
            break;
        }
    }
}
