/* inner: what the files of this folder share. */
#ifndef SS_PLATFORM_WINDOWS_INNER_H
#define SS_PLATFORM_WINDOWS_INNER_H

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include "platform/platform.h"

/* Milliseconds, rounded up: a wait never ends before its time for want of precision. */
DWORD ss_windows_ms(uint64_t ns);

enum { SS_WINDOWS_PATH = 32768 }; /* the longest path, in characters */

/* A path of UTF-8 with `/` or `\`, as the system wants it; false if it is too long or no text. */
bool ss_windows_path(const char *path, wchar_t out[SS_WINDOWS_PATH]);
/* Texts of the system as UTF-8; cut where there is no room. */
void ss_windows_text(const wchar_t *text, char *out, size_t room);
/* errno for what the system said last. */
int ss_windows_errno(void);

/* Calls `visit` for each part of each library and of the program that may be executed, until it
 * returns true. */
bool ss_windows_each_code(bool (*visit)(const ss_os_range *, void *), void *context);

/* Were two views put side by side in one step, not by chance? */
bool ss_windows_has_placeholders(void);

#endif
