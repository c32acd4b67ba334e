#include "frame/dead_letter.h"

#include "platform/platform.h"

#include <errno.h>
#include <slipstream.h>
#include <string.h>

void ss_dead_letter_write(ss_log_queue *log, uint32_t log_id, int fd, const uint8_t *frame,
                          size_t len) {
    if (fd < 0 || frame == NULL || ss_os_file_append(fd, frame, len))
        return;
    ss_log_queue_format(log, SLIPSTREAM_LOG_ERROR, log_id,
                        "cannot write to the dead-letter file: %s; the event is lost",
                        errno == 0 ? "it takes nothing" : strerror(errno));
}
