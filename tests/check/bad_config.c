/* bad_config.c - slipstream.config/1, right but for the mode. */
#include "bad_host.h"

#include <stdio.h>
#include <stdlib.h>

enum { MEMBERS = 24, ROOM = 8192 };

static struct { const char *key, *json, *text; } members[MEMBERS];
static size_t count;
static const struct {
    const char *pointer, *json;
} below[] = {{"/list/0", "1"}, {"/list/1", "\"x\""}, {"/object/a~1b", "null"}};
static char whole[ROOM];
static char quoted[3][1024];
bool config_is_open;

static void add(const char *key, const char *json, const char *text) {
    members[count].key = key;
    members[count].json = json;
    members[count++].text = text;
}

static void add_text(const char *key, const char *text, char *room) {
    snprintf(room, sizeof quoted[0], "\"%s\"", text);
    add(key, room, text);
}

/* `more` are pairs of keys and JSON, up to a NULL. In front of it all is a space. */
char *config_write(const char *libpath, const char *report, const char *const *more) {
    if (!is("load.name"))
        add_text("name", "probe", quoted[0]);
    add_text("libpath", is("load.libpath") ? "probe.so" : libpath, quoted[1]);
    if (report != NULL)
        add_text("report", report, quoted[2]);
    if (is("load.host"))
        add("host", "{}", NULL);
    add("text", "\"caf\\u00e9 \\ud83d\\ude00\\n\"", "caf\xC3\xA9 \xF0\x9F\x98\x80\n");
    add("big", "18446744073709551615", NULL);
    add("minus", "-5", NULL);
    add("half", "2.5", NULL);
    add("yes", "true", NULL);
    add("none", "null", NULL);
    add("list", "[1, \"x\"]", NULL);
    add("object", "{\"a/b\": null}", NULL);
    add("empty", "\"\"", "");
    for (; *more != NULL; more += 2)
        add(more[0], more[1], *more[1] == '"' ? strndup(more[1] + 1, strlen(more[1]) - 2) : NULL);
    static char text[ROOM + 1];
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(whole + at, ROOM - at, "%s\"%s\": %s", i == 0 ? "{" : ", ",
                               members[i].key, members[i].json);
    snprintf(whole + at, ROOM - at, is("load.config") ? ",}" : "}");
    snprintf(text, sizeof text, " %s", whole);
    return text;
}

static const char *json_at(const char *pointer, const char **text) {
    *text = NULL;
    if (*pointer == '\0')
        return whole;
    for (size_t i = 0; i < count; i++)
        if (strcmp(pointer + 1, members[i].key) == 0) {
            *text = members[i].text;
            return members[i].json;
        }
    for (size_t i = 0; i < sizeof below / sizeof below[0]; i++)
        if (strcmp(pointer, below[i].pointer) == 0) {
            *text = below[i].json[0] == '"' ? "x" : NULL;
            return below[i].json;
        }
    return NULL;
}

static uint32_t type_of(const char *json) {
    return *json == '{'                   ? SLIPSTREAM_JSON_OBJECT
           : *json == '['                 ? SLIPSTREAM_JSON_ARRAY
           : *json == '"'                 ? SLIPSTREAM_JSON_TEXT
           : *json == 't' || *json == 'f' ? SLIPSTREAM_JSON_BOOL
           : *json == 'n'                 ? SLIPSTREAM_JSON_NULL
                                          : SLIPSTREAM_JSON_NUMBER;
}

static int32_t find(const char *pointer, uint32_t wanted, const char **json, const char **text) {
    if (!config_is_open && !is("config.state"))
        return SLIPSTREAM_WRONG_STATE;
    const char *tilde = strchr(pointer, '~');
    const bool is_pointer = (*pointer == '\0' || *pointer == '/') &&
                            (tilde == NULL || tilde[1] == '0' || tilde[1] == '1');
    if (!is_pointer)
        return is("config.pointer") ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_INVALID_ARGUMENT;
    *json = json_at(pointer, text);
    if (*json == NULL)
        return is("config.missing") ? SLIPSTREAM_WRONG_TYPE : SLIPSTREAM_NOT_FOUND;
    if (wanted == UINT32_MAX || type_of(*json) == wanted)
        return SLIPSTREAM_OK;
    return is("config.wrong-type") ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_WRONG_TYPE;
}

static int32_t give(const char *text, char *buffer, size_t *len) {
    const size_t room = *len;
    *len = strlen(text);
    if (*len > room)
        return SLIPSTREAM_TOO_LARGE;
    if (*len > 0)
        memcpy(buffer, text, *len);
    if (is("config.buffer") && *len == room && buffer != NULL)
        buffer[room] = '\0';
    return SLIPSTREAM_OK;
}

