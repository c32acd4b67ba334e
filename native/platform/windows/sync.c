/* sync: clocks, locks and conditions, on which everything else here stands. */
#include "platform/windows/inner.h"

_Static_assert(sizeof(SRWLOCK) == sizeof(ss_os_mutex), "one word");
_Static_assert(sizeof(CONDITION_VARIABLE) == sizeof(ss_os_condition), "one word");
_Static_assert(sizeof(INIT_ONCE) == sizeof(ss_os_once), "one word");

DWORD ss_windows_ms(uint64_t ns) {
    const uint64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    return ms < INFINITE ? (DWORD)ms : INFINITE;
}

/* ---- Clocks ---------------------------------------------------------------------------- */

uint64_t ss_windows_now_ns(void) {
    static _Atomic uint64_t kept; /* of a second; the same for ever */
    LARGE_INTEGER number;
    uint64_t frequency = atomic_load_explicit(&kept, memory_order_relaxed);
    if (frequency == 0) {
        QueryPerformanceFrequency(&number);
        frequency = (uint64_t)number.QuadPart;
        atomic_store_explicit(&kept, frequency, memory_order_relaxed);
    }
    QueryPerformanceCounter(&number);
    const uint64_t count = (uint64_t)number.QuadPart;
    if (frequency == 10000000) /* of nearly every machine */
        return count * 100;
    return count / frequency * 1000000000 + count % frequency * 1000000000 / frequency;
}

uint64_t ss_windows_wall_ns(void) {
    const uint64_t until_1970 = UINT64_C(116444736000000000); /* since 1601, in 100 ns */
    FILETIME now;
    GetSystemTimePreciseAsFileTime(&now);
    return (((uint64_t)now.dwHighDateTime << 32 | now.dwLowDateTime) - until_1970) * 100;
}

/* ---- Locks ----------------------------------------------------------------------------- */

void ss_windows_lock(ss_os_mutex *mutex) {
    AcquireSRWLockExclusive((SRWLOCK *)mutex);
}

void ss_windows_unlock(ss_os_mutex *mutex) {
    ReleaseSRWLockExclusive((SRWLOCK *)mutex);
}

bool ss_windows_wait(ss_os_condition *condition, ss_os_mutex *mutex, uint64_t until) {
    const uint64_t now = ss_windows_now_ns();
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
