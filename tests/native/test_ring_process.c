/* test_ring_process: the consumer is another process, which is killed at any moment.
 *
 *   test_ring_process TEST SEED SCALE */
#include "ring_tools.h"

#include <fcntl.h>
#include <linux/falloc.h>

/* A worker's view: the ring to read only, the control area to write. */
static ss_view map_view(int ring_fd, int control_fd, size_t bytes, uint32_t overflow) {
    ss_view view;
    REQUIRE(ss_view_open(&view, ring_fd, control_fd, bytes, overflow), "%s", strerror(errno));
    return view;
}

static uint64_t restarts;

static void die_by_signal(plugin *self) {
    (void)self;
    raise(SIGKILL);
}

static pid_t start_child(plugin *p, ss_ring *ring) {
    int control_fd;
    ss_control *control = ss_control_new(&control_fd);
    REQUIRE(control != NULL, "%s", strerror(errno));
    ss_ring_prepare_resume(ring);
    ss_ring_attach_control(ring, control);
    p->expected = ring->head->resume_after + 1;
    fflush(stdout);
    const pid_t child = fork();
    REQUIRE(child >= 0, "fork");
    if (child == 0) {
        /* The dead may have held them; a worker's are its own, and so is its host. */
        p->host.process = ss_os_process();
        memset(&p->host.ack_lock, 0, sizeof p->host.ack_lock);
        memset(&p->host.settle, 0, sizeof p->host.settle);
        memset(&p->consumer.refuse_lock, 0, sizeof p->consumer.refuse_lock);
        p->consumer.view = map_view(ring->fd, control_fd, ring->bytes, ring->overflow);
        _exit((int)ss_consume(&p->consumer));
    }
    close(control_fd);
    return child;
}

/* Reaps a child that was killed, or that ended; starts the next one in the first case. */
static bool reap(pid_t *child, plugin *p, ss_ring *ring, bool must) {
    int status;
    const pid_t pid = waitpid(*child, &status, must ? 0 : WNOHANG);
    if (pid == 0)
        return false;
    REQUIRE(pid == *child, "waitpid");
    const uint64_t acked = ss_ring_acked(ring);
    REQUIRE(ss_ring_is_sane(ring), "a killed child is no damage");
    for (uint64_t ordinal = 1; ordinal <= acked; ordinal++)
        REQUIRE(p->ledger[ordinal] >= TAKEN, "%llu acknowledged, not taken", (llu)ordinal);
    if (WIFEXITED(status)) {
        REQUIRE(WEXITSTATUS(status) == SS_CONSUMED_BOUNDARY, "%d", WEXITSTATUS(status));
        return true;
    }
    REQUIRE(WTERMSIG(status) == SIGKILL, "signal %d", WTERMSIG(status));
    *child = start_child(p, ring);
    restarts++;
    REQUIRE(ring->head->resume_after >= acked, "resumed at %llu, acknowledged %llu",
            (llu)ring->head->resume_after, (llu)acked);
    return false;
}

