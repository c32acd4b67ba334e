/* library: opening and closing libraries, and which are there. */
#include "platform/windows/inner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ss_windows_path(const char *path, wchar_t out[SS_WINDOWS_PATH]) {
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, out, SS_WINDOWS_PATH) == 0)
        return false;
    for (wchar_t *c = out; *c != L'\0'; c++)
        *c = *c == L'/' ? L'\\' : *c;
    return true;
}

void ss_windows_text(const wchar_t *text, char *out, size_t room) {
    size_t len = wcslen(text);
    out[0] = '\0';
    while (len > 0 && WideCharToMultiByte(CP_UTF8, 0, text, (int)len, NULL, 0, NULL, NULL) >=
                          (int)room)
        len--;
    const int used = WideCharToMultiByte(CP_UTF8, 0, text, (int)len, out, (int)room - 1, NULL, NULL);
    out[used < 0 ? 0 : used] = '\0';
}

/* What the system says of an error, without the line end behind it. */
static void say(DWORD error, char *out, size_t room) {
    wchar_t text[512];
    const DWORD how = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS;
    DWORD len = FormatMessageW(how, NULL, error, 0, text, sizeof text / sizeof text[0] - 1, NULL);
    while (len > 0 && (text[len - 1] <= L' ' || text[len - 1] == L'.'))
        len--;
    text[len] = L'\0';
    if (len == 0)
        snprintf(out, room, "error %lu", error);
    else
        ss_windows_text(text, out, room);
}

void *ss_os_library_open(const char *path, char *why, size_t room) {
    DWORD mode;
    DWORD error = ERROR_FILENAME_EXCED_RANGE;
    HMODULE library = NULL;
    wchar_t *wide = malloc(SS_WINDOWS_PATH * sizeof *wide);
    if (wide != NULL && ss_windows_path(path, wide)) {
        SetThreadErrorMode(SEM_FAILCRITICALERRORS, &mode); /* no window that waits for somebody */
        library = LoadLibraryExW(wide, NULL,
                                 LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
        error = GetLastError();
        SetThreadErrorMode(mode, NULL);
    }
    free(wide);
    if (library == NULL)
        say(error, why, room);
    return library;
}

void *ss_os_library_symbol(void *library, const char *name) {
    const FARPROC found = GetProcAddress(library, name);
    void *symbol;
    memcpy(&symbol, &found, sizeof symbol);
    return symbol;
}

void ss_os_library_close(void *library) {
    FreeLibrary(library);
}

/* The file of a library that is there cannot be replaced. */
bool ss_os_library_needs_replaced(void *library, char *path, size_t room) {
    (void)library, (void)path, (void)room;
    return false;
}

bool ss_os_library_is_mapped(const char *path) {
    wchar_t *wide = malloc(SS_WINDOWS_PATH * sizeof *wide);
    HMODULE found = NULL;
    const bool mapped = wide == NULL || (ss_windows_path(path, wide) &&
                                         GetModuleHandleExW(
                                             GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT, wide,
                                             &found));
    free(wide);
    return mapped;
}

/* ---- What the C library calls at signals ------------------------------------------------- */

typedef void (*handler)(int);

/* It tells what is set only to who sets something; a signal in between is lost. */
static handler handler_of(int number) {
    const handler found = signal(number, SIG_IGN);
    if (found != SIG_ERR)
        signal(number, found);
    return found;
}

int ss_os_signal_into(const ss_os_range *code, size_t count) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGBREAK, SIGABRT};
    for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++)
        if (ss_os_lies_in((uintptr_t)handler_of(numbers[n]), code, count))
            return numbers[n];
    return 0;
}

static const int stop_signals[2] = {SIGINT, SIGTERM};

void ss_os_get_stop_handlers(ss_os_stop_handlers *out) {
    for (size_t i = 0; i < 2; i++)
        out->actions[i] = handler_of(stop_signals[i]);
}

const char *ss_os_put_back_stop_handlers(const ss_os_stop_handlers *kept) {
    const char *changed = NULL;
    for (size_t i = 0; i < 2; i++) {
        const handler now = signal(stop_signals[i], kept->actions[i]);
        if (now != kept->actions[i])
            changed = stop_signals[i] == SIGINT ? "SIGINT" : "SIGTERM";
    }
    return changed;
}

/* Which functions are called when a thread ends is not to be seen: fiber-local storage has them. */
int ss_os_key_into(const ss_os_range *code, size_t count) {
    (void)code, (void)count;
    return 0;
}

void ss_os_forget_keys_into(const ss_os_range *code, size_t count) {
    (void)code, (void)count;
}
