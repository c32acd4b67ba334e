/* wait: words to wait for, barriers, clocks. */
#include "platform/windows/inner.h"

DWORD ss_windows_ms(uint64_t ns) {
    const uint64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    return ms < INFINITE ? (DWORD)ms : INFINITE;
}

void ss_os_wait(const _Atomic uint32_t *word, uint32_t seen, uint64_t ns, bool shared) {
    (void)shared;
    WaitOnAddress((volatile void *)(uintptr_t)word, &seen, sizeof seen, ss_windows_ms(ns));
}

void ss_os_wake(const _Atomic uint32_t *word, bool shared) {
    (void)shared;
    WakeByAddressSingle((void *)(uintptr_t)word);
}

bool ss_os_has_barrier(void) {
    return true;
}

bool ss_os_barrier(void) {
    FlushProcessWriteBuffers();
    return true;
}

void ss_os_sleep_ns(uint64_t ns) {
    Sleep(ss_windows_ms(ns));
}

void ss_os_yield(void) {
    SwitchToThread();
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