static void crash_once(uint32_t overflow, uint32_t flags, uint64_t n, uint64_t kill_every,
                       uint64_t seed) {
    ss_ring *ring = ss_ring_new(SS_RING_MIN, true, overflow);
    plugin *p = new_plugin(flags, n, seed);
    uint64_t random = seed * 2 + 1;
    uint8_t run[16 * 1024];
    uint64_t lost = 0;
    restarts = 0;
    patience wait = {0};
    REQUIRE(ring != NULL, "%s", strerror(errno));
    p->die = die_by_signal;
    p->crash_every = 5000;
    pid_t child = start_child(p, ring);
    while (ring->last < n) {
        size_t len = 0;
        uint32_t count = 0;
        for (const uint64_t wanted = 1 + below(&random, 30); count < wanted;) {
            if (ring->last + count == n)
                break;
            const size_t more = FRAME_LEAST + 8 * below(&random, 40);
            write_event(run + len, more, ring->last + ++count);
            len += more;
        }
        for (wait.since = 0; !ss_ring_put(ring, run, len, count);) {
            if (overflow != SS_OVERFLOW_BLOCK) {
                ss_ring_lose(ring, run,
                             overflow == SS_OVERFLOW_DROP_OLDEST ? SLIPSTREAM_GAP_DROPPED_OLDEST
                                                                 : SLIPSTREAM_GAP_DROPPED_NEWEST);
                lost++;
                break;
            }
            atomic_fetch_add(&ring->head->flush_wanted, 1);
            ss_ring_wake(ring);
            sched_yield();
            if (below(&random, 5000) == 0)
                kill(child, SIGKILL);
            reap(&child, p, ring, false);
            be_patient(&wait, ss_ring_acked(ring) + restarts, "put");
        }
        ss_ring_wake(ring);
        if (below(&random, kill_every) == 0) {
            kill(child, SIGKILL);
            reap(&child, p, ring, true);
        } else if (below(&random, 100) == 0) {
            reap(&child, p, ring, false);
            usleep((useconds_t)below(&random, 200));
        }
    }
    for (wait.since = 0; !ss_ring_tell_lost(ring);) {
        atomic_fetch_add(&ring->head->flush_wanted, 1);
        ss_ring_wake(ring);
        reap(&child, p, ring, false);
        be_patient(&wait, ss_ring_acked(ring), "tell");
    }
    order_stop(ring);
    for (wait.since = 0; !reap(&child, p, ring, false);) {
        be_patient(&wait, ss_ring_acked(ring), "stop");
        usleep(200);
    }
    REQUIRE(ss_ring_acked(ring) == ring->last && ss_ring_used(ring) == 0, "%llu of %llu",
            (llu)ss_ring_acked(ring), (llu)ring->last);
    uint64_t in_gap = 0;
    for (uint64_t ordinal = 1; ordinal <= n; ordinal++) {
        REQUIRE((p->ledger[ordinal] & (TAKEN | IN_GAP)) != 0, "%llu is missing", (llu)ordinal);
        in_gap += (p->ledger[ordinal] & TAKEN) == 0;
    }
    REQUIRE(overflow != SS_OVERFLOW_BLOCK || in_gap == 0, "%llu lost", (llu)in_gap);
    REQUIRE(overflow != SS_OVERFLOW_DROP_NEWEST || in_gap == lost, "%llu lost", (llu)in_gap);
    /* With drop_oldest a call may be over, and its events dropped, when it is killed before
     * it acknowledges them. */
    const uint64_t most = overflow != SS_OVERFLOW_DROP_OLDEST     ? 0
                          : (flags & SLIPSTREAM_FLAG_BATCH) == 0 ? restarts
                                                                 : restarts * 30;
    REQUIRE(in_gap <= ss_ring_lost(ring) && ss_ring_lost(ring) <= in_gap + most,
            "%llu in gaps, %llu lost", (llu)in_gap, (llu)ss_ring_lost(ring));
    printf("overflow %u, flags %2u: %llu events, %llu calls, %llu kills, %llu lost, %llu repeats\n",
           overflow, flags, (llu)n, (llu)p->calls, (llu)restarts, (llu)ss_ring_lost(ring),
           (llu)p->repeats);
    free_plugin(p);
    ss_ring_free(ring);
}

static void crash(uint64_t seed, uint64_t scale) {
    for (uint32_t overflow = 0; overflow <= SS_OVERFLOW_DROP_OLDEST; overflow++)
        for (uint32_t batch = 0; batch < 2; batch++) {
            const uint32_t flags = batch != 0 ? SLIPSTREAM_FLAG_BATCH : 0;
            crash_once(overflow, flags, 60000 * scale, 50, seed++);
            if (overflow != SS_OVERFLOW_DROP_OLDEST)
                crash_once(overflow, flags | SLIPSTREAM_FLAG_EXPLICIT_ACK, 20000 * scale, 200,
                           seed++);
        }
}

