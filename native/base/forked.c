/* forked: is this the process that made the core, or a child of it? */
#include "sequencer/sequencer.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

/* A page that the kernel wipes in the child: 1 means that we are the one who made it. */
static volatile uint8_t *fork_mark;
static pid_t fork_pid;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void make_fork_mark(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fork_pid = getpid();
    if (page == MAP_FAILED)
        return;
    if (madvise(page, 4096, MADV_WIPEONFORK) != 0) {
        munmap(page, 4096);
        return;
    }
    *(uint8_t *)page = 1;
    fork_mark = page;
}

bool ss_forked(void) {
    pthread_once(&fork_once, make_fork_mark);
    return fork_mark != NULL ? *fork_mark == 0 : getpid() != fork_pid;
}
