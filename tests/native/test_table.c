/* ss_table_check: a table as it should be, then mutations of it, some at the edge of memory that
 * can be read. Argument: iterations. */
#include "check.h"
#include "library/table.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long refused[SS_REFUSED_FLUSH_MISSING + 1];

static void destroy(void *instance) {
    (void)instance;
}

static int32_t flush(void *instance, uint32_t timeout_ms) {
    (void)instance;
    (void)timeout_ms;
    return SLIPSTREAM_OK;
}

/* Checks it; whatever is refused says why and what to do, and what is not can be used. */
static void check(const slipstream_plugin *at) {
    static ss_table table;
    static ss_refusal why;
    memset(&table, 0xA5, sizeof table);
    memset(&why, 0, sizeof why);
    const bool good = ss_table_check(at, "it.so", &table, &why);
    REQUIRE(good == (why.number == SS_REFUSED_NOTHING) && why.number <= SS_REFUSED_FLUSH_MISSING);
    refused[why.number]++;
    REQUIRE(good || (strncmp(why.text, "it.so", 5) == 0 && why.hint[0] != '\0'));
    REQUIRE(!good || (table.destroyable && strlen(table.name) > 0 && strlen(table.version) > 0));
}

int main(int argc, char **argv) {
    const long iterations = argc > 1 ? atol(argv[1]) : 100000;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const slipstream_plugin good = {.struct_size = sizeof good,
                                    .flags = SLIPSTREAM_FLAG_EXPLICIT_ACK,
                                    .name = "a-name",
                                    .version = "1.0 beta",
                                    .destroy = destroy,
                                    .flush = flush};
    char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED && munmap(memory + page, page) == 0);
    char *edge = memory + page - sizeof good; /* what follows cannot be read */
    check(&good);
    REQUIRE(refused[SS_REFUSED_NOTHING] == 1);
    for (long i = 0; i < iterations; i++) {
        const uint64_t values[] = {0, 1, (uintptr_t)edge, (uintptr_t)memory + page - 1, UINT64_MAX,
                                   (uintptr_t)memory + page, (uintptr_t)&good, random_u64(),
                                   sizeof good + 8, (uintptr_t)"A", (uintptr_t)""};
        memset(memory, 'x', page);
        memcpy(edge, &good, sizeof good);
        for (size_t changes = random_below(3); changes > 0; changes--) {
            const size_t width = (size_t)4 << random_below(2);
            const size_t at = width * random_below(sizeof good / width);
            memcpy(edge + at, &values[random_below(sizeof values / sizeof values[0])], width);
        }
        check((const slipstream_plugin *)(const void *)(edge + 8 * (random_below(16) == 0)));
    }
    for (uint32_t n = SS_REFUSED_TABLE_UNREADABLE; n <= SS_REFUSED_VERSION_INVALID; n++)
        REQUIRE(refused[n] > 0);
    REQUIRE(refused[SS_REFUSED_FLUSH_MISSING] > 0);
    printf("table: %ld mutations, %lu taken\n", iterations, refused[SS_REFUSED_NOTHING]);
    return 0;
}
