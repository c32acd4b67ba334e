#include "frame/dead_letter.h"

#include <errno.h>
#include <slipstream.h>
#include <string.h>
#include <unistd.h>

void ss_dead_letter_write(ss_log_queue *log, uint32_t log_id, int fd, const uint8_t *frame,
                          size_t len) {
    size_t done = 0;
    while (fd >= 0 && frame != NULL && done < len) {
        const ssize_t n = write(fd, frame + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            ss_log_queue_format(log, SLIPSTREAM_LOG_ERROR, log_id,
                                "cannot write to the dead-letter file: %s; the event is lost",
                                n < 0 ? strerror(errno) : "it takes nothing");
            return;
        }
        done += (size_t)n;
    }
}
