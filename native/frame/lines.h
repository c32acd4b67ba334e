/* lines: JSON lines to frames, for those that are as nearly all are: one flat object, known
 * members and a few remarks, bytes in hexadecimal, numbers without signs or points. What is not so,
 * or may be wrong, is left to whoever reads lines to the letter and can say what is wrong
 * (LineReader in Python).
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_LINES_H
#define SS_LINES_H

#include "frame/frame.h"

/* cdef:begin */
typedef struct ss_lines ss_lines;

/* How a member's value is written. */
#define SS_LINE_TEXT 0   /* as text, which is skipped: its bytes stand in another member */
#define SS_LINE_HEX 1    /* bytes in hexadecimal */
#define SS_LINE_NUMBER 2
#define SS_LINE_WORD 3   /* a number of 32 bits */
#define SS_LINE_OTHER 4  /* not for us, nor the line that has it */
#define SS_LINE_NO_MEMBER 255

/* The members that every line may have, in this order: kind, seq, stream, sequence, time_ns,
 * flags, block_height. */
#define SS_LINE_COMMON 7

/* Where a reader is in a text, and in the stream of events. */
typedef struct ss_lines_place {
    size_t at;         /* bytes: the next line */
    uint64_t stream;   /* of the event before it */
    uint64_t sequence;
    uint32_t count;    /* frames that were made by the last call */
    size_t len;        /* and their bytes */
} ss_lines_place;

/* Knows no members and no kinds at first. NULL when there is no memory. */
ss_lines *ss_lines_new(void);
void ss_lines_free(ss_lines *lines);
/* The next member, from 0; false if there are too many, or the name is too long. */
bool ss_lines_add_member(ss_lines *lines, const char *name, uint32_t form);
/* A kind: the numbers of the members that are its spans, then its numbers, as many as its shape
 * has; `word`: of the word behind fixed_len, or SS_LINE_NO_MEMBER. False as above. */
bool ss_lines_add_kind(ss_lines *lines, const char *name, uint32_t kind, const uint8_t *members,
                       uint32_t word);
/* Makes frames of the lines from place->at on, until there are `enough` bytes, up to the first line
 * that is not usual, or not there as a whole: place->at is its start then. The frames are valid
 * until the next call; NULL where there are none. */
const uint8_t *ss_lines_read(ss_lines *lines, const char *text, size_t len, size_t enough,
                             ss_lines_place *place);
/* cdef:end */

#endif
