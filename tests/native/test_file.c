/* ss_file_look and ss_file_build_id on mutations of real libraries. Arguments: iterations,
 * libraries. */
#include "check.h"
#include "library/file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEPT = 64 * 1024, ID_ROOM = 129, ID_EVERY = 16 /* mutations, for it needs a file */ };

static char folder[] = P_tmpdir "/slipstream-file-XXXXXX";

static void look(const uint8_t *bytes, size_t len, ss_file *out) {
    const ss_source source = {.file = bytes, .len = len};
    ss_file_look(&source, out);
}

static uint8_t *load(const char *path, size_t *len) {
    uint8_t *bytes = malloc(KEPT);
    FILE *file = fopen(path, "rb");
    REQUIRE(bytes != NULL && file != NULL);
    *len = fread(bytes, 1, KEPT, file);
    fclose(file);
    return bytes;
}

/* Where a change is likely to be looked at: the header, the segments, the dynamic section
 * and what it points to all lie in the first part of a small library. */
static size_t place(size_t len) {
    switch (random_below(4)) {
    case 0:
        return random_below(len < 64 ? len : 64);
    case 1:
        return random_below(len < 1024 ? len : 1024);
    case 2:
        return random_below(len < 4096 ? len : 4096);
    default:
        return random_below(len);
    }
}

static void change(uint8_t *bytes, size_t len) {
    static const uint64_t values[] = {0, 1, 4, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000,
                                      0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFF0, UINT64_MAX};
    const size_t at = place(len);
    const uint64_t value = values[random_below(sizeof values / sizeof values[0])];
    const size_t width = (size_t)1 << random_below(4);
    switch (random_below(3)) {
    case 0:
        bytes[at] ^= (uint8_t)(1 << random_below(8));
        break;
    case 1:
        bytes[at] = (uint8_t)random_u64();
        break;
    default:
        memcpy(bytes + at, &value, width < len - at ? width : len - at);
    }
}

/* Every word of the first pages replaced, with the true size of the string table and with
 * one that covers everything. */
static void replace_each_word(const uint8_t *whole, size_t len) {
    static const uint32_t values[] = {0, 0x7FFFFFFF, 0xFFFFFF00, 0xFFFFFFFF};
    static const uint64_t sizes[] = {0, INT64_MAX, UINT64_MAX};
    const size_t until = len < 8192 ? len : 8192;
    uint8_t *exact = malloc(len);
    ss_file seen;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t at = 0; at + 4 <= until; at += 4)
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                memcpy(exact, whole, len);
                for (size_t d = 0; sizes[s] != 0 && d + 16 <= len; d += 8)
                    if (exact[d] == DT_STRSZ && memcmp(exact + d + 1, "\0\0\0\0\0\0", 7) == 0)
                        memcpy(exact + d + 8, &sizes[s], 8);
                memcpy(exact + at, &values[v], 4);
                look(exact, len, &seen);
            }
    free(exact);
}

static char *path_of(const char *name) {
    static char path[sizeof folder + 16];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* The build id of these bytes is a text of digits, whatever they are; true if there is one. */
static bool look_for_build_id(int file, const uint8_t *bytes, size_t len) {
    char id[8 * ID_ROOM];
    REQUIRE(ftruncate(file, (off_t)len) == 0 && pwrite(file, bytes, len, 0) == (ssize_t)len);
    memset(id, 'x', sizeof id);
    ss_file_build_id(path_of("file"), id, sizeof id);
    REQUIRE(memchr(id, '\0', sizeof id) != NULL);
    REQUIRE(strspn(id, "0123456789abcdef") == strlen(id));
    return id[0] != '\0';
}

/* Each word of the headers, and of the note behind them, made large or small. */
static void misstate_each_word(int file, const uint8_t *whole, size_t len) {
    static const uint32_t values[] = {0, 3, 65, 127, 255, 0xFFFFFFF0, 0xFFFFFFFF};
    uint8_t *changed = malloc(len);
    REQUIRE(changed != NULL);
    for (size_t at = 0; at + 4 <= 1024; at += 4)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            memcpy(changed, whole, len);
            memcpy(changed + at, &values[v], 4);
            look_for_build_id(file, changed, len);
        }
    free(changed);
}

/* The id as it is, and not cut off where it does not fit. */
static void check_room(const char *library) {
    char id[ID_ROOM];
    char again[ID_ROOM];
    ss_file_build_id(library, id, sizeof id);
    const size_t len = strlen(id);
    REQUIRE(len > 0);
    ss_file_build_id(library, again, len + 1);
    REQUIRE(strcmp(again, id) == 0);
    ss_file_build_id(library, again, len);
    REQUIRE(again[0] == '\0');
}

