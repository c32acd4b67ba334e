/* fuzz: events made up of others for as long as there is time, led by what they reach in the code. */
#ifndef SS_CHECK_FUZZ_H
#define SS_CHECK_FUZZ_H

#include "check/play.h"

#include <stdbool.h>

/* May be played several times, with a new instance: it then goes on where it was. */
void ss_fuzz(const ss_play_step *step, const void *data);
/* Its time is over, or all that it was to try is tried. */
bool ss_fuzz_is_over(void);

#endif
