/* thread: threads, and what a condition is at first. */
#include "platform/windows/inner.h"

#include <process.h>
#include <stdlib.h>

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

bool ss_os_condition_init(ss_os_condition *condition) {
    condition->word = NULL;
    return true;
}
