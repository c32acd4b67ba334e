/* Packed configs: one that is as it should be, then mutations of it, each in memory of exactly
 * its size, asked for everything. Argument: iterations. */
#include "packed.h"
#include "plugin/host.h"

static ss_host host;
static const slipstream_config_v1 *const config = &ss_host_config_table;
static unsigned long opened;
static unsigned long found;

static void ask(const char *pointer) {
    uint32_t type;
    size_t count;
    uint32_t flag;
    int64_t i;
    uint64_t u;
    double f;
    char buffer[64];
    const int32_t status = config->type_at(&host, pointer, &type, &count);
    REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_NOT_FOUND ||
            status == SLIPSTREAM_INVALID_ARGUMENT);
    if (status != SLIPSTREAM_OK)
        return;
    found++;
    REQUIRE(type <= SLIPSTREAM_JSON_OBJECT);
    for (size_t room = 0; room <= sizeof buffer; room += sizeof buffer) {
        size_t len = room;
        const int32_t got = config->get_text(&host, pointer, buffer, &len);
        REQUIRE((got == SLIPSTREAM_WRONG_TYPE) == (type != SLIPSTREAM_JSON_TEXT));
        REQUIRE(got == SLIPSTREAM_WRONG_TYPE || len == count);
        len = room;
        config->get_json(&host, pointer, buffer, &len);
        for (size_t at = 0; at < 3; at++) {
            len = room;
            config->key_at(&host, pointer, at, buffer, &len);
        }
    }
    config->get_bool(&host, pointer, &flag);
    config->get_i64(&host, pointer, &i);
    config->get_u64(&host, pointer, &u);
    config->get_f64(&host, pointer, &f);
}

/* Bytes, words of the head and of entries, and the length. */
static size_t mutate(char *bytes, size_t len, uint32_t entries) {
    static const uint32_t values[] = {0, 1, 2, 5, 6, 64, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
    const size_t words = (sizeof(ss_packed_head) + entries * sizeof(ss_packed_entry)) / 4;
    for (size_t changes = random_below(4); changes > 0; changes--) {
        const uint32_t word = random_below(2) == 0 ? values[random_below(10)]
                                                   : (uint32_t)random_below(len + 8);
        if (random_below(4) == 0)
            bytes[random_below(len)] = (char)random_u64();
        else
            memcpy(bytes + 4 * random_below(words), &word, sizeof word);
    }
    return random_below(16) == 0 ? random_below(len + 1) : len;
}

int main(int argc, char **argv) {
    static const char *const pointers[] = {"", "/text", "/number", "/list", "/list/0", "/list/1",
                                           "/", "/list/2", "/text/0", "x", "/~2", "/~", "/a~1b/c"};
    const long iterations = argc > 1 ? atol(argv[1]) : 200000;
    packed p;
    packed_new(&p);
    packed_add_text(&p, "text", "a text");
    packed_add_number(&p, 0, "number", -1);
    packed_add_text(&p, "", "");
    packed_add_numbers(&p, "list", 2, (const int64_t[]){7, 8});
    atomic_store(&host.life, SS_LOADING);
    for (long i = 0; i < iterations; i++) {
        size_t len;
        char *whole = packed_bytes(&p, &len);
        const size_t cut = i == 0 ? len : mutate(whole, len, p.count);
        char *exact = malloc(cut == 0 ? 1 : cut);
        REQUIRE(exact != NULL);
        memcpy(exact, whole, cut);
        if (ss_host_config_open(&host.config, exact, cut)) {
            opened++;
            REQUIRE(strlen(host.config.json) <= host.config.json_len); /* some plugins rely on it */
            for (size_t k = 0; k < sizeof pointers / sizeof pointers[0]; k++)
                ask(pointers[k]);
            ss_host_config_close(&host.config);
            for (size_t k = 0; k < cut; k++)
                REQUIRE(exact[k] == 0); /* nobody finds a secret there */
        }
        REQUIRE(i > 0 || found == 7);
        free(exact);
        free(whole);
    }
    REQUIRE(opened > (unsigned long)iterations / 10 && opened < (unsigned long)iterations);
    printf("host_config: %ld mutations, %lu opened, %lu values found\n", iterations, opened, found);
    return 0;
}
