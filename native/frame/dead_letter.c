#include "frame/dead_letter.h"

#include "base/text.h"
#include "frame/frame.h"
#include "platform/platform.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_ROOM = 4 * SLIPSTREAM_ERROR_MAX };

struct ss_letters {
    ss_os_mutex lock;
    ss_log_queue *log;
    uint32_t log_id;
    int fd;
    uint64_t max_bytes;
    bool is_full;   /* or there is no file; and the log has said so */
    bool is_broken; /* half a letter could not be taken back: nothing is written behind it */
    char *name;
    char *version;
    char *digest;
    uint8_t *group;
    size_t len;
    size_t room;
    uint32_t count;
};

ss_letters *ss_letters_new(ss_log_queue *log) {
    ss_letters *self = calloc(1, sizeof *self);
    if (self == NULL || !ss_os_mutex_init(&self->lock)) {
        free(self);
        return NULL;
    }
    ss_log_queue_retain(log);
    self->log = log;
    self->fd = -1;
    return self;
}

static void close_file(ss_letters *self) {
    if (self->fd >= 0)
        ss_os_file_close(self->fd);
    self->fd = -1;
}

void ss_letters_free(ss_letters *self) {
    if (self == NULL)
        return;
    close_file(self);
    ss_log_queue_release(self->log);
    ss_os_mutex_destroy(&self->lock);
    free(self->name);
    free(self->version);
    free(self->digest);
    free(self->group);
    free(self);
}

int32_t ss_letters_set_plugin(ss_letters *self, uint32_t log_id, const char *name,
                              const char *version, const char *digest) {
    char *fresh[] = {strdup(name), strdup(version), strdup(digest)};
    char **const old[] = {&self->name, &self->version, &self->digest};
    const bool all = fresh[0] != NULL && fresh[1] != NULL && fresh[2] != NULL;
    ss_os_mutex_lock(&self->lock);
    self->log_id = log_id;
    for (int i = 0; i < 3; i++) {
        free(all ? *old[i] : fresh[i]);
        if (all)
            *old[i] = fresh[i];
    }
    ss_os_mutex_unlock(&self->lock);
    return all ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY;
}

void ss_letters_open(ss_letters *self, int fd, uint64_t max_bytes) {
    ss_os_mutex_lock(&self->lock);
    close_file(self);
    self->fd = fd;
    self->max_bytes = max_bytes;
    self->is_full = self->is_broken = false;
    ss_os_mutex_unlock(&self->lock);
}

/* ---- The MARK -------------------------------------------------------------------------- */

typedef struct body {
    size_t len;
    char data[2 * TEXT_ROOM + 2048];
} body;

static void add_plain(body *b, const char *text) {
    const size_t len = strlen(text);
    if (len > sizeof b->data - b->len)
        return;
    memcpy(b->data + b->len, text, len);
    b->len += len;
}

/* A member whose value is a text without control characters. */
static void add_text(body *b, const char *key, const char *text) {
    add_plain(b, key);
    add_plain(b, "\"");
    for (; *text != '\0' && b->len + 2 < sizeof b->data - 512; text++) {
        if (*text == '"' || *text == '\\')
            b->data[b->len++] = '\\';
        b->data[b->len++] = *text;
    }
    add_plain(b, "\"");
}

static void add_number(body *b, const char *key, long long number) {
    char digits[32];
    snprintf(digits, sizeof digits, "%lld", number);
    add_plain(b, key);
    add_plain(b, digits);
}

static void write_body(const ss_letters *self, const ss_letter *letter, uint64_t now, body *b) {
    char text[TEXT_ROOM];
    const size_t len =
        letter->text_len < SLIPSTREAM_ERROR_MAX ? letter->text_len : SLIPSTREAM_ERROR_MAX;
    ss_text_show(text, sizeof text, len > 0 ? letter->text : "", len, NULL);
    b->len = 0;
    add_text(b, "{\"plugin\": ", self->name != NULL ? self->name : "");
    add_text(b, ", \"version\": ", self->version != NULL ? self->version : "");
    add_text(b, ", \"digest\": ", self->digest != NULL ? self->digest : "");
    add_number(b, ", \"ordinal\": ", (long long)letter->ordinal);
    if (letter->status != SLIPSTREAM_OK)
        add_number(b, ", \"status\": ", letter->status);
    else
        add_plain(b, ", \"status\": null");
    add_text(b, ", \"text\": ", text);
    add_number(b, ", \"attempts\": ", letter->attempts);
    add_number(b, ", \"time\": ", (long long)now);
    add_plain(b, "}");
}

