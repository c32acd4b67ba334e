/* steps: the script, step by step. */
#ifndef SS_CHECK_STEPS_H
#define SS_CHECK_STEPS_H

#include <stddef.h>
#include <stdint.h>

/* Plays all of it; the last that is told is that it has come to its end. */
void ss_play(const uint8_t *script, size_t len);

#endif
