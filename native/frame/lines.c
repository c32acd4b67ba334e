#include "frame/lines.h"

#include <stdlib.h>
#include <string.h>

enum {
    NAME_MAX = 39,
    MEMBERS_MAX = 64, /* bits of a word */
    KINDS_MAX = 64,
    REMARKS_MAX = 8,
    DIGITS_MAX = 18, /* so many fit into every number that we know, and have a sign's room */
};

/* As the header says: those that every line may have. */
enum { KIND, SEQ, STREAM, SEQUENCE, TIME_NS, FLAGS, HEIGHT };

typedef struct name {
    size_t len;
    char text[NAME_MAX + 1];
} name;

typedef struct kind {
    name name;
    uint32_t kind;
    uint8_t spans;
    uint8_t numbers;
    uint8_t members[SS_MAX_SPANS + SS_MAX_NUMBERS];
    uint32_t word;
} kind;

typedef struct value {
    const char *text; /* of a string */
    size_t len;
    uint64_t number;
} value;

typedef struct piece {
    const char *text;
    size_t len;
} piece;

typedef struct buffer {
    uint8_t *data;
    size_t room;
} buffer;

struct ss_lines {
    name members[MEMBERS_MAX];
    uint8_t forms[MEMBERS_MAX];
    uint32_t member_count;
    kind kinds[KINDS_MAX];
    uint32_t kind_count;
    /* The members of the last line in their order: the next one has the same, mostly. */
    uint8_t order[MEMBERS_MAX];
    uint32_t last_kind;
    buffer frames;
    buffer bytes; /* of the spans of one line */
    /* Of one line. */
    uint64_t seen; /* bit n: member n is there */
    piece remarks[REMARKS_MAX]; /* the names of members that nobody knows */
    uint32_t remark_count;
    value values[MEMBERS_MAX];
};

/* ---- What there may be ----------------------------------------------------------------- */

ss_lines *ss_lines_new(void) {
    return calloc(1, sizeof(ss_lines));
}

void ss_lines_free(ss_lines *lines) {
    if (lines == NULL)
        return;
    free(lines->frames.data);
    free(lines->bytes.data);
    free(lines);
}

static bool set_name(name *out, const char *text) {
    out->len = strlen(text);
    if (out->len > NAME_MAX)
        return false;
    memcpy(out->text, text, out->len + 1);
    return true;
}

static bool is_name(const name *it, const char *text, size_t len) {
    return it->len == len && memcmp(it->text, text, len) == 0;
}

bool ss_lines_add_member(ss_lines *lines, const char *text, uint32_t form) {
    if (lines->member_count == MEMBERS_MAX || form > SS_LINE_OTHER ||
        !set_name(&lines->members[lines->member_count], text))
        return false;
    lines->forms[lines->member_count++] = (uint8_t)form;
    return true;
}

bool ss_lines_add_kind(ss_lines *lines, const char *text, uint32_t number, const uint8_t *members,
                       uint32_t word) {
    kind *it = &lines->kinds[lines->kind_count];
    const ss_shape shape = ss_frame_shape(number);
    if (lines->kind_count == KINDS_MAX || !set_name(&it->name, text))
        return false;
    it->kind = number;
    it->word = word;
    it->spans = number >= SLIPSTREAM_KIND_APP_FIRST ? 1 : shape.spans;
    it->numbers = shape.numbers;
    memcpy(it->members, members, (size_t)it->spans + it->numbers);
    lines->kind_count++;
    return true;
}

static bool make_room(buffer *b, size_t room) {
    if (room <= b->room)
        return true;
    const size_t wanted = room < 2 * b->room ? 2 * b->room : room;
    uint8_t *data = realloc(b->data, wanted);
    if (data == NULL)
        return false;
    b->data = data;
    b->room = wanted;
    return true;
}

/* ---- One line, as JSON ----------------------------------------------------------------- */

static const char *skip_spaces(const char *at) {
    while (*at == ' ')
        at++;
    return at;
}

/* Behind a string's quote; its end, which is the closing quote, or NULL: it is not all printable
 * ASCII, with such escapes at most as stand for one character. */
static const char *find_quote(const char *at, bool may_escape) {
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7F)
            return NULL; /* the line's end, too */
        if (*at == '\\' && (!may_escape || (*++at == '\0' || strchr("\"\\/bfnrt", *at) == NULL)))
            return NULL;
    }
    return at;
}