/* ---- Groups ---------------------------------------------------------------------------- */

static bool has_room(ss_letters *self, size_t more) {
    size_t wanted = self->room == 0 ? 16 * 1024 : self->room;
    while (wanted - self->len < more)
        wanted *= 2;
    if (wanted == self->room)
        return true;
    uint8_t *group = realloc(self->group, wanted);
    if (group == NULL)
        return false;
    self->group = group;
    self->room = wanted;
    return true;
}

/* The lock is held. */
static bool is_over(ss_letters *self, size_t more) {
    uint64_t size = 0;
    ss_os_file_size(self->fd, &size);
    if (size + self->len + more <= self->max_bytes)
        return false;
    if (!self->is_full)
        ss_log_queue_format(self->log, SLIPSTREAM_LOG_ERROR, self->log_id,
                            "its dead-letter file is full (%llu bytes): what it refuses from now "
                            "on is counted and not kept; move the file away and reload it",
                            (unsigned long long)size);
    self->is_full = true;
    return true;
}

/* The lock is held. */
static bool has_file(ss_letters *self) {
    if (self->fd < 0 && self->max_bytes > 0 && !self->is_full) {
        ss_log_queue_format(self->log, SLIPSTREAM_LOG_WARN, self->log_id,
                            "the events that it refuses or crashes on are counted and not kept: it "
                            "has no data folder, and its config names no file (dead_letter)");
        self->is_full = true;
    }
    return self->fd >= 0 && !self->is_broken;
}

static bool add(ss_letters *self, const ss_letter *letter) {
    static const char mark[] = SS_LETTER_MARK;
    const uint64_t now = ss_os_wall_ns();
    body b;
    if (!has_file(self) || letter->frame == NULL)
        return false;
    write_body(self, letter, now, &b);
    const ss_draft draft = {.kind = SLIPSTREAM_KIND_MARK,
                            .time_ns = (int64_t)now,
                            .height = SLIPSTREAM_HEIGHT_NONE,
                            .spans = {{(const uint8_t *)mark, sizeof mark - 1},
                                      {(const uint8_t *)b.data, b.len}}};
    const size_t size = ss_frame_size(&draft);
    if (is_over(self, size + letter->len) || !has_room(self, size + letter->len))
        return false;
    ss_frame_write(self->group + self->len, size, &draft);
    memcpy(self->group + self->len + size, letter->frame, letter->len);
    self->len += size + letter->len;
    self->count++;
    return true;
}

bool ss_letters_add(ss_letters *self, const ss_letter *letter) {
    ss_os_mutex_lock(&self->lock);
    const bool added = add(self, letter);
    ss_os_mutex_unlock(&self->lock);
    return added;
}

/* The lock is held. */
static bool append(ss_letters *self) {
    uint64_t size = 0;
    const bool sized = ss_os_file_size(self->fd, &size);
    if (ss_os_file_append(self->fd, self->group, self->len) && ss_os_file_sync(self->fd))
        return true;
    const char *why = errno == 0 ? "it takes nothing" : strerror(errno);
    ss_log_queue_format(self->log, SLIPSTREAM_LOG_ERROR, self->log_id,
                        "cannot write to the dead-letter file: %s; %u refused %s counted and "
                        "not kept",
                        why, (unsigned)self->count,
                        ss_text_form(self->count, "event is", "events are"));
    self->is_broken = !sized || !ss_os_file_cut(self->fd, size);
    return false;
}

bool ss_letters_write(ss_letters *self) {
    ss_os_mutex_lock(&self->lock);
    const bool kept = self->len == 0 || (self->fd >= 0 && append(self));
    self->len = 0;
    self->count = 0;
    ss_os_mutex_unlock(&self->lock);
    return kept;
}
