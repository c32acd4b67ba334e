#include "library/table.h"

#include "library/peek.h"
#include "platform/platform.h"

#include <string.h>

static bool is_name(const char *name, size_t len) {
    if (len == 0 || name[0] == '.' || name[0] == '_' || name[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        const char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static bool is_printable(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7E)
            return false;
    return len > 0;
}

typedef struct text_rule {
    const char *field;
    const char *rule;
    bool (*holds)(const char *, size_t);
    uint32_t refusal;
} text_rule;

static const text_rule names = {
    "name",
    "a name is 1 to 63 of a-z, 0-9, '.', '_' and '-', and starts with a letter or a digit",
    is_name,
    SS_REFUSED_NAME_INVALID,
};
static const text_rule versions = {
    "version",
    "a version is 1 to 63 printable ASCII characters",
    is_printable,
    SS_REFUSED_VERSION_INVALID,
};

static bool check_text(const char *address, const text_rule *rule, char *out, const char *shown,
                       ss_refusal *why) {
    const int len = ss_peek_text(address, out, SLIPSTREAM_NAME_MAX + 1);
    if (len >= 0 && rule->holds(out, (size_t)len))
        return true;
    const char *field = rule->field;
    if (address == NULL)
        ss_refuse(why, rule->refusal, "%s: slipstream_plugin::%s is NULL", shown, field);
    else if (len == -1)
        ss_refuse(why, rule->refusal,
                  "%s: slipstream_plugin::%s points to memory that cannot be read (0x%zx)", shown,
                  field, (size_t)address);
    else if (len == -2)
        ss_refuse(why, rule->refusal, "%s: slipstream_plugin::%s is longer than %d bytes", shown,
                  field, SLIPSTREAM_NAME_MAX);
    else
        ss_refuse(why, rule->refusal, "%s: slipstream_plugin::%s is \"%.*s\"", shown, field, len,
                  out);
    out[0] = '\0';
    return ss_advise(why, "%s", rule->rule);
}

/* Copies the table as soon as its size is known to be there. */
static bool read_table(const slipstream_plugin *at, slipstream_plugin *copy, const char *shown,
                       ss_refusal *why) {
    uint32_t size = 0;
    if (!ss_os_read_memory(at, &size, sizeof size)) {
        ss_refuse(why, SS_REFUSED_TABLE_UNREADABLE,
                  "%s: the constructor returned 0x%zx, which is not readable memory", shown,
                  (size_t)at);
        return ss_advise(why, "return a table that lives until destroy has returned");
    }
    if (size >= sizeof *copy && ss_os_read_memory(at, copy, sizeof *copy))
        return true;
    if (size < sizeof *copy)
        ss_refuse(why, SS_REFUSED_TABLE_TOO_SMALL,
                  "%s: the plugin's table is %u bytes, the smallest of ABI 1.0 is %zu", shown,
                  (unsigned)size, sizeof *copy);
    else
        ss_refuse(why, SS_REFUSED_TABLE_UNREADABLE,
                  "%s: the plugin's table at 0x%zx says that it is %u bytes, but ends before", shown,
                  (size_t)at, (unsigned)size);
    return ss_advise(why, "set struct_size to sizeof(slipstream_plugin)");
}

static bool check_functions(const slipstream_plugin *table, const char *shown, ss_refusal *why) {
    static const char *const functions[] = {"destroy",           "on_load",      "on_unload",
                                            "subscribed_events", "on_broadcast", "flush",
                                            "get_extension"};
    enum { FUNCTIONS = sizeof functions / sizeof functions[0] };
    uintptr_t addresses[FUNCTIONS];
    if (table->destroy == NULL) {
        ss_refuse(why, SS_REFUSED_FUNCTION_MISSING, "%s: slipstream_plugin::destroy is NULL",
                  shown);
        return ss_advise(why, "destroy is required; give it a function that frees the instance");
    }
    memcpy(addresses, (const char *)table + offsetof(slipstream_plugin, destroy), sizeof addresses);
    const int bad = ss_os_find_not_executable(addresses, FUNCTIONS);
    if (bad < 0)
        return true;
    ss_refuse(why, SS_REFUSED_FUNCTION_INVALID,
              "%s: slipstream_plugin::%s is 0x%zx, which is not executable memory", shown,
              functions[bad], (size_t)addresses[bad]);
    return ss_advise(why, "set every unused function to NULL, the others to functions");
}

bool ss_table_check(const slipstream_plugin *at, const char *shown, ss_table *out,
                    ss_refusal *why) {
    const slipstream_plugin *table = &out->plugin;
    slipstream_plugin copy;
    memset(out, 0, sizeof *out);
    if (!read_table(at, &copy, shown, why) || !check_functions(&copy, shown, why))
        return false;
    out->plugin = copy;
    out->destroyable = true;
    if (table->min_host_minor > SLIPSTREAM_ABI_MINOR) {
        ss_refuse(why, SS_REFUSED_HOST_TOO_OLD,
                  "%s needs a host of ABI %d.%u or newer, this one is %d.%d", shown,
                  SLIPSTREAM_ABI_MAJOR, (unsigned)table->min_host_minor, SLIPSTREAM_ABI_MAJOR,
                  SLIPSTREAM_ABI_MINOR);
        return ss_advise(why, "install a newer slipstream, or an older build of the plugin");
    }
    if (!check_text(table->name, &names, out->name, shown, why) ||
        !check_text(table->version, &versions, out->version, shown, why))
        return false;
    if ((table->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 && table->flush == NULL) {
        ss_refuse(why, SS_REFUSED_FLUSH_MISSING,
                  "%s: slipstream_plugin::flush is NULL, but the plugin has the flag EXPLICIT_ACK",
                  shown);
        return ss_advise(why, "give it a flush, or drop the flag");
    }
    return true;
}
