/* Which blocks of the core run: for tools/mutants_measure.py, linked into each program that
 * tools/mutants_cc.sh makes.
 *
 * ss_block_runs is called at each block (-fsanitize-coverage=trace-pc). Where the
 * variable LC_RAN names a folder, the byte of the block's offset is set in a file there that bears
 * the program's or the library's name, with ~ for /, shared by all processes: a killed one loses
 * nothing. The variable's name begins as one that workers inherit. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOM = 1 << 22 }; /* bytes: more than the largest program's code */

extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static unsigned char *ran;

__attribute__((constructor(101))) static void begin(void) {
    char path[4096];
    Dl_info own;
    struct stat now;
    const char *folder = getenv("LC_RAN");
    if (folder == NULL || dladdr(__ehdr_start, &own) == 0)
        return;
    snprintf(path, sizeof path, "%s/%s", folder, own.dli_fname);
    for (char *at = path + strlen(folder) + 1; *at != '\0'; at++)
        if (*at == '/')
            *at = '~';
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0 && fstat(file, &now) == 0 && (now.st_size == ROOM || ftruncate(file, ROOM) == 0)) {
        void *map = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        ran = map == MAP_FAILED ? NULL : map;
    }
    if (file >= 0)
        close(file);
}

__attribute__((visibility("hidden"))) void ss_block_runs(void);

void ss_block_runs(void) {
    const uintptr_t at = (uintptr_t)__builtin_return_address(0) - (uintptr_t)__ehdr_start;
    if (ran != NULL && at < ROOM)
        ran[at] = 1;
}
