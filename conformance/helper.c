/* helper.c - a thread of the probe's own, which uses what any thread may use; on_unload waits for
 * it, so the host must not make it wait for on_unload.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

enum { LINES_AT_THE_END = 50 };

void wait_ms(uint64_t ms) {
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000 * 1000000)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void use_host(probe *self) {
    const slipstream_host *host = &self->copy;
    int32_t ignored;
    TELL(host->log(host->ctx, SLIPSTREAM_LOG_TRACE, "probe: from another thread", 26));
    ASK(ignored, host->log_enabled(host->ctx, SLIPSTREAM_LOG_TRACE));
    ASK(ignored, host->is_stopping(host->ctx));
    (void)ignored;
}

static void *help(void *context) {
    probe *self = context;
    int32_t status;
    for (uint32_t i = 0; atomic_load(&self->helper_wanted) == 0; i++) {
        if (i % 16 == 0)
            use_host(self);
        wait_ms(2);
    }
    for (int i = 0; i < LINES_AT_THE_END; i++)
        use_host(self);
    check_metrics_once_more(self);
    if ((self->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 && self->delivered != 0 &&
        self->life == UNLOADING) {
        ASK(status, self->copy.ack(self->copy.ctx, self->delivered));
        check(self, ACK_STATE, status == SLIPSTREAM_OK, "while on_unload runs ack gave %d",
              (int)status);
    }
    atomic_store(&self->helper_done, 1);
    return NULL;
}

bool start_helper(probe *self) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    self->has_helper = pthread_create(&self->helper, NULL, help, self) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return self->has_helper;
}

/* In on_unload; and in destroy, if it was stuck there. */
void end_helper(probe *self) {
    if (!self->has_helper)
        return;
    atomic_store(&self->helper_wanted, 1);
    for (uint64_t waited = 0; atomic_load(&self->helper_done) == 0 && waited < self->patience_ms;
         waited++)
        wait_ms(1);
    const bool is_done = atomic_load(&self->helper_done) != 0;
    self->log_is_stuck = !is_done;
    check(self, UNLOAD_LOG, is_done, "a thread that logs has not come back in %llu ms",
          (unsigned long long)self->patience_ms);
    if (is_done)
        self->has_helper = pthread_join(self->helper, NULL) != 0;
}
