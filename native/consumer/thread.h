/* thread: thread mode. A consumer on the own thread of an instance in this process.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_THREAD_H
#define SS_THREAD_H

#include "frame/dead_letter.h"
#include "plugin/instance.h"
#include "ring/queue.h"

/* cdef:begin */
#define SS_THREAD_RUNNING 0
#define SS_THREAD_ENDED 1 /* it was stopped, and everything up to the boundary is done */
#define SS_THREAD_FAILED 2

typedef struct ss_thread ss_thread;

typedef struct ss_thread_options {
    uint32_t log_id;
    uint32_t flush_idle_ms;
    uint32_t callback_timeout_ms; /* one that takes longer is told of in the log; 0: off */
    uint32_t retry_initial_ms;    /* the first pause before an event is offered again */
    uint32_t retry_max_ms;        /* the longest */
    uint32_t retry_max_time_ms;   /* then it counts as FAILED; 0: never */
} ss_thread_options;

/* Lets a loaded instance take events from a queue, on its own thread; the instance's other
 * steps have to wait until that has ended. NULL when there is no memory. */
ss_thread *ss_thread_start(ss_instance *instance, ss_queue *queue, ss_log_queue *log,
                           ss_letters *letters, const ss_thread_options *options);
/* Drain to the last event that was broadcast, and end; wait with ss_instance_wait. While
 * paused it ends at once. Say it again now and then: what was lost at the end can be told
 * of only when there is room. */
void ss_thread_stop(ss_thread *thread);
/* End after the call that is under way, and tell the plugin that it should return; what is
 * not acknowledged stays in the ring. */
void ss_thread_hurry(ss_thread *thread);
/* Go on after all. False if it has ended. */
bool ss_thread_go_on(ss_thread *thread);
/* SS_THREAD_*; `status` gets FATAL or PANIC if it failed by one. */
uint32_t ss_thread_state(const ss_thread *thread, int32_t *status);
/* For how long a callback is under way, in nanoseconds, if that is longer than it may be; 0
 * else. */
uint64_t ss_thread_late_ns(ss_thread *thread);
/* After it has ended, and before the instance is closed. The plugin's acks are not heard any
 * more. */
void ss_thread_free(ss_thread *thread);
/* cdef:end */

#endif
