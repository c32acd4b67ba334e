/*
 * filter - the darkroom of examples/host-image: a picture comes in, a filtered one goes to a file.
 *
 * The host's application events of kind 32 are pictures: u32 number, width, height, 0, then the
 * pixels, three bytes each, row by row. The result, pixels alone, is NUMBER.rgb in the plugin's data
 * folder; it is there when the event is acknowledged, so that the host flushes and reads it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <slipstream.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIND_PICTURE 32
#define HEAD 16
#define SIDE_MAX 16384
#define PATH_LIMIT 2048

SLIPSTREAM_INFO({
    "name": "filter", "version": "1.0.0", "abi": 1, "kinds": [32], "flags": ["MULTI_INSTANCE"],
    "requires": ["slipstream.config/1"],
    "config_schema": {
        "properties": {
            "filter": {"enum": ["edges", "blur", "sepia"], "default": "edges",
                       "description": "what is done with a picture"}
        },
        "additionalProperties": false
    },
    "sample_config": {"filter": "sepia"}, "licence": "Apache-2.0"
});

typedef struct picture {
    uint32_t number;
    int width;
    int height;
    const uint8_t *pixels;
} picture;

typedef struct filter {
    slipstream_plugin table;
    const slipstream_host *host;
    void (*apply)(const picture *in, uint8_t *out);
    char folder[PATH_LIMIT];
} filter;

/* ---- Filters: whole numbers only, so that everybody gets the same pixels ------------------ */

static uint8_t capped(int value) {
    return (uint8_t)(value > 255 ? 255 : value);
}

/* A pixel; what lies outside is what lies at the border. */
static const uint8_t *at(const picture *in, int x, int y) {
    x = x < 0 ? 0 : x >= in->width ? in->width - 1 : x;
    y = y < 0 ? 0 : y >= in->height ? in->height - 1 : y;
    return in->pixels + 3 * ((size_t)y * (size_t)in->width + (size_t)x);
}

static int grey(const picture *in, int x, int y) {
    const uint8_t *p = at(in, x, y);
    return (299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000;
}

static void edges(const picture *in, uint8_t *out) {
    for (int y = 0; y < in->height; y++)
        for (int x = 0; x < in->width; x++, out += 3) {
            int across = 0;
            int down = 0;
            for (int i = -1; i <= 1; i++) {
                across += (2 - abs(i)) * (grey(in, x + 1, y + i) - grey(in, x - 1, y + i));
                down += (2 - abs(i)) * (grey(in, x + i, y + 1) - grey(in, x + i, y - 1));
            }
            memset(out, capped(abs(across) + abs(down)), 3);
        }
}

static void blur(const picture *in, uint8_t *out) {
    for (int y = 0; y < in->height; y++)
        for (int x = 0; x < in->width; x++)
            for (int channel = 0; channel < 3; channel++) {
                int sum = 0;
                for (int i = 0; i < 9; i++)
                    sum += at(in, x + i % 3 - 1, y + i / 3 - 1)[channel];
                *out++ = (uint8_t)(sum / 9);
            }
}

static void sepia(const picture *in, uint8_t *out) {
    static const int parts[3][3] = {{393, 769, 189}, {349, 686, 168}, {272, 534, 131}};
    const uint8_t *p = in->pixels;
    for (size_t left = (size_t)in->width * (size_t)in->height; left > 0; left--, p += 3)
        for (int i = 0; i < 3; i++)
            *out++ = capped((parts[i][0] * p[0] + parts[i][1] * p[1] + parts[i][2] * p[2]) / 1000);
}

/* ---- Events ------------------------------------------------------------------------------- */

static bool read_picture(slipstream_bytes data, picture *out) {
    if (data.len < HEAD)
        return false;
    const uint32_t width = slipstream_load_u32(data.data + 4);
    const uint32_t height = slipstream_load_u32(data.data + 8);
    if (width == 0 || height == 0 || width > SIDE_MAX || height > SIDE_MAX ||
        data.len - HEAD != 3 * (size_t)width * height)
        return false;
    *out = (picture){slipstream_load_u32(data.data), (int)width, (int)height, data.data + HEAD};
    return true;
}

/* A rename at the end: whoever reads the file never sees half of it. */
static int32_t keep(filter *self, uint32_t number, const uint8_t *pixels, size_t len) {
    char path[PATH_LIMIT + 32];
    char new_path[PATH_LIMIT + 32];
    snprintf(path, sizeof path, "%s/%u.rgb", self->folder, (unsigned)number);
    snprintf(new_path, sizeof new_path, "%s/%u.new", self->folder, (unsigned)number);
    FILE *file = fopen(new_path, "wb");
    bool good = file != NULL && fwrite(pixels, 1, len, file) == len;
    if (file != NULL)
        good = fclose(file) == 0 && good;
    if (good && rename(new_path, path) == 0)
        return SLIPSTREAM_OK;
    return slipstream_fail(self->host, SLIPSTREAM_RETRY, "cannot write into the data folder");
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    filter *self = (filter *)instance;
    slipstream_frame frame;
    slipstream_bytes data;
    picture in;
    (void)delivery;
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK)
        return slipstream_fail(self->host, SLIPSTREAM_MALFORMED, "unreadable frame");
    if (frame.kind != KIND_PICTURE)
        return SLIPSTREAM_IGNORED;
    if (slipstream_read_app(&frame, &data) != SLIPSTREAM_OK || !read_picture(data, &in))
        return slipstream_fail(self->host, SLIPSTREAM_MALFORMED, "the event is not a picture");
    uint8_t *out = (uint8_t *)malloc(data.len - HEAD);
    if (out == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_NO_MEMORY, "no memory for a picture");
    self->apply(&in, out);
    const int32_t status = keep(self, in.number, out, data.len - HEAD);
    free(out);
    return status;
}

