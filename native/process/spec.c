#include "process/spec.h"

#include <stdlib.h>
#include <string.h>

static const char *own_text(const char *text) {
    return strdup(text == NULL ? "" : text);
}

ss_kept_spec *ss_kept_spec_new(const ss_spec *given) {
    ss_kept_spec *spec = calloc(1, sizeof *spec);
    if (spec == NULL)
        return NULL;
    spec->values = *given;
    spec->values.name = own_text(given->name);
    spec->values.path = own_text(given->path);
    spec->values.shown = own_text(given->shown);
    spec->values.config_dir = own_text(given->config_dir);
    spec->values.user = own_text(given->user);
    spec->references = 1;
    spec->values.terms = &spec->terms;
    if (given->desk != NULL) {
        spec->terms = *given->terms;
        ss_desk_retain(given->desk);
    }
    const ss_spec *s = &spec->values;
    if (s->name == NULL || s->path == NULL || s->shown == NULL || s->config_dir == NULL ||
        s->user == NULL) {
        ss_kept_spec_release(spec);
        return NULL;
    }
    return spec;
}

static void drop_load(ss_kept_spec *spec) {
    if (spec->config != NULL)
        explicit_bzero(spec->config, spec->config_len); /* it holds secrets */
    free(spec->config);
    free(spec->data_dir);
}

bool ss_kept_spec_set_load(ss_kept_spec *spec, const char *data_dir, const char *config,
                           size_t len) {
    char *folder = strdup(data_dir);
    char *copy = malloc(len + 1);
    if (folder == NULL || copy == NULL) {
        free(folder);
        free(copy);
        return false;
    }
    memcpy(copy, config, len);
    drop_load(spec);
    spec->data_dir = folder;
    spec->config = copy;
    spec->config_len = len;
    return true;
}

void ss_kept_spec_release(ss_kept_spec *spec) {
    if (spec == NULL || --spec->references > 0)
        return;
    ss_spec *s = &spec->values;
    drop_load(spec);
    free((char *)(uintptr_t)s->name);
    free((char *)(uintptr_t)s->path);
    free((char *)(uintptr_t)s->shown);
    free((char *)(uintptr_t)s->config_dir);
    free((char *)(uintptr_t)s->user);
    if (s->desk != NULL)
        ss_desk_free(s->desk);
    free(spec);
}
