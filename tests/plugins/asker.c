/* asker: checks slipstream.config/1 against the config that tests/native/test_config_extension.py
 * gives it, in on_load; the first line that is wrong is its error. */
#include <slipstream.h>

#include <float.h>
#include <stdio.h>
#include <string.h>

static const slipstream_host *host;
static const slipstream_config_v1 *config;

#define REQUIRE(condition)                                                                     \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            char text[512];                                                                    \
            snprintf(text, sizeof text, "line %d: %s", __LINE__, #condition);                  \
            return slipstream_fail(host, SLIPSTREAM_FAILED, text);                             \
        }                                                                                      \
    } while (0)

#define CTX host->ctx

static int32_t check_types(void) {
    static const struct {
        const char *pointer;
        uint32_t type;
        size_t count;
    } cases[] = {
        {"/null", SLIPSTREAM_JSON_NULL, 0},     {"/true", SLIPSTREAM_JSON_BOOL, 0},
        {"/int", SLIPSTREAM_JSON_NUMBER, 0},    {"/text", SLIPSTREAM_JSON_TEXT, 5},
        {"/list", SLIPSTREAM_JSON_ARRAY, 4},    {"/object", SLIPSTREAM_JSON_OBJECT, 2},
        {"/list/3/0", SLIPSTREAM_JSON_TEXT, 4}, {"/empty", SLIPSTREAM_JSON_ARRAY, 0},
        {"/a~1b~0c", SLIPSTREAM_JSON_NUMBER, 0}, {"/", SLIPSTREAM_JSON_TEXT, 9},
        {"/\xc3\xbc", SLIPSTREAM_JSON_NUMBER, 0}, {"/object/x/y", SLIPSTREAM_JSON_TEXT, 4},
        {"/keys", SLIPSTREAM_JSON_OBJECT, 9},   {"/keys/", SLIPSTREAM_JSON_OBJECT, 1},
    };
    uint32_t type = 99;
    size_t count = 99;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        REQUIRE(config->type_at(CTX, cases[i].pointer, &type, &count) == SLIPSTREAM_OK);
        REQUIRE(type == cases[i].type);
        REQUIRE(count == cases[i].count);
    }
    REQUIRE(config->type_at(CTX, "", &type, &count) == SLIPSTREAM_OK);
    REQUIRE(type == SLIPSTREAM_JSON_OBJECT && count == 26);
    type = 99;
    static const char *const missing[] = {"/gone", "/list/4", "/list/-", "/list/01", "/list/x",
                                          "/text/0", "/null/a", "/object/", "/list/-1",
                                          "/list/99999999999999999999", "/int/", "/list/0/0",
                                          "/keys/n", "/keys/00", "/keys//0", "/\xff", "//", "/ "};
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++)
        REQUIRE(config->type_at(CTX, missing[i], &type, &count) == SLIPSTREAM_NOT_FOUND);
    static const char *const bad[] = {"int", "x/", "/a~2", "/a~", "/~/b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        REQUIRE(config->type_at(CTX, bad[i], &type, &count) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(config->type_at(CTX, NULL, &type, &count) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(config->type_at(CTX, "/int", NULL, &count) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(config->type_at(CTX, "/int", &type, NULL) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(type == 99);
    return SLIPSTREAM_OK;
}

