#include "library/exports.h"

#include <slipstream.h>
#include <stdio.h>
#include <string.h>

enum { INFO_MAGIC_LEN = sizeof SLIPSTREAM_INFO_MAGIC - 1 };

static uint32_t look_at_info(const ss_source *source, const ss_export *found, ss_file *out) {
    char magic[INFO_MAGIC_LEN];
    if (!found->is_data)
        return SS_INFO_NOT_DATA;
    if (found->is_writable)
        return SS_INFO_WRITABLE;
    if (found->room == 0)
        return SS_INFO_OUTSIDE;
    if (found->room < sizeof magic || !ss_source_get(source, found->at, magic, sizeof magic) ||
        memcmp(magic, SLIPSTREAM_INFO_MAGIC, sizeof magic) != 0)
        return SS_INFO_NO_MAGIC;
    const uint64_t limit =
        found->room < SLIPSTREAM_INFO_MAX ? found->room : (uint64_t)SLIPSTREAM_INFO_MAX;
    const uint64_t len = ss_source_text_len(source, found->at, limit);
    if (len == limit)
        return found->room > limit ? SS_INFO_TOO_LONG : SS_INFO_NOT_ENDED;
    out->info_at = found->at + sizeof magic;
    out->info_len = (uint32_t)(len - sizeof magic);
    return SS_INFO_THERE;
}

void ss_exports_look(const ss_source *source, ss_find find, void *image, ss_file *out) {
    ss_export found = {0};
    out->exports = SS_EXPORTS_READ;
    if (find(image, SLIPSTREAM_CONSTRUCTOR, &found)) {
        out->has_constructor = true;
        out->constructor_is_function = found.is_function;
    }
    found = (ss_export){0};
    out->has_rust_constructor = find(image, "_create_plugin", &found);
    for (uint32_t major = 2; major < 10 && out->other_major == 0; major++) {
        char name[sizeof SLIPSTREAM_CONSTRUCTOR];
        snprintf(name, sizeof name, "slipstream_create_plugin_v%u", (unsigned)major % 10);
        found = (ss_export){0};
        if (find(image, name, &found))
            out->other_major = major;
    }
    found = (ss_export){0};
    if (find(image, SLIPSTREAM_INFO_SYMBOL, &found))
        out->info = look_at_info(source, &found, out);
}