static void refuse_unopened(int watch, const char *path) {
    char id[ID_ROOM];
    char event[512];
    inotify_add_watch(watch, path, IN_OPEN); /* if there is such a thing */
    ss_file_build_id(path, id, sizeof id);
    if (id[0] == '\0' && read(watch, event, sizeof event) == -1 && errno == EAGAIN)
        return;
    fprintf(stderr, "opened: %s\n", path);
    abort();
}

/* What is no plain file, or not named by a whole path, has no id. It is not even opened. */
static void refuse_odd_paths(int file, const char *library) {
    static const char *const odd[] = {"",           "[vdso]",         "file",
                                      "/nowhere",   "/dev/full",      "/proc/self/maps",
                                      "/proc/kmsg", "/proc/self/mem", "/proc/kcore"};
    static const char *const made[] = {"fifo", "dir", "link"};
    char id[ID_ROOM];
    char event[512];
    REQUIRE(chdir(folder) == 0 && mkfifo("fifo", 0600) == 0 && mkdir("dir", 0700) == 0 &&
            symlink(library, "link") == 0);
    const int watch = inotify_init1(IN_NONBLOCK);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        refuse_unopened(watch, odd[i]);
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        refuse_unopened(watch, path_of(made[i]));
    ss_file_build_id(path_of("file"), id, sizeof id); /* it is watched since it was odd */
    REQUIRE(id[0] != '\0' && read(watch, event, sizeof event) > 0);
    REQUIRE(close(watch) == 0 && close(file) == 0);
    REQUIRE(unlink("fifo") == 0 && rmdir("dir") == 0 && unlink("link") == 0 && unlink("file") == 0);
    REQUIRE(rmdir(folder) == 0);
}

int main(int argc, char **argv) {
    unsigned long ids = 0;
    unsigned long kinds[SS_FILE_FOREIGN + 1] = {0};
    unsigned long constructors = 0;
    ss_file seen;
    REQUIRE(argc > 2);
    const long iterations = atol(argv[1]);
    look((const uint8_t *)"", 0, &seen);
    REQUIRE(seen.kind == SS_FILE_EMPTY);
    REQUIRE(mkdtemp(folder) != NULL);
    check_room(argv[2]);
    const int file = open(path_of("file"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(file >= 0);
    for (int f = 2; f < argc; f++) {
        size_t len;
        uint8_t *whole = load(argv[f], &len);
        look(whole, len, &seen);
        REQUIRE(seen.kind == SS_FILE_ELF && seen.has_constructor && seen.constructor_is_function);
        REQUIRE(!seen.has_rust_constructor && seen.other_major == 0 && !seen.is_go);
        replace_each_word(whole, len);
        misstate_each_word(file, whole, len);
        for (size_t cut = 0; cut < len; cut += 1 + cut / 64) {
            uint8_t *exact = malloc(cut == 0 ? 1 : cut);
            memcpy(exact, whole, cut);
            look(exact, cut, &seen);
            ids += look_for_build_id(file, exact, cut);
            free(exact);
        }
        for (long i = 0; i < iterations; i++) {
            const size_t cut = random_below(20) == 0 ? random_below(len) + 1 : len;
            uint8_t *exact = malloc(cut);
            memcpy(exact, whole, cut);
            for (size_t changes = 1 + random_below(4); changes > 0; changes--)
                change(exact, cut);
            look(exact, cut, &seen);
            REQUIRE(seen.kind <= SS_FILE_FOREIGN);
            kinds[seen.kind]++;
            constructors += seen.has_constructor;
            if (i % ID_EVERY == 0)
                ids += look_for_build_id(file, exact, cut);
            free(exact);
        }
        if (f == argc - 1) {
            REQUIRE(look_for_build_id(file, whole, len));
            refuse_odd_paths(file, argv[f]);
        }
        free(whole);
    }
    REQUIRE(kinds[SS_FILE_ELF] > (unsigned long)iterations / 10);
    REQUIRE(kinds[SS_FILE_DAMAGED] > 0 && kinds[SS_FILE_FOREIGN] > 0);
    REQUIRE(constructors < kinds[SS_FILE_ELF]);
    REQUIRE(ids > (unsigned long)iterations / ID_EVERY / 10);
    printf("file: %ld mutations of each of %d files; %lu still libraries, %lu damaged\n", iterations,
           argc - 2, kinds[SS_FILE_ELF], kinds[SS_FILE_DAMAGED]);
    return 0;
}
