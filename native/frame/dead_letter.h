/* dead_letter: where an event goes that a plugin did not take. */
#ifndef SS_DEAD_LETTER_H
#define SS_DEAD_LETTER_H

#include "base/log_queue.h"

/* Appends a frame to the capture `fd`; -1, or no frame: does nothing. A failure is logged. */
void ss_dead_letter_write(ss_log_queue *log, uint32_t log_id, int fd, const uint8_t *frame,
                          size_t len);

#endif
