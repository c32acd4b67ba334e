/* What every rogue may use, and the type of its instance. A rogue that has functions of its own
 * includes this before them and good.h behind them; others include good.h alone. */
#ifndef ROGUE_H
#define ROGUE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <slipstream.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Further members of the instance. */
#ifndef STATE
#define STATE
#endif

typedef struct rogue {
    slipstream_plugin table;
    const slipstream_host *host;
    uint64_t every; /* how many blocks there are to a line in the log */
    uint64_t blocks;
    uint64_t updates;
    uint64_t gaps;
    STATE
} rogue;

/* What is read goes here, so that it really is read. */
static inline void look_at(uint8_t byte) { __asm__ volatile("" : : "r"(byte)); }

static inline void look_at_text(const void *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        look_at(((const uint8_t *)text)[i]);
}

/* Writes what is there anyway. */
static inline void write_same(const void *at) {
    volatile uint8_t *byte = (volatile uint8_t *)(uintptr_t)at;
    *byte = *byte;
}

static inline void sleep_ms(long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

/* Sends a text to peer-1, where the host has peers. */
static inline int32_t send_text(const slipstream_host *host, uint32_t how, const char *text,
                                size_t len) {
    static const char name[] = "org.example.rogue";
    uint64_t ticket;
    const slipstream_send_v1 *peers =
        (const slipstream_send_v1 *)slipstream_extension(host, SLIPSTREAM_EXT_SEND);
    if (peers == NULL)
        return SLIPSTREAM_UNSUPPORTED;
    return peers->send(host->ctx, how, (const uint8_t *)"peer-1", 6, (const uint8_t *)name,
                       sizeof name - 1, (const uint8_t *)text, len, &ticket);
}

/* Some words of the process, zero at first, that outlive the library: for what goes wrong once
 * in a process, or after so many times, however often the library is opened. */
static inline uint64_t *process_words(void) {
    void *const at = (void *)(uintptr_t)0x500000000;
    (void)mmap(at, 4096, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0); /* once */
    return (uint64_t *)at;
}

#endif
