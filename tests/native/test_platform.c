/* test_platform: what native/platform/platform.h promises, on this system. A port passes it.
 *
 *   platform FOLDER LIBRARY    a folder to write to; a library that can be opened */
#include "check.h"
#include "platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

enum { MS = 1000000, HEAD = SS_OS_PAGE, BYTES = 2 * SS_OS_PAGE };

static const char *folder;

static const char *in_folder(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- Time and words ----------------------------------------------------------------------- */

static void clocks(void) {
    const uint64_t start = ss_os_now_ns();
    const uint64_t ticks = ss_cpu_ticks();
    ss_os_sleep_ns(3 * MS);
    ss_os_yield();
    REQUIRE(ss_os_now_ns() - start >= 3 * MS);
    REQUIRE(!ss_cpu_has_ticks() || ss_cpu_ticks() > ticks);
    REQUIRE(ss_os_wall_ns() > UINT64_C(1700000000) * 1000 * MS);
}

static _Atomic uint32_t word;
static _Atomic uint32_t sleepers;

static void *change_word(void *unused) {
    (void)unused;
    while (atomic_load(&sleepers) == 0)
        ss_os_yield();
    ss_os_sleep_ns(5 * MS); /* it sleeps by now, most likely; if not, it must not */
    atomic_store(&word, 1);
    ss_os_wake(&word, false);
    return NULL;
}

static void words(void) {
    const uint64_t start = ss_os_now_ns();
    ss_os_wait(&word, 1, 60 * UINT64_C(1000) * MS, false); /* it is another: no wait */
    while (ss_os_now_ns() - start < 20 * MS) {
        const uint64_t left = 20 * MS - (ss_os_now_ns() - start);
        ss_os_wait(&word, 0, left > 20 * MS ? 0 : left, false); /* nobody wakes us: the deadline */
    }
    ss_os_thread waker;
    REQUIRE(ss_os_thread_start(&waker, change_word, NULL));
    atomic_store(&sleepers, 1);
    while (atomic_load(&word) == 0)
        ss_os_wait(&word, 0, 60 * UINT64_C(1000) * MS, false);
    ss_os_thread_join(waker);
    REQUIRE(ss_os_now_ns() - start < 30 * UINT64_C(1000) * MS);
    if (ss_os_has_barrier())
        REQUIRE(ss_os_barrier());
}

/* ---- Threads -------------------------------------------------------------------------------- */

static ss_os_mutex mutex;
static ss_os_condition condition;
static uint64_t counted;
static int started;
static uintptr_t selves[4];
static _Atomic int calls;

static void call_me_once(void) {
    ss_os_sleep_ns(MS); /* so that somebody comes meanwhile */
    atomic_fetch_add(&calls, 1);
}

static void *count(void *argument) {
    static ss_os_once once = SS_OS_ONCE;
    uintptr_t *self = argument;
    char name[64];
    ss_os_thread_set_name("a name that is longer than any system takes");
    REQUIRE(ss_os_thread_get_name(ss_os_thread_own_id(), name, sizeof name));
    REQUIRE(strncmp(name, "a name that is ", 15) == 0);
    ss_os_call_once(&once, call_me_once);
    REQUIRE(atomic_load(&calls) == 1);
    *self = ss_os_self();
    ss_os_mutex_lock(&mutex);
    started++;
    ss_os_condition_wake_all(&condition);
    while (started < 4)
        REQUIRE(ss_os_condition_wait(&condition, &mutex, SS_OS_NEVER));
    ss_os_mutex_unlock(&mutex);
    for (int i = 0; i < 10000; i++) {
        ss_os_mutex_lock(&mutex);
        counted++;
        ss_os_mutex_unlock(&mutex);
    }
    return NULL;
}

static void threads(void) {
    ss_os_thread ids[4];
    REQUIRE(ss_os_mutex_init(&mutex) && ss_os_condition_init(&condition));
    for (int i = 0; i < 4; i++)
        REQUIRE(ss_os_thread_start(&ids[i], count, &selves[i]));
    for (int i = 0; i < 4; i++)
        ss_os_thread_join(ids[i]);
    REQUIRE(counted == 40000);
    for (int i = 0; i < 4; i++) {
        REQUIRE(selves[i] != 0 && selves[i] != ss_os_self());
        for (int k = 0; k < i; k++)
            REQUIRE(selves[i] != selves[k]);
    }
    ss_os_mutex_lock(&mutex);
    const uint64_t until = ss_os_now_ns() + 20 * MS;
    while (ss_os_condition_wait(&condition, &mutex, until)) {
    }
    REQUIRE(ss_os_now_ns() >= until);
    REQUIRE(!ss_os_condition_wait(&condition, &mutex, 0));
    ss_os_mutex_unlock(&mutex);
    ss_os_condition_destroy(&condition);
    ss_os_mutex_destroy(&mutex);
}

/* ---- Threads that others have started --------------------------------------------------------- */

static _Atomic uint32_t number;

static void *be_seen(void *unused) {
    (void)unused;
    ss_os_thread_set_name("seen-1");
    const uint32_t own = (uint32_t)ss_os_thread_own_id();
    atomic_store(&number, own);
    while (atomic_load(&number) != 0)
        ss_os_wait(&number, own, 1000 * MS, false);
    return NULL;
}

static bool is_listed(int id) {
    int ids[256];
    const size_t listed = ss_os_thread_ids(ids, sizeof ids / sizeof ids[0]);
    for (size_t i = 0; i < listed; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* A thread waits in the C library, with its way back into ours. */
static void list(void) {
    enum { ROOM = 1024 };
    static ss_os_range all[ROOM];
    ss_os_range ours = {0, 0};
    char name[64];
    int one[1];
    ss_os_thread thread;
    REQUIRE(ss_os_thread_start(&thread, be_seen, NULL));
    while (atomic_load(&number) == 0)
        ss_os_sleep_ns(MS);
    const int id = (int)atomic_load(&number);
    REQUIRE(is_listed(id) && is_listed(ss_os_thread_own_id()));
    REQUIRE(ss_os_thread_ids(one, 1) == 1);
    REQUIRE(ss_os_thread_get_name(id, name, sizeof name) && strcmp(name, "seen-1") == 0);
    const size_t count = ss_os_code_ranges(all, ROOM);
    const uintptr_t here = (uintptr_t)be_seen;
    REQUIRE(count > 2 && ss_os_code_ranges(all, 1) == 1);
    REQUIRE(ss_os_code_ranges(all, ROOM) == count);
    for (size_t i = 0; i < count; i++)
        if (here >= all[i].start && here < all[i].end)
            ours = all[i];
    REQUIRE(ours.end > ours.start);
    while (ss_os_thread_is_in(id, &ours, 1) != 1) /* it waits soon */
        ss_os_sleep_ns(MS);
    const uintptr_t unused = (uintptr_t)ss_os_library_close;
    const ss_os_range nowhere = {unused, unused + 1};
    REQUIRE(!ss_os_thread_is_in(id, &nowhere, 1) && !ss_os_thread_is_in(id, &ours, 0));
    atomic_store(&number, 0);
    ss_os_wake(&number, false);
    ss_os_thread_join(thread);
    while (is_listed(id)) /* the system may take a moment to forget it */
        ss_os_sleep_ns(MS);
    REQUIRE(!ss_os_thread_get_name(id, name, sizeof name));
}

/* ---- Memory --------------------------------------------------------------------------------- */

#if defined(__linux__) && defined(__x86_64__)
/* A stack of our own making, so that each word of it can be the one that leads into a library. */
static uintptr_t *made_stack;

static void *wait_on_made_stack(void *unused) {
    (void)unused;
    atomic_store(&number, (uint32_t)ss_os_thread_own_id());
    while (atomic_load(&word) == 1) {
        long long result = 202; /* futex: wait while the word is 1 (128: in this process) */
        __asm__ volatile("xor %%r10d, %%r10d\n\tmov %%rsp, %%rbx\n\tmov %[stack], %%rsp\n\t"
                         "syscall\n\tmov %%rbx, %%rsp"
                         : "+a"(result)
                         : [stack] "r"(made_stack), "D"(&word), "S"(128LL), "d"(1LL)
                         : "rbx", "r10", "rcx", "r11", "memory");
    }
    return NULL;
}

static void stacks(void) {
    enum { WORDS = 16 * 512 + 16 };
    const ss_os_range code = {0x123450000, 0x123460000};
    static uintptr_t made[WORDS];
    ss_os_thread thread;
    made_stack = made;
    atomic_store(&word, 1);
    atomic_store(&number, 0);
    REQUIRE(ss_os_thread_start(&thread, wait_on_made_stack, NULL));
    while (atomic_load(&number) == 0)
        ss_os_sleep_ns(MS);
    const int id = (int)atomic_load(&number);
    made[0] = code.start;
    bool waits = false;
    for (int i = 0; !waits && i < 10000; i++) {
        ss_os_sleep_ns(MS);
        waits = ss_os_thread_is_in(id, &code, 1) == 1;
    }
    REQUIRE(waits);
    for (size_t at = 1; at < 16 * 512; at = at < 8 ? at + 1 : at * 2 - 1) {
        made[0] = 0;
        made[at] = code.end - 1;
        REQUIRE(ss_os_thread_is_in(id, &code, 1));
        made[at] = code.end;
        REQUIRE(!ss_os_thread_is_in(id, &code, 1));
        made[at] = 0;
    }
    made[16 * 512] = code.start; /* so far up nobody looks */
    REQUIRE(!ss_os_thread_is_in(id, &code, 1));
    atomic_store(&word, 0);
    ss_os_wake(&word, false);
    ss_os_thread_join(thread);
}
#else
static void stacks(void) {
}
#endif

static void mirror(void) {
    uint8_t *base = ss_os_mirror_new(HEAD, BYTES, NULL);
    REQUIRE(base != NULL);
    for (size_t i = 0; i < HEAD + 2 * BYTES; i++)
        REQUIRE(base[i] == 0);
    for (int i = 0; i < 1000; i++) {
        volatile uint8_t *at = base + HEAD + random_below(BYTES); /* compilers know no second view */
        *at = (uint8_t)random_u64();
        REQUIRE(at[BYTES] == *at);
        at[BYTES] ^= 1;
        REQUIRE(at[BYTES] == *at);
    }
    REQUIRE(base[0] == 0 && base[HEAD - 1] == 0);
    ss_os_mirror_free(base, HEAD, BYTES);
    ss_os_mirror_free(NULL, HEAD, BYTES);
    uint8_t *area = ss_os_area_new(SS_OS_PAGE, NULL);
    REQUIRE(area != NULL && area[0] == 0 && area[SS_OS_PAGE - 1] == 0);
    area[SS_OS_PAGE - 1] = 7;
    ss_os_wipe(area, SS_OS_PAGE);
    REQUIRE(area[SS_OS_PAGE - 1] == 0);
    ss_os_area_free(area, SS_OS_PAGE);
    ss_os_area_free(NULL, SS_OS_PAGE);
}

/* For another process; tests/native/test_ring_process.c tries to break it. */
static void shared(void) {
    int fd = -1;
    uint8_t *base = ss_os_mirror_new(HEAD, BYTES, &fd);
    if (base == NULL) {
        REQUIRE(errno == ENOTSUP);
        return;
    }
    const uint8_t *again = ss_os_mirror_open(fd, HEAD, BYTES);
    REQUIRE(again != NULL && again != base);
    base[HEAD + 5] = 42;
    REQUIRE(again[HEAD + 5] == 42 && again[HEAD + BYTES + 5] == 42);
    ss_os_mirror_free(again, HEAD, BYTES);
    ss_os_mirror_free(base, HEAD, BYTES);
    ss_os_file_close(fd);
    uint8_t *area = ss_os_area_new(SS_OS_PAGE, &fd);
    uint8_t *other = area == NULL ? NULL : ss_os_area_open(fd, SS_OS_PAGE);
    REQUIRE(other != NULL && other != area);
    other[9] = 9;
    REQUIRE(area[9] == 9);
    ss_os_area_free(other, SS_OS_PAGE);
    ss_os_area_free(area, SS_OS_PAGE);
    ss_os_file_close(fd);
}

static void foreign(void) {
    static const char text[] = "readable";
    char copy[sizeof text];
    uint8_t *area = ss_os_area_new(2 * SS_OS_PAGE, NULL);
    REQUIRE(ss_os_read_memory(text, copy, sizeof copy) && strcmp(copy, text) == 0);
    REQUIRE(!ss_os_read_memory(NULL, copy, 1));
    REQUIRE(!ss_os_read_memory((const void *)(uintptr_t)64, copy, sizeof copy));
    const uintptr_t good[] = {(uintptr_t)mirror, 0, (uintptr_t)foreign};
    const uintptr_t bad[] = {(uintptr_t)mirror, 0, (uintptr_t)area, (uintptr_t)foreign};
    const uintptr_t nowhere[] = {64};
    REQUIRE(ss_os_find_not_executable(good, 3) == -1);
    REQUIRE(ss_os_find_not_executable(bad, 4) == 2);
    REQUIRE(ss_os_find_not_executable(nowhere, 1) == 0);
    ss_os_area_free(area, 2 * SS_OS_PAGE);
    REQUIRE(!ss_os_read_memory(area, copy, 1) && ss_os_find_not_executable(bad, 4) == 2);
}

/* ---- Libraries and files ---------------------------------------------------------------------- */

static void on_signal(int number) {
    (void)number;
}

static void signals(void) {
    const ss_os_range here = {(uintptr_t)on_signal, (uintptr_t)on_signal + 1};
    ss_os_stop_handlers kept;
    REQUIRE(ss_os_signal_into(&here, 1) == 0);
    ss_os_get_stop_handlers(&kept);
    REQUIRE(ss_os_put_back_stop_handlers(&kept) == NULL);
    REQUIRE(signal(SIGTERM, on_signal) == SIG_DFL && ss_os_signal_into(&here, 1) == SIGTERM);
    REQUIRE(strcmp(ss_os_put_back_stop_handlers(&kept), "SIGTERM") == 0);
    REQUIRE(ss_os_signal_into(&here, 1) == 0 && signal(SIGTERM, SIG_DFL) == SIG_DFL);
    REQUIRE(signal(SIGUSR2, on_signal) == SIG_DFL && ss_os_signal_into(&here, 1) == SIGUSR2);
    REQUIRE(ss_os_put_back_stop_handlers(&kept) == NULL && signal(SIGUSR2, SIG_DFL) == on_signal);
}

static void library(const char *path) {
    char why[512] = "";
    REQUIRE(ss_os_library_open(in_folder("nowhere"), why, sizeof why) == NULL && why[0] != '\0');
    REQUIRE(strstr(why, folder) == NULL);
    REQUIRE(!ss_os_library_is_mapped(path));
    void *opened = ss_os_library_open(path, why, sizeof why);
    REQUIRE(opened != NULL && ss_os_library_is_mapped(path));
    const uintptr_t function =
        (uintptr_t)ss_os_library_symbol(opened, "slipstream_create_plugin_v1");
    REQUIRE(function != 0 && ss_os_find_not_executable(&function, 1) == -1);
    REQUIRE(ss_os_library_symbol(opened, "no_such_symbol") == NULL);
    ss_os_library_close(opened);
    REQUIRE(ss_os_library_is_mapped(path) == !SS_OS_UNMAPS);
}

static void files(void) {
    char text[5];
    size_t size = 1;
    REQUIRE(ss_os_file_open(in_folder("missing"), &size) == -1 && errno == ENOENT);
    REQUIRE(ss_os_file_open(folder, &size) == -1 && errno == 0);
    FILE *file = fopen(in_folder("file"), "wb");
    REQUIRE(file != NULL && fclose(file) == 0);
    int fd = ss_os_file_open(in_folder("file"), &size);
    REQUIRE(fd >= 0 && size == 0 && !ss_os_file_read(fd, 0, text, 1));
    ss_os_file_close(fd);
    fd = open(in_folder("file"), O_WRONLY | O_APPEND);
    REQUIRE(fd >= 0 && ss_os_file_append(fd, "hello", 5) && ss_os_file_append(fd, " you", 4));
    ss_os_file_close(fd);
    REQUIRE(!ss_os_file_append(fd, "x", 1) && errno == EBADF);
    fd = ss_os_file_open(in_folder("file"), &size);
    REQUIRE(fd >= 0 && size == 9);
    REQUIRE(ss_os_file_read(fd, 4, text, 5) && memcmp(text, "o you", 5) == 0);
    REQUIRE(!ss_os_file_read(fd, 5, text, 5) && !ss_os_file_append(fd, "x", 1));
    errno = 3;
    ss_os_file_close(fd);
    REQUIRE(errno == 3);
}

static void rest(void) {
    uint64_t a[2] = {0};
    uint64_t b[2] = {0};
    REQUIRE(ss_os_random(a, sizeof a) && ss_os_random(b, sizeof b));
    REQUIRE(memcmp(a, b, sizeof a) != 0);
    const uint32_t process = ss_os_process();
    REQUIRE(process != 0 && ss_os_process() == process && ss_os_is_process(process));
    REQUIRE(!ss_os_is_process(process + 1));
}

int main(int argc, char **argv) {
    REQUIRE(argc == 3);
    folder = argv[1];
    clocks();
    words();
    threads();
    list();
    stacks();
    mirror();
    shared();
    foreign();
    library(argv[2]);
    signals();
    files();
    rest();
    printf("platform: all that it promises\n");
    return 0;
}
