/* memory: what is mapped twice, and pages. No other process sees any of it: there is no process
 * mode here. */
#include "platform/windows/inner.h"

#include <errno.h>

/* What could not be had last, on this thread. */
static _Thread_local const char *refused_call;

static void *refused(const char *call) {
    refused_call = call;
    errno = ENOMEM;
    return NULL;
}

const char *ss_os_refused_call(void) {
    return refused_call != NULL ? refused_call : "memory";
}

void ss_os_forget_refused_call(void) {
    refused_call = NULL;
}

/* ---- Mapped twice ------------------------------------------------------------------------ */

typedef void *WINAPI virtual_alloc_2(HANDLE, void *, SIZE_T, ULONG, ULONG, MEM_EXTENDED_PARAMETER *,
                                     ULONG);
typedef void *WINAPI map_view_3(HANDLE, HANDLE, void *, ULONG64, SIZE_T, ULONG, ULONG,
                                MEM_EXTENDED_PARAMETER *, ULONG);

typedef struct placing {
    virtual_alloc_2 *reserve;
    map_view_3 *map;
} placing;

/* Since Windows 10 1803 and Server 2019. */
static placing find_placing(void) {
    placing found = {NULL, NULL};
    const HMODULE base = GetModuleHandleW(L"kernelbase.dll");
    const FARPROC reserve = base == NULL ? NULL : GetProcAddress(base, "VirtualAlloc2");
    const FARPROC map = base == NULL ? NULL : GetProcAddress(base, "MapViewOfFile3");
    if (reserve != NULL && map != NULL) {
        memcpy(&found.reserve, &reserve, sizeof found.reserve);
        memcpy(&found.map, &map, sizeof found.map);
    }
    return found;
}

/* Addresses that stay ours until views take them. */
static uint8_t *map_into_placeholder(HANDLE file, size_t head, size_t bytes) {
    const placing calls = find_placing();
    const ULONG placeholder = MEM_RESERVE | MEM_RESERVE_PLACEHOLDER;
    if (calls.reserve == NULL)
        return NULL;
    uint8_t *base = calls.reserve(NULL, NULL, head + 2 * bytes, placeholder, PAGE_NOACCESS, NULL, 0);
    if (base == NULL)
        return NULL;
    uint8_t *second = base + head + bytes;
    if (!VirtualFree(base, head + bytes, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER)) {
        VirtualFree(base, 0, MEM_RELEASE);
        return NULL;
    }
    if (calls.map(file, NULL, base, 0, head + bytes, MEM_REPLACE_PLACEHOLDER, PAGE_READWRITE, NULL,
                  0) == NULL) {
        VirtualFree(base, 0, MEM_RELEASE);
        VirtualFree(second, 0, MEM_RELEASE);
        return NULL;
    }
    if (calls.map(file, NULL, second, head, bytes, MEM_REPLACE_PLACEHOLDER, PAGE_READWRITE, NULL,
                  0) == NULL) {
        UnmapViewOfFile(base);
        VirtualFree(second, 0, MEM_RELEASE);
        return NULL;
    }
    return base;
}

/* Where those calls are missing: addresses that were free a moment ago; another thread may have
 * taken them meanwhile. */
static uint8_t *map_where_it_was_free(HANDLE file, size_t head, size_t bytes) {
    enum { TRIES = 64 };
    for (int i = 0; i < TRIES; i++) {
        uint8_t *base = VirtualAlloc(NULL, head + 2 * bytes, MEM_RESERVE, PAGE_NOACCESS);
        if (base == NULL)
            return NULL;
        VirtualFree(base, 0, MEM_RELEASE);
        if (MapViewOfFileEx(file, FILE_MAP_WRITE, 0, 0, head + bytes, base) == NULL)
            continue;
        if (MapViewOfFileEx(file, FILE_MAP_WRITE, 0, (DWORD)head, bytes, base + head + bytes) != NULL)
            return base;
        UnmapViewOfFile(base);
    }
    return NULL;
}

bool ss_windows_has_placeholders(void) {
    return find_placing().reserve != NULL;
}

uint8_t *ss_os_mirror_new(size_t head, size_t bytes, int *fd) {
    const uint64_t size = (uint64_t)head + bytes;
    if (fd != NULL) {
        refused("process mode");
        errno = ENOTSUP;
        return NULL;
    }
    /* Of the paging file, committed: without memory the answer is an error here. */
    const HANDLE file = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE,
                                           (DWORD)(size >> 32), (DWORD)size, NULL);
    if (file == NULL)
        return refused("CreateFileMapping");
    uint8_t *base = map_into_placeholder(file, head, bytes);
    if (base == NULL)
        base = map_where_it_was_free(file, head, bytes);
    CloseHandle(file); /* the views keep it */
    return base != NULL ? base : refused("MapViewOfFile");
}

const uint8_t *ss_os_mirror_open(int fd, size_t head, size_t bytes) {
    (void)fd, (void)head, (void)bytes;
    refused("process mode");
    errno = ENOTSUP;
    return NULL;
}

void ss_os_mirror_free(const uint8_t *base, size_t head, size_t bytes) {
    if (base == NULL)
        return;
    UnmapViewOfFile(base + head + bytes);
    UnmapViewOfFile(base);
}

/* ---- Pages ------------------------------------------------------------------------------- */

void *ss_os_area_new(size_t size, int *fd) {
    if (fd != NULL) {
        refused("process mode");
        errno = ENOTSUP;
        return NULL;
    }
    void *area = VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    return area != NULL ? area : refused("VirtualAlloc");
}

void *ss_os_area_open(int fd, size_t size) {
    (void)fd, (void)size;
    refused("process mode");
    errno = ENOTSUP;
    return NULL;
}

void ss_os_area_free(void *area, size_t size) {
    (void)size;
    if (area != NULL)
        VirtualFree(area, 0, MEM_RELEASE);
}

void ss_os_wipe(void *memory, size_t len) {
    SecureZeroMemory(memory, len);
}
