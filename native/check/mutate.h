/* mutate: changes of a frame that come out the same for the same number. */
#ifndef SS_CHECK_MUTATE_H
#define SS_CHECK_MUTATE_H

#include <stddef.h>
#include <stdint.h>

typedef struct ss_dice {
    uint64_t state;
} ss_dice;

ss_dice ss_dice_of(uint64_t seed, uint64_t number);
uint64_t ss_dice_next(ss_dice *dice);

/* Changes the payload of a frame in place, and sometimes its header's words that say what is in
 * it (stream, sequence, time, height); it stays a frame of `len` bytes, of its kind. */
void ss_mutate(uint8_t *frame, size_t len, ss_dice *dice);

#endif
