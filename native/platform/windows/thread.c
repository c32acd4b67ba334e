/* thread: threads, locks and conditions. */
#include "platform/windows/inner.h"

#include <process.h>
#include <stdlib.h>

_Static_assert(sizeof(SRWLOCK) == sizeof(ss_os_mutex), "one word");
_Static_assert(sizeof(CONDITION_VARIABLE) == sizeof(ss_os_condition), "one word");
_Static_assert(sizeof(INIT_ONCE) == sizeof(ss_os_once), "one word");

typedef struct start {
    void *(*run)(void *);
    void *argument;
} start;

static unsigned __stdcall begin(void *given) {
    const start it = *(start *)given;
    free(given);
    ss_os_use_fault_stack();
    it.run(it.argument);
    return 0;
}

bool ss_os_thread_start(ss_os_thread *thread, void *(*run)(void *), void *argument) {
    start *given = malloc(sizeof *given);
    if (given == NULL)
        return false;
    *given = (start){run, argument};
    *thread = (HANDLE)_beginthreadex(NULL, 0, begin, given, 0, NULL);
    if (*thread == NULL)
        free(given);
    return *thread != NULL;
}

void ss_os_thread_set_name(const char *name) {
    wchar_t wide[16] = {0};
    for (size_t i = 0; i < 15 && name[i] != '\0'; i++)
        wide[i] = (wchar_t)(unsigned char)name[i];
    SetThreadDescription(GetCurrentThread(), wide);
}

void ss_os_thread_join(ss_os_thread thread) {
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}

void ss_os_thread_detach(ss_os_thread thread) {
    CloseHandle(thread);
}

/* ---- Locks ----------------------------------------------------------------------------- */

void ss_windows_lock(ss_os_mutex *mutex) {
    AcquireSRWLockExclusive((SRWLOCK *)mutex);
}

void ss_windows_unlock(ss_os_mutex *mutex) {
    ReleaseSRWLockExclusive((SRWLOCK *)mutex);
}

bool ss_os_condition_init(ss_os_condition *condition) {
    condition->word = NULL;
    return true;
}

bool ss_windows_wait(ss_os_condition *condition, ss_os_mutex *mutex, uint64_t until) {
    const uint64_t now = ss_os_now_ns();
    const DWORD ms = until == SS_OS_NEVER ? INFINITE : ss_windows_ms(until > now ? until - now : 0);
    return SleepConditionVariableSRW((CONDITION_VARIABLE *)condition, (SRWLOCK *)mutex, ms, 0) != 0;
}

void ss_windows_wake_all(ss_os_condition *condition) {
    WakeAllConditionVariable((CONDITION_VARIABLE *)condition);
}

static BOOL CALLBACK call(INIT_ONCE *once, void *function, void **unused) {
    (void)once, (void)unused;
    (*(void (**)(void))function)();
    return TRUE;
}

void ss_windows_call_once(ss_os_once *once, void (*function)(void)) {
    InitOnceExecuteOnce((INIT_ONCE *)once, call, &function, NULL);
}
