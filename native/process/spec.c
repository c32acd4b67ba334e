#include "process/spec.h"

#include <stdlib.h>
#include <string.h>

static const char *own_text(const char *text) {
    return strdup(text == NULL ? "" : text);
}

ss_kept_spec *ss_kept_spec_new(const ss_spec *given) {
    ss_kept_spec *spec = calloc(1, sizeof *spec);
    char *config = malloc(given->config_len + 1);
    if (spec == NULL || config == NULL) {
        free(spec);
        free(config);
        return NULL;
    }
    if (given->config_len > 0)
        memcpy(config, given->config, given->config_len);
    spec->values = *given;
    spec->values.config = config;
    spec->values.path = own_text(given->path);
    spec->values.shown = own_text(given->shown);
    spec->values.config_dir = own_text(given->config_dir);
    spec->values.data_dir = own_text(given->data_dir);
    spec->values.user = own_text(given->user);
    spec->references = 1;
    const ss_spec *s = &spec->values;
    if (s->path == NULL || s->shown == NULL || s->config_dir == NULL || s->data_dir == NULL ||
        s->user == NULL) {
        ss_kept_spec_release(spec);
        return NULL;
    }
    return spec;
}

bool ss_kept_spec_set_config(ss_kept_spec *spec, const char *config, size_t len) {
    ss_spec *s = &spec->values;
    char *copy = malloc(len + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, config, len);
    explicit_bzero((char *)(uintptr_t)s->config, s->config_len);
    free((char *)(uintptr_t)s->config);
    s->config = copy;
    s->config_len = len;
    return true;
}

void ss_kept_spec_release(ss_kept_spec *spec) {
    if (spec == NULL || --spec->references > 0)
        return;
    ss_spec *s = &spec->values;
    explicit_bzero((char *)(uintptr_t)s->config, s->config_len); /* it holds secrets */
    free((char *)(uintptr_t)s->config);
    free((char *)(uintptr_t)s->path);
    free((char *)(uintptr_t)s->shown);
    free((char *)(uintptr_t)s->config_dir);
    free((char *)(uintptr_t)s->data_dir);
    free((char *)(uintptr_t)s->user);
    free(spec);
}