/* ---- Life --------------------------------------------------------------------------------- */

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *text, size_t text_len,
                                       uint32_t reason) {
    static const struct {
        const char *name;
        void (*apply)(const picture *in, uint8_t *out);
    } filters[] = {{"edges", edges}, {"blur", blur}, {"sepia", sepia}};
    filter *self = (filter *)instance;
    const slipstream_config_v1 *config =
        (const slipstream_config_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    char name[16] = "edges";
    size_t len = sizeof name - 1;
    size_t folder_len = sizeof self->folder - 1;
    (void)text, (void)text_len, (void)reason;
    if (config == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_UNSUPPORTED, "needs slipstream.config/1");
    const int32_t status = config->get_text(self->host->ctx, "/filter", name, &len);
    if (status == SLIPSTREAM_OK)
        name[len] = '\0';
    for (size_t i = 0; i < 3; i++)
        if ((status == SLIPSTREAM_OK || status == SLIPSTREAM_NOT_FOUND) &&
            strcmp(name, filters[i].name) == 0)
            self->apply = filters[i].apply;
    if (self->apply == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_INVALID_CONFIG,
                               "filter must be \"edges\", \"blur\" or \"sepia\"");
    if (config->data_dir(self->host->ctx, self->folder, &folder_len) != SLIPSTREAM_OK)
        return slipstream_fail(self->host, SLIPSTREAM_INVALID_CONFIG,
                               "results go to a data folder: give the host one (data_dir)");
    self->folder[folder_len] = '\0';
    return SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(KIND_PICTURE);
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    filter *self = (filter *)calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->table = (slipstream_plugin){SLIPSTREAM_PLUGIN_HEAD,
                                      SLIPSTREAM_FLAG_MULTI_INSTANCE,
                                      self,
                                      "filter",
                                      "1.0.0",
                                      free,
                                      on_load,
                                      NULL,
                                      subscribed_events,
                                      on_broadcast,
                                      NULL,
                                      NULL};
    self->host = host;
    return &self->table;
}