static int32_t check_numbers(void) {
    int64_t i = 7;
    uint64_t u = 7;
    double f = 7;
    uint32_t b = 7;
    REQUIRE(config->get_bool(CTX, "/true", &b) == SLIPSTREAM_OK && b == 1);
    REQUIRE(config->get_bool(CTX, "/list/1", &b) == SLIPSTREAM_OK && b == 0);
    b = 7;
    REQUIRE(config->get_bool(CTX, "/int", &b) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->get_bool(CTX, "/null", &b) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->get_bool(CTX, "/gone", &b) == SLIPSTREAM_NOT_FOUND && b == 7);
    REQUIRE(config->get_bool(CTX, "/true", NULL) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(config->get_i64(CTX, "/int", &i) == SLIPSTREAM_OK && i == -42);
    REQUIRE(config->get_i64(CTX, "/i64_min", &i) == SLIPSTREAM_OK && i == INT64_MIN);
    REQUIRE(config->get_i64(CTX, "/i64_max", &i) == SLIPSTREAM_OK && i == INT64_MAX);
    REQUIRE(config->get_u64(CTX, "/u64_max", &u) == SLIPSTREAM_OK && u == UINT64_MAX);
    REQUIRE(config->get_u64(CTX, "/zero", &u) == SLIPSTREAM_OK && u == 0);
    i = 7;
    u = 7;
    REQUIRE(config->get_i64(CTX, "/u64_max", &i) == SLIPSTREAM_OUT_OF_RANGE);
    REQUIRE(config->get_u64(CTX, "/int", &u) == SLIPSTREAM_OUT_OF_RANGE);
    REQUIRE(config->get_i64(CTX, "/half", &i) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->get_u64(CTX, "/large", &u) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->get_i64(CTX, "/text", &i) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->get_i64(CTX, "/true", &i) == SLIPSTREAM_WRONG_TYPE && i == 7 && u == 7);
    REQUIRE(config->get_i64(CTX, "/int", NULL) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(config->get_u64(CTX, "/zero", NULL) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(config->get_f64(CTX, "/zero", NULL) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(config->get_f64(CTX, "/half", &f) == SLIPSTREAM_OK && f == -0.5);
    REQUIRE(config->get_f64(CTX, "/large", &f) == SLIPSTREAM_OK && f == DBL_MAX);
    REQUIRE(config->get_f64(CTX, "/int", &f) == SLIPSTREAM_OK && f == -42.0);
    REQUIRE(config->get_f64(CTX, "/text", &f) == SLIPSTREAM_WRONG_TYPE && f == -42.0);
    REQUIRE(config->get_i64(CTX, "/thousand", &i) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->get_f64(CTX, "/thousand", &f) == SLIPSTREAM_OK && f == 1000.0);
    REQUIRE(config->get_u64(CTX, "/minus_zero", &u) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->get_f64(CTX, "/minus_zero", &f) == SLIPSTREAM_OK && f == 0 && 1 / f < 0);
    REQUIRE(config->get_i64(CTX, "/two_63", &i) == SLIPSTREAM_OUT_OF_RANGE);
    REQUIRE(config->get_u64(CTX, "/two_63", &u) == SLIPSTREAM_OK && u == UINT64_C(1) << 63);
    REQUIRE(config->get_f64(CTX, "/two_63", &f) == SLIPSTREAM_OK && f == 9223372036854775808.0);
    REQUIRE(config->get_u64(CTX, "/i64_min", &u) == SLIPSTREAM_OUT_OF_RANGE);
    static const char *const keys[] = {"/keys/z", "/keys/a", "/keys/~0", "/keys/~1", "/keys/~01",
                                       "/keys/0", "/keys/-", "/keys/\0",  "/keys//"};
    for (int64_t k = 0; k < 9; k++)
        if (k != 7) /* what has a NUL in it no pointer leads to */
            REQUIRE(config->get_i64(CTX, keys[k], &i) == SLIPSTREAM_OK && i == k + 1);
    return SLIPSTREAM_OK;
}

static int32_t check_texts(void) {
    char buffer[256];
    size_t len = sizeof buffer;
    memset(buffer, '#', sizeof buffer);
    REQUIRE(config->get_text(CTX, "/text", buffer, &len) == SLIPSTREAM_OK);
    REQUIRE(len == 5 && memcmp(buffer, "hello#", 6) == 0);
    len = sizeof buffer;
    REQUIRE(config->get_text(CTX, "/odd", buffer, &len) == SLIPSTREAM_OK);
    REQUIRE(len == 14 && memcmp(buffer, "\"\\/\n\t\x01\xf0\x9f\x98\x80\xc3\xa9\0z", len) == 0);
    memset(buffer, '#', sizeof buffer);
    len = 4;
    REQUIRE(config->get_text(CTX, "/text", buffer, &len) == SLIPSTREAM_TOO_LARGE);
    REQUIRE(len == 5 && buffer[0] == '#');
    len = 5;
    REQUIRE(config->get_text(CTX, "/text", buffer, &len) == SLIPSTREAM_OK && buffer[5] == '#');
    len = 0;
    REQUIRE(config->get_text(CTX, "/text", NULL, &len) == SLIPSTREAM_TOO_LARGE && len == 5);
    len = 1;
    REQUIRE(config->get_text(CTX, "/text", NULL, &len) == SLIPSTREAM_INVALID_ARGUMENT && len == 1);
    REQUIRE(config->get_text(CTX, "/text", buffer, NULL) == SLIPSTREAM_INVALID_ARGUMENT);
    len = 0;
    REQUIRE(config->get_text(CTX, "/list/2", NULL, &len) == SLIPSTREAM_OK && len == 0);
    len = sizeof buffer;
    REQUIRE(config->get_text(CTX, "/int", buffer, &len) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->get_text(CTX, "/gone", buffer, &len) == SLIPSTREAM_NOT_FOUND);
    REQUIRE(len == sizeof buffer);
    REQUIRE(config->get_json(CTX, "/list", buffer, &len) == SLIPSTREAM_OK);
    REQUIRE(len == 21 && memcmp(buffer, "[1,false,\"\",[\"deep\"]]", len) == 0);
    len = 2;
    REQUIRE(config->get_json(CTX, "/list", buffer, &len) == SLIPSTREAM_TOO_LARGE && len == 21);
    len = sizeof buffer;
    REQUIRE(config->key_at(CTX, "/object", 0, buffer, &len) == SLIPSTREAM_OK);
    REQUIRE(len == 1 && buffer[0] == 'x');
    len = sizeof buffer;
    REQUIRE(config->key_at(CTX, "/object", 1, buffer, &len) == SLIPSTREAM_OK);
    REQUIRE(len == 3 && memcmp(buffer, "k\"\n", 3) == 0);
    len = sizeof buffer;
    REQUIRE(config->key_at(CTX, "/object", 2, buffer, &len) == SLIPSTREAM_NOT_FOUND);
    REQUIRE(config->key_at(CTX, "/list", 0, buffer, &len) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->key_at(CTX, "", 0, buffer, &len) == SLIPSTREAM_OK);
    REQUIRE(len == 4 && memcmp(buffer, "name", 4) == 0);
    len = sizeof buffer;
    REQUIRE(config->key_at(CTX, "/keys", 7, buffer, &len) == SLIPSTREAM_OK);
    REQUIRE(len == 2 && memcmp(buffer, "n\0", 2) == 0);
    REQUIRE(config->key_at(CTX, "/keys", 8, NULL, &len) == SLIPSTREAM_INVALID_ARGUMENT && len == 2);
    len = sizeof buffer;
    REQUIRE(config->key_at(CTX, "/keys", 8, buffer, &len) == SLIPSTREAM_OK && len == 0);
    REQUIRE(config->key_at(CTX, "/keys", SIZE_MAX, NULL, NULL) == SLIPSTREAM_NOT_FOUND);
    REQUIRE(config->key_at(CTX, "/text", 0, NULL, NULL) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->key_at(CTX, "text", 0, NULL, NULL) == SLIPSTREAM_INVALID_ARGUMENT);
    REQUIRE(config->get_text(CTX, "/null", NULL, NULL) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(config->get_json(CTX, "/null", NULL, NULL) == SLIPSTREAM_INVALID_ARGUMENT);
    len = sizeof buffer;
    REQUIRE(config->get_json(CTX, "/object/x", buffer, &len) == SLIPSTREAM_OK);
    REQUIRE(len == 12 && memcmp(buffer, "{\"y\":\"deep\"}", 12) == 0);
    len = sizeof buffer;
    REQUIRE(config->get_json(CTX, "/keys/0", buffer, &len) == SLIPSTREAM_OK);
    REQUIRE(len == 1 && buffer[0] == '6');
    return SLIPSTREAM_OK;
}

/* The host gives the folders that it also puts into the config. */
static int32_t check_folders(void) {
    char folder[1024];
    char wanted[1024];
    size_t len = sizeof folder;
    size_t wanted_len = sizeof wanted;
    REQUIRE(config->config_dir(CTX, folder, &len) == SLIPSTREAM_OK);
    REQUIRE(config->get_text(CTX, "/own_config_dir", wanted, &wanted_len) == SLIPSTREAM_OK);
    REQUIRE(len == wanted_len && memcmp(folder, wanted, len) == 0);
    len = sizeof folder;
    wanted_len = sizeof wanted;
    REQUIRE(config->get_text(CTX, "/own_data_dir", wanted, &wanted_len) == SLIPSTREAM_OK);
    if (wanted_len == 0) {
        REQUIRE(config->data_dir(CTX, folder, &len) == SLIPSTREAM_NOT_FOUND);
        return SLIPSTREAM_OK;
    }
    REQUIRE(config->data_dir(CTX, folder, &len) == SLIPSTREAM_OK);
    REQUIRE(len == wanted_len && memcmp(folder, wanted, len) == 0);
    len = 1;
    REQUIRE(config->data_dir(CTX, folder, &len) == SLIPSTREAM_TOO_LARGE && len == wanted_len);
    return SLIPSTREAM_OK;
}

static int32_t on_load(void *instance, const char *json, size_t len, uint32_t reason) {
    int32_t status = SLIPSTREAM_OK;
    (void)instance;
    (void)reason;
    config = slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
    REQUIRE(config != NULL && config->struct_size >= sizeof *config);
    REQUIRE(len > 2 && json[0] == '{' && json[len - 1] == '}');
    if (status == SLIPSTREAM_OK)
        status = check_types();
    if (status == SLIPSTREAM_OK)
        status = check_numbers();
    if (status == SLIPSTREAM_OK)
        status = check_texts();
    if (status == SLIPSTREAM_OK)
        status = check_folders();
    return status;
}

/* Everything is WRONG_STATE outside of on_load. */
static uint64_t subscribed_events(void *instance) {
    char folder[1024];
    size_t len = sizeof folder;
    uint32_t value;
    (void)instance;
    if (config->get_bool(CTX, "/true", &value) != SLIPSTREAM_WRONG_STATE ||
        config->config_dir(CTX, folder, &len) != SLIPSTREAM_WRONG_STATE ||
        config->data_dir(CTX, folder, &len) != SLIPSTREAM_WRONG_STATE)
        slipstream_log(host, SLIPSTREAM_LOG_ERROR, "the config was answered in a wrong state");
    return 0;
}

static void destroy(void *instance) {
    (void)instance;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, SLIPSTREAM_FLAG_MULTI_INSTANCE, NULL, "asker", "1",
        destroy, on_load, NULL, subscribed_events, NULL, NULL, NULL};
    host = given;
    return &table;
}
