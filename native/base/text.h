/* text: texts from a plugin, made safe to show. */
#ifndef SS_TEXT_H
#define SS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies `text` to `out` as valid UTF-8 without control characters: newline, tab and the
 * like as \n, \t, other control characters and invalid bytes as \xNN. Cuts at a character
 * when `room` (with the NUL) is used up. Returns the length without the NUL. */
size_t ss_text_escape(char *out, size_t room, const char *text, size_t len);
/* The same for what people read: secrets are masked by ***. `is_cut`, unless it is NULL, says
 * whether there was no room for all of it. All that plugins say passes here, in the host. */
size_t ss_text_show(char *out, size_t room, const char *text, size_t len, bool *is_cut);

/* What is said after a number: `one` after 1, else `many`. */
static inline const char *ss_text_form(uint64_t number, const char *one, const char *many) {
    return number == 1 ? one : many;
}

/* How a text says that it was cut, and the room that this takes. */
#define SS_CUT_MARK " [cut: it has %llu bytes]"
enum { SS_CUT_ROOM = 48 };

/* Keeps a text as it is; of one that has more than `room` bytes, its beginning up to a character's
 * end, and the mark. The length. */
size_t ss_text_keep(char *out, size_t room, const char *text, size_t len);
/* ss_text_show with the mark where the room was not enough. */
size_t ss_text_show_marked(char *out, size_t room, const char *text, size_t len);

#endif
