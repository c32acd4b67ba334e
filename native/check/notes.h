/* notes: what goes to the judge: through the pipe, and through the memory that both see. */
#ifndef SS_CHECK_NOTES_H
#define SS_CHECK_NOTES_H

#include "check/play.h"

#include <stdbool.h>

/* `process` is the number of the one that plays. */
void ss_note_to(int pipe, uint64_t nonce, ss_play_trace *trace);
ss_play_trace *ss_trace(void);

/* Says what came of the step that the trace names. Any thread. */
void ss_note(uint32_t what, int32_t status, uint64_t a, uint64_t b, const void *text, size_t len);
void ss_note_text(uint32_t what, int32_t status, const char *text);

/* Nothing more can be played, for which the plugin is not to blame. */
_Noreturn void ss_give_up(const char *why);

/* Around each call of the plugin. A child that it has forked, and that comes back, says so and
 * ends. */
void ss_call_begins(void);
void ss_call_ends(void);

#endif
