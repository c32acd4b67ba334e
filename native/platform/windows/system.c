/* system: files and random bytes. */
#include "platform/windows/inner.h"

#include <bcrypt.h>
#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdlib.h>
#include <string.h>

/* ---- Files ----------------------------------------------------------------------------- */

int ss_windows_errno(void) {
    switch (GetLastError()) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME:
    case ERROR_BAD_NETPATH:
        return ENOENT;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
        return EACCES;
    case ERROR_TOO_MANY_OPEN_FILES:
        return EMFILE;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
        return ENOMEM;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
        return ENOSPC;
    default:
        return EIO;
    }
}

static HANDLE handle_of(int fd) {
    return (HANDLE)_get_osfhandle(fd);
}

/* Whoever has it open may go on to write to it, to rename it or to remove it, as elsewhere. */
static HANDLE open_place(const char *path) {
    const DWORD all = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    HANDLE file = INVALID_HANDLE_VALUE;
    wchar_t *wide = malloc(SS_WINDOWS_PATH * sizeof *wide);
    errno = wide == NULL ? ENOMEM : ENOENT;
    if (wide != NULL && ss_windows_path(path, wide)) {
        file = CreateFileW(wide, GENERIC_READ, all, NULL, OPEN_EXISTING,
                           FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS, NULL);
        errno = file == INVALID_HANDLE_VALUE ? ss_windows_errno() : 0;
    }
    free(wide);
    return file;
}

int ss_os_file_open(const char *path, size_t *size) {
    BY_HANDLE_FILE_INFORMATION info;
    const DWORD others = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT |
                         FILE_ATTRIBUTE_DEVICE;
    const HANDLE file = open_place(path);
    if (file == INVALID_HANDLE_VALUE)
        return -1;
    if (GetFileType(file) != FILE_TYPE_DISK || !GetFileInformationByHandle(file, &info) ||
        (info.dwFileAttributes & others) != 0) {
        CloseHandle(file);
        errno = 0;
        return -1;
    }
    *size = (size_t)((uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow);
    const int fd = _open_osfhandle((intptr_t)file, _O_RDONLY | _O_BINARY | _O_NOINHERIT);
    if (fd < 0)
        CloseHandle(file);
    return fd;
}

bool ss_os_file_read(int fd, uint64_t at, void *out, size_t len) {
    for (size_t done = 0; done < len;) {
        const uint64_t from = at + done;
        OVERLAPPED place = {.Offset = (DWORD)from, .OffsetHigh = (DWORD)(from >> 32)};
        const DWORD piece = len - done < 1 << 30 ? (DWORD)(len - done) : 1 << 30;
        DWORD n = 0;
        if (!ReadFile(handle_of(fd), (char *)out + done, piece, &n, &place) || n == 0)
            return false;
        done += n;
    }
    return true;
}

bool ss_os_file_append(int fd, const void *data, size_t len) {
    for (size_t done = 0; done < len;) {
        const unsigned piece = len - done < 1 << 30 ? (unsigned)(len - done) : 1 << 30;
        errno = 0;
        const int n = _write(fd, (const char *)data + done, piece);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

bool ss_os_file_sync(int fd) {
    return _commit(fd) == 0;
}

bool ss_os_file_cut(int fd, uint64_t size) {
    const errno_t error = _chsize_s(fd, (long long)size);
    errno = error;
    return error == 0;
}

bool ss_os_file_size(int fd, uint64_t *size) {
    LARGE_INTEGER found;
    if (!GetFileSizeEx(handle_of(fd), &found)) {
        errno = ss_windows_errno();
        return false;
    }
    *size = (uint64_t)found.QuadPart;
    return true;
}

void ss_os_file_close(int fd) {
    const int error = errno;
    _close(fd);
    errno = error;
}

/* ---- The rest -------------------------------------------------------------------------- */

bool ss_os_random(void *out, size_t len) {
    return BCryptGenRandom(NULL, out, (ULONG)len, BCRYPT_USE_SYSTEM_PREFERRED_RNG) == 0;
}

/* There is no fork: no process ever has another one's memory. */
uint32_t ss_os_process(void) {
    return 1;
}

void ss_os_end_now(void) {
    TerminateProcess(GetCurrentProcess(), 0);
    __builtin_unreachable();
}
