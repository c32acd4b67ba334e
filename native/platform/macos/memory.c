/* memory: what is mapped twice, and pages. No other process sees any of it: there is no process
 * mode here. */
#include "platform/platform.h"

#include <errno.h>
#include <mach/mach.h>
#include <mach/vm_map.h>
#include <string.h>
#include <sys/mman.h>

/* What could not be had last, on this thread. */
static _Thread_local const char *refused_call;

static void *refused(const char *call, int error) {
    refused_call = call;
    errno = error;
    return NULL;
}

const char *ss_os_refused_call(void) {
    return refused_call != NULL ? refused_call : "memory";
}

void ss_os_forget_refused_call(void) {
    refused_call = NULL;
}

uint8_t *ss_os_mirror_new(size_t head, size_t bytes, int *fd) {
    const size_t whole = head + 2 * bytes;
    vm_address_t base = 0;
    vm_prot_t now;
    vm_prot_t most;
    if (fd != NULL)
        return refused("process mode", ENOTSUP);
    if (vm_allocate(mach_task_self(), &base, whole, VM_FLAGS_ANYWHERE) != KERN_SUCCESS)
        return refused("vm_allocate", ENOMEM);
    vm_address_t second = base + head + bytes;
    if (vm_remap(mach_task_self(), &second, bytes, 0, VM_FLAGS_FIXED | VM_FLAGS_OVERWRITE,
                 mach_task_self(), base + head, FALSE, &now, &most,
                 VM_INHERIT_NONE) != KERN_SUCCESS) {
        vm_deallocate(mach_task_self(), base, whole);
        return refused("vm_remap", ENOMEM);
    }
    return (uint8_t *)base;
}

const uint8_t *ss_os_mirror_open(int fd, size_t head, size_t bytes) {
    (void)fd, (void)head, (void)bytes;
    return refused("process mode", ENOTSUP);
}

void ss_os_mirror_free(const uint8_t *base, size_t head, size_t bytes) {
    if (base != NULL)
        vm_deallocate(mach_task_self(), (vm_address_t)base, head + 2 * bytes);
}

void *ss_os_area_new(size_t size, int *fd) {
    if (fd != NULL)
        return refused("process mode", ENOTSUP);
    void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    return area != MAP_FAILED ? area : refused("mmap", errno);
}

void *ss_os_area_open(int fd, size_t size) {
    (void)fd, (void)size;
    return refused("process mode", ENOTSUP);
}

void ss_os_area_free(void *area, size_t size) {
    if (area != NULL)
        munmap(area, size);
}

/* The compiler knows nothing of what such a function does. */
static void *(*const volatile set)(void *, int, size_t) = memset;

void ss_os_wipe(void *memory, size_t len) {
    set(memory, 0, len);
}
