/* wait: words to wait for, and barriers. */
#include "platform/windows/inner.h"

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