static const char *read_number(const char *at, uint64_t *out) {
    const char *start = at;
    uint64_t number = 0;
    for (; *at >= '0' && *at <= '9' && at - start < DIGITS_MAX; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    *out = number;
    return at == start || (*start == '0' && at - start > 1) ? NULL : at;
}

static unsigned hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

/* A stream is written in hexadecimal. */
static bool read_stream(value *v) {
    v->number = 0;
    for (size_t i = 0; i < v->len; i++) {
        const unsigned digit = hex_digit(v->text[i]);
        if (digit > 15)
            return false;
        v->number = v->number << 4 | digit;
    }
    return v->len >= 1 && v->len <= 16;
}

/* `nth`: of this line. */
static uint32_t find_member(ss_lines *lines, uint32_t nth, const char *text, size_t len) {
    uint32_t member = lines->order[nth];
    if (is_name(&lines->members[member], text, len))
        return member;
    for (member = 0; member < lines->member_count; member++)
        if (is_name(&lines->members[member], text, len)) {
            lines->order[nth] = (uint8_t)member;
            return member;
        }
    return SS_LINE_NO_MEMBER;
}

/* Its value begins here; behind it, or NULL. */
static const char *read_value(ss_lines *lines, uint32_t member, const char *at) {
    value remark;
    const bool is_known = member != SS_LINE_NO_MEMBER;
    value *v = is_known ? &lines->values[member] : &remark;
    const uint32_t form = is_known ? lines->forms[member] : SS_LINE_TEXT;
    const bool is_number = form == SS_LINE_NUMBER || form == SS_LINE_WORD;
    if (form == SS_LINE_OTHER)
        return NULL;
    if (*at != '"') {
        at = is_number || member == STREAM || !is_known ? read_number(at, &v->number) : NULL;
        return form == SS_LINE_WORD && v->number > UINT32_MAX ? NULL : at;
    }
    const char *end = is_number ? NULL : find_quote(at + 1, form == SS_LINE_TEXT);
    if (end == NULL)
        return NULL;
    v->text = at + 1;
    v->len = (size_t)(end - v->text);
    return member == STREAM && !read_stream(v) ? NULL : end + 1;
}

/* Notes that a member is there; false if it is so already. */
static bool note(ss_lines *lines, uint32_t member, const char *text, size_t len) {
    if (member != SS_LINE_NO_MEMBER) {
        const uint64_t bit = UINT64_C(1) << member;
        const bool is_new = (lines->seen & bit) == 0;
        lines->seen |= bit;
        return is_new;
    }
    for (uint32_t i = 0; i < lines->remark_count; i++)
        if (lines->remarks[i].len == len && memcmp(lines->remarks[i].text, text, len) == 0)
            return false;
    if (lines->remark_count == REMARKS_MAX)
        return false;
    lines->remarks[lines->remark_count++] = (piece){text, len};
    return true;
}

/* False if it is not usual. There is a line feed behind it, at which everything here stops. */
static bool read_line(ss_lines *lines, const char *at, const char *end) {
    lines->seen = 0;
    lines->remark_count = 0;
    if (*at++ != '{')
        return false;
    for (uint32_t nth = 0; nth < MEMBERS_MAX; nth++) {
        at = skip_spaces(at);
        const char *quote = *at == '"' ? find_quote(at + 1, false) : NULL;
        if (quote == NULL)
            return false;
        const char *text = at + 1;
        const size_t len = (size_t)(quote - text);
        const uint32_t member = find_member(lines, nth, text, len);
        at = skip_spaces(quote + 1);
        if (*at != ':' || !note(lines, member, text, len))
            return false;
        at = read_value(lines, member, skip_spaces(at + 1));
        if (at == NULL)
            return false;
        at = skip_spaces(at);
        if (*at == '}')
            return skip_spaces(at + 1) == end;
        if (*at++ != ',')
            return false;
    }
    return false;
}

/* ---- One line, as an event ------------------------------------------------------------- */

static bool has(const ss_lines *lines, uint32_t member) {
    return (lines->seen >> member & 1) != 0;
}

static uint64_t number_of(const ss_lines *lines, uint32_t member, uint64_t absent) {
    return has(lines, member) ? lines->values[member].number : absent;
}

static const kind *find_kind(ss_lines *lines) {
    const value *v = &lines->values[KIND];
    if (!has(lines, KIND))
        return NULL;
    for (uint32_t i = 0; i < lines->kind_count; i++) {
        const uint32_t number = (lines->last_kind + i) % lines->kind_count;
        if (is_name(&lines->kinds[number].name, v->text, v->len)) {
            lines->last_kind = number;
            return &lines->kinds[number];
        }
    }
    return NULL;
}

/* Where the event stands, or follows; false where its stream has no name yet. */
static bool find_place(const ss_lines *lines, ss_draft *draft, const ss_lines_place *before) {
    const bool has_number = has(lines, SEQUENCE) || has(lines, SEQ);
    const uint64_t number =
        has(lines, SEQUENCE) ? lines->values[SEQUENCE].number : number_of(lines, SEQ, 0) + 1;
    const uint64_t next = before->sequence + 1;
    draft->stream = number_of(lines, STREAM, before->stream);
    draft->sequence = has_number ? number : draft->stream == before->stream ? next : 1;
    return draft->stream != 0 && draft->sequence != 0 &&
           (has(lines, STREAM) || draft->sequence > before->sequence);
}

/* Its bytes behind `used` others; false if these are no hexadecimal digits. */
static bool read_bytes(ss_lines *lines, const value *v, size_t used, slipstream_bytes *out) {
    uint8_t *bytes = lines->bytes.data + used;
    if (v->len % 2 != 0)
        return false;
    for (size_t i = 0; i < v->len / 2; i++) {
        const unsigned high = hex_digit(v->text[2 * i]);
        const unsigned low = hex_digit(v->text[2 * i + 1]);
        if ((high | low) > 15)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    *out = (slipstream_bytes){bytes, v->len / 2};
    return true;
}

static bool fill(ss_lines *lines, ss_draft *draft, const ss_lines_place *before) {
    const kind *it = find_kind(lines);
    const uint64_t flags = number_of(lines, FLAGS, SLIPSTREAM_FRAME_RECORDED);
    size_t used = 0;
    if (it == NULL || !find_place(lines, draft, before) || flags > UINT16_MAX ||
        (flags & SLIPSTREAM_FRAME_RECORDED) == 0)
        return false;
    draft->kind = it->kind;
    draft->flags = (uint32_t)flags;
    draft->time_ns = (int64_t)number_of(lines, TIME_NS, 0);
    draft->height = number_of(lines, HEIGHT, SLIPSTREAM_HEIGHT_NONE);
    for (uint32_t i = 0; i < it->spans; i++) {
        const uint32_t member = it->members[i];
        if (!has(lines, member) ||
            !read_bytes(lines, &lines->values[member], used, &draft->spans[i]))
            return false;
        used += draft->spans[i].len;
    }
    for (uint32_t i = 0; i < it->numbers; i++) {
        const uint32_t member = it->members[it->spans + i];
        if (!has(lines, member))
            return false;
        draft->numbers[i] = lines->values[member].number;
    }
    draft->word = it->word == SS_LINE_NO_MEMBER ? 0 : (uint32_t)number_of(lines, it->word, 0);
    return true;
}

const uint8_t *ss_lines_read(ss_lines *lines, const char *text, size_t len, size_t enough,
                             ss_lines_place *place) {
    place->count = 0;
    place->len = 0;
    while (place->len < enough && place->at < len && lines->member_count >= SS_LINE_COMMON) {
        const char *line = text + place->at;
        const char *end = memchr(line, '\n', len - place->at);
        ss_draft draft = {0};
        if (end == NULL || !make_room(&lines->bytes, (size_t)(end - line) / 2 + 1) ||
            !read_line(lines, line, end) || !fill(lines, &draft, place))
            break;
        const size_t size = ss_frame_size(&draft);
        if (size == 0 || !make_room(&lines->frames, place->len + size))
            break;
        ss_frame_write(lines->frames.data + place->len, size, &draft);
        place->len += size;
        place->count++;
        place->stream = draft.stream;
        place->sequence = draft.sequence;
        place->at += (size_t)(end - line) + 1;
    }
    return place->count == 0 ? NULL : lines->frames.data;
}
