#include "check/notes.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static struct {
    int pipe;
    uint64_t nonce;
    ss_play_trace *trace;
    pid_t process;
    uint32_t step; /* in which a call began last: a child that comes back late tells of that */
    pthread_mutex_t lock;
} to = {.lock = PTHREAD_MUTEX_INITIALIZER};

void ss_note_to(int pipe, uint64_t nonce, ss_play_trace *trace) {
    to.pipe = pipe;
    to.nonce = nonce;
    to.trace = trace;
    to.process = getpid();
}

ss_play_trace *ss_trace(void) {
    return to.trace;
}

static void write_all(const void *data, size_t len) {
    const char *at = data;
    while (len > 0) {
        const ssize_t done = write(to.pipe, at, len);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            _exit(SS_PLAY_UNHEARD);
        at += done;
        len -= (size_t)done;
    }
}

static uint8_t whole[PIPE_BUF]; /* a note that goes out; the lock is held */

void ss_note(uint32_t what, int32_t status, uint64_t a, uint64_t b, const void *text, size_t len) {
    const ss_played head = {to.nonce, to.trace->step, what, status, (uint32_t)len, a, b};
    if (getpid() != to.process)
        return; /* the lock may be held there for good */
    pthread_mutex_lock(&to.lock);
    const size_t first = len < sizeof whole - sizeof head ? len : sizeof whole - sizeof head;
    memcpy(whole, &head, sizeof head);
    if (first > 0)
        memcpy(whole + sizeof head, text, first);
    write_all(whole, sizeof head + first); /* at once: what a child says comes before or behind it */
    if (len > first)
        write_all((const char *)text + first, len - first);
    pthread_mutex_unlock(&to.lock);
}

void ss_note_text(uint32_t what, int32_t status, const char *text) {
    ss_note(what, status, 0, 0, text, strlen(text));
}

void ss_give_up(const char *why) {
    ss_note_text(SS_PLAYED_UNPLAYED, 0, why);
    _exit(SS_PLAY_UNHEARD);
}

void ss_call_begins(void) {
    to.step = to.trace->step;
    __atomic_add_fetch(&to.trace->calls, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&to.trace->in_call, 1, __ATOMIC_RELAXED);
}

void ss_call_ends(void) {
    if (getpid() != to.process) {
        const ss_played head = {to.nonce, to.step, SS_PLAYED_CHILD, 0, 0, 0, 0};
        write_all(&head, sizeof head); /* whole, for it is short; and the lock may be held for good */
        _exit(0);
    }
    __atomic_sub_fetch(&to.trace->in_call, 1, __ATOMIC_RELAXED);
}