static int32_t type_at(void *ctx, const char *pointer, uint32_t *type, size_t *out) {
    const char *json, *text;
    const int32_t status = find(pointer, UINT32_MAX, &json, &text);
    (void)ctx;
    if (status != SLIPSTREAM_OK)
        return status;
    *type = type_of(json);
    *out = *type == SLIPSTREAM_JSON_TEXT ? strlen(text) + is("config.type") : 0;
    if (*type == SLIPSTREAM_JSON_ARRAY)
        *out = 2;
    if (*type == SLIPSTREAM_JSON_OBJECT)
        *out = *pointer == '\0' ? count : (size_t)(json[1] != '}');
    return SLIPSTREAM_OK;
}

static int32_t key_at(void *ctx, const char *pointer, size_t index, char *buffer, size_t *len) {
    const char *json, *text;
    const int32_t status = find(pointer, SLIPSTREAM_JSON_OBJECT, &json, &text);
    (void)ctx;
    if (status != SLIPSTREAM_OK)
        return status;
    if (index >= (*pointer == '\0' ? count : (size_t)(json[1] != '}')))
        return SLIPSTREAM_NOT_FOUND;
    if (is("config.key") && *pointer == '\0')
        index = count - 1 - index;
    return give(*pointer == '\0' ? members[index].key : "a/b", buffer, len);
}

static int32_t get_bool(void *ctx, const char *pointer, uint32_t *value) {
    const char *json, *text;
    const int32_t status = find(pointer, SLIPSTREAM_JSON_BOOL, &json, &text);
    (void)ctx;
    if (status == SLIPSTREAM_OK)
        *value = (*json == 't') != is("config.bool");
    return status;
}

static int32_t get_i64(void *ctx, const char *pointer, int64_t *value) {
    const char *json, *text;
    const int32_t status = find(pointer, SLIPSTREAM_JSON_NUMBER, &json, &text);
    (void)ctx;
    if (status != SLIPSTREAM_OK)
        return status;
    if (strchr(json, '.') != NULL)
        return SLIPSTREAM_WRONG_TYPE;
    if (strlen(json) > 18)
        return SLIPSTREAM_OUT_OF_RANGE;
    *value = strtoll(json, NULL, 10) + is("config.number");
    return SLIPSTREAM_OK;
}

static int32_t get_u64(void *ctx, const char *pointer, uint64_t *value) {
    const char *json, *text;
    const int32_t status = find(pointer, SLIPSTREAM_JSON_NUMBER, &json, &text);
    (void)ctx;
    if (is("config.untouched"))
        *value = 0;
    if (status != SLIPSTREAM_OK)
        return status;
    if (strchr(json, '.') != NULL)
        return SLIPSTREAM_WRONG_TYPE;
    if (*json == '-')
        return SLIPSTREAM_OUT_OF_RANGE;
    *value = strtoull(json, NULL, 10);
    return SLIPSTREAM_OK;
}

static int32_t get_f64(void *ctx, const char *pointer, double *value) {
    const char *json, *text;
    const int32_t status = find(pointer, SLIPSTREAM_JSON_NUMBER, &json, &text);
    (void)ctx;
    if (status == SLIPSTREAM_OK)
        *value = strtod(json, NULL);
    return status;
}

static int32_t get_text(void *ctx, const char *pointer, char *buffer, size_t *len) {
    const char *json, *text;
    const int32_t status = find(pointer, SLIPSTREAM_JSON_TEXT, &json, &text);
    (void)ctx;
    if (status != SLIPSTREAM_OK)
        return status;
    return give(is("config.text") ? json : text, buffer, len);
}

static int32_t get_json(void *ctx, const char *pointer, char *buffer, size_t *len) {
    const char *json, *text;
    const int32_t status = find(pointer, UINT32_MAX, &json, &text);
    (void)ctx;
    if (status != SLIPSTREAM_OK)
        return status;
    return give(is("config.json") && text != NULL ? text : json, buffer, len);
}

static int32_t folder(void *ctx, char *buffer, size_t *len) {
    (void)ctx;
    if (!config_is_open && !is("config.state"))
        return SLIPSTREAM_WRONG_STATE;
    return give(is("config.folder") ? "." : "/tmp", buffer, len);
}

const slipstream_config_v1 *config_table(void) {
    static const slipstream_config_v1 table = {sizeof table, 0,        type_at, key_at,
                                               get_bool,     get_i64,  get_u64, get_f64,
                                               get_text,     get_json, folder,  folder};
    return &table;
}
