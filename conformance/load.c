/* load.c - what on_load is given; the probe's own config.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Every text and number that the probe's config may have. */
static const struct {
    const char *key;
    size_t at, room;
} texts[] = {{"report", offsetof(probe, report_path), PATH_ROOM},
             {"order", offsetof(probe, order_path), PATH_ROOM},
             {"claim", offsetof(probe, claim), sizeof((probe *)0)->claim}};

static const struct {
    const char *key;
    size_t at;
    uint64_t usual;
} numbers[] = {
    {"kinds", offsetof(probe, kinds), 0xFFFFFFFF000000DF}, /* all that there are */
    {"one_thread", offsetof(probe, one_thread), 0},
    {"slow_ms", offsetof(probe, slow_ms), 0},
    {"patience_ms", offsetof(probe, patience_ms), 10000},
    {"fail_load", offsetof(probe, fail_load), 0},
    {"panic_at", offsetof(probe, panic_at), 0},
    {"fatal_at", offsetof(probe, fatal_at), 0},
    {"refuse_every", offsetof(probe, refuse_every), 0},
    {"retry_every", offsetof(probe, retry_every), 0},
    {"retry_times", offsetof(probe, retry_times), 1},
    {"reject_every", offsetof(probe, reject_every), 0},
    {"undo_every", offsetof(probe, undo_every), 0},
    {"ack_every", offsetof(probe, ack_every), 3},
    {"granted", offsetof(probe, granted), 16}, /* it was not said */
};

static bool text_at(const json *config, const char *key, char *out, size_t room) {
    json value;
    if (!json_find(config, key, &value) || value.type != SLIPSTREAM_JSON_TEXT ||
        (size_t)(value.end - value.start) > room)
        return false;
    out[json_unescape(&value, out)] = '\0';
    return true;
}

static void take_own(probe *self, const json *config) {
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        text_at(config, texts[i].key, (char *)self + texts[i].at, texts[i].room);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t number = numbers[i].usual;
        json value;
        if (json_find(config, numbers[i].key, &value) && json_is_integer(&value))
            number = strtoull(value.start, NULL, 10);
        memcpy((char *)self + numbers[i].at, &number, sizeof number);
    }
}

bool read_config(probe *self, const char *text, size_t len, json *out) {
    char found[PATH_ROOM] = "";
    const bool is_object =
        text != NULL && json_parse(text, len, out) && out->type == SLIPSTREAM_JSON_OBJECT;
    if (is_object)
        take_own(self, out);
    const bool is_open = report_open(self);
    if (!check(self, LOAD_CONFIG, is_object, "%zu bytes of config are no JSON object", len))
        return false;
    text_at(out, "name", found, sizeof found);
    check(self, LOAD_NAME,
          found[0] != '\0' && found[0] != '.' && found[0] != '_' && found[0] != '-' &&
              strlen(found) <= SLIPSTREAM_NAME_MAX &&
              strspn(found, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(found),
          "the name is \"%s\"", found);
    found[0] = '\0';
    text_at(out, "libpath", found, sizeof found);
    check(self, LOAD_LIBPATH, found[0] == '/', "libpath is \"%s\"", found);
    json host;
    check(self, LOAD_HOST, !json_find(out, "host", &host) || host.type != SLIPSTREAM_JSON_OBJECT,
          "config has an object \"host\"");
    return is_open;
}

/* Another instance is not to be loaded beside this one: whoever is, holds a lock on the report. */
bool lock_second(probe *self) {
    if ((self->flags & SLIPSTREAM_FLAG_MULTI_INSTANCE) != 0)
        return true;
    self->second = open(self->report_path, O_RDONLY | O_CLOEXEC);
    return check(self, CALL_SECOND,
                 self->second >= 0 && flock(self->second, LOCK_EX | LOCK_NB) == 0,
                 "on_load comes while another instance is loaded");
}

void unlock_second(probe *self) {
    if (self->second >= 0)
        close(self->second);
    self->second = -1;
}

/* A file of "+INSTANCE" and "-INSTANCE": the last one that was loaded is to be unloaded first. */
void check_order_file(probe *self, bool is_load) {
    char line[64], own[64], alive[64][64];
    size_t count = 0;
    if (self->order_path[0] == '\0')
        return;
    const int len = snprintf(own, sizeof own, "%ld-%p", (long)self->process, (void *)self);
    FILE *file = fopen(self->order_path, "a+");
    if (file == NULL || len < 0)
        return;
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '+' && count < 64)
            memcpy(alive[count++], line + 1, sizeof line - 1);
        for (size_t i = 0; line[0] == '-' && i < count; i++)
            if (strcmp(alive[i], line + 1) == 0) {
                memmove(alive[i], alive[i + 1], (--count - i) * sizeof alive[0]);
                break;
            }
    }
    if (!is_load)
        check(self, ORDER_REVERSE, count > 0 && strcmp(alive[count - 1], own) == 0,
              "one that was loaded later is still loaded");
    fprintf(file, "%c%s\n", is_load ? '+' : '-', own);
    fclose(file);
}
