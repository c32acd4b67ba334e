/* calls: each function of a plugin, called as a host calls it, and what it answered. */
#ifndef SS_CHECK_CALLS_H
#define SS_CHECK_CALLS_H

#include "check/play.h"

void ss_call_construct(const ss_play_step *step, const void *data);
void ss_call_table(const ss_play_step *step);
void ss_call_load(const ss_play_step *step, const void *data);
void ss_call_subscribed(const ss_play_step *step);
void ss_call_claims(const ss_play_step *step);
void ss_call_extension(const ss_play_step *step, const void *data);
void ss_call_flush(const ss_play_step *step);
void ss_call_unload(const ss_play_step *step);
void ss_call_destroy(const ss_play_step *step);
void ss_call_open(const ss_play_step *step, const void *data);
void ss_call_close(const ss_play_step *step);

#endif