/* ---- What a worker tries with its descriptors ------------------------------------------ */

static void try_everything(ss_ring *ring, int control_fd) {
    const size_t bytes = ring->bytes;
    const off_t whole = (off_t)(SS_OS_PAGE + bytes);
    const int fd = ring->fd;
    char path[64];
    char byte = 1;
    ss_view view = map_view(fd, control_fd, bytes, 0);
    void *page = (void *)(uintptr_t)view.head;
    REQUIRE(mprotect(page, SS_OS_PAGE + bytes, PROT_READ | PROT_WRITE) != 0, "mprotect");
    REQUIRE(mmap(NULL, SS_OS_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED,
            "mmap");
    REQUIRE(pwrite(fd, &byte, 1, 0) < 0, "pwrite");
    REQUIRE(ftruncate(fd, 0) != 0 && ftruncate(fd, whole + SS_OS_PAGE) != 0, "ftruncate");
    REQUIRE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SS_OS_PAGE) != 0, "punch");
    REQUIRE(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, SS_OS_PAGE) != 0, "zero");
    REQUIRE(fallocate(fd, 0, whole, SS_OS_PAGE) != 0, "grow");
    REQUIRE(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) != 0, "more seals");
    REQUIRE(madvise(page, SS_OS_PAGE, MADV_REMOVE) != 0, "remove");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const int again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0) {
        REQUIRE(pwrite(again, &byte, 1, 0) < 0, "pwrite to what was opened again");
        REQUIRE(mmap(NULL, SS_OS_PAGE, PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED,
                "mmap again");
    }
    REQUIRE(ftruncate(control_fd, 0) != 0 && ftruncate(control_fd, whole) != 0, "control");
    REQUIRE(fcntl(control_fd, F_ADD_SEALS, F_SEAL_WRITE) != 0, "control's seals");
    REQUIRE(mmap(page, SS_OS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == page,
            "a private copy is its own");
    memset(page, 0xFF, 64);
}

static void attack(uint64_t seed, uint64_t scale) {
    ss_ring *ring = ss_ring_new(SS_RING_MIN, true, SS_OVERFLOW_BLOCK);
    uint8_t frame[FRAME_LEAST];
    int control_fd;
    int status;
    (void)seed;
    (void)scale;
    REQUIRE(ring != NULL, "%s", strerror(errno));
    REQUIRE(ss_ring_get_control(ring) == NULL, "a control area out of nowhere");
    write_event(frame, sizeof frame, 1);
    REQUIRE(ss_ring_put(ring, frame, sizeof frame, 1), "room");
    ss_ring_wake(ring);
    REQUIRE(ss_ring_acked(ring) == 0 && ss_ring_is_sane(ring), "nobody acknowledges");
    ss_control *control = ss_control_new(&control_fd);
    REQUIRE(control != NULL, "%s", strerror(errno));
    ss_ring_attach_control(ring, control);
    const uint64_t head = ring->head->head;
    const pid_t child = fork();
    if (child == 0) {
        try_everything(ring, control_fd);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child && status == 0, "status %x", (unsigned)status);
    REQUIRE(ring->head->head == head && ring->data[24 + 16] == 1, "the ring was written to");
    /* And it still works. */
    write_event(frame, sizeof frame, 2);
    REQUIRE(ss_ring_put(ring, frame, sizeof frame, 1), "room");
    close(control_fd);
    ss_ring_free(ring);
    printf("all refused\n");
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const uint64_t scale = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    const char *test = argc > 1 ? argv[1] : "";
    if (strcmp(test, "crash") == 0)
        crash(seed, scale);
    else if (strcmp(test, "attack") == 0)
        attack(seed, scale);
    else
        return 2;
    return 0;
}
