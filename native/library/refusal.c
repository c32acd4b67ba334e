#include "library/refusal.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

static void say(char *out, size_t room, const char *format, va_list args) {
    char raw[sizeof((ss_refusal *)NULL)->text];
    const int n = vsnprintf(raw, sizeof raw, format, args);
    const size_t len = n < 0 ? 0 : (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1;
    ss_text_show(out, room, raw, len, NULL);
}

void ss_refuse(ss_refusal *why, uint32_t number, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(why->text, sizeof why->text, format, args);
    va_end(args);
    why->number = number;
    why->hint[0] = '\0';
}

bool ss_advise(ss_refusal *why, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(why->hint, sizeof why->hint, format, args);
    va_end(args);
    return false;
}
