/* host_config: slipstream.config/1, with which the host reads the config for a plugin.
 *
 * A config arrives packed: what is in it was taken apart by whoever has parsed it anyway
 * (slipstream/config/_packed.py), so that here it is only looked up. One behind the other, in
 * native byte order: the head, `count` entries of which the first is the whole, `json_len`
 * bytes of JSON and a NUL, and texts up to the end. */
#ifndef SS_HOST_CONFIG_H
#define SS_HOST_CONFIG_H

#include <slipstream.h>
#include <stdbool.h>

typedef struct ss_packed_head {
    uint32_t count;
    uint32_t json_len;
} ss_packed_head;

typedef struct ss_span {
    uint32_t at;
    uint32_t len;
} ss_span;

/* What a number can be given as. */
#define SS_IS_WHOLE 1 /* it has neither fraction nor exponent */
#define SS_FITS_I64 2
#define SS_FITS_U64 4
#define SS_FITS_F64 8

typedef struct ss_packed_entry {
    uint32_t type; /* SLIPSTREAM_JSON_* */
    uint32_t fits;
    uint64_t whole; /* a number as i64 or u64, a bool as 0 or 1 */
    double real;
    uint32_t first; /* the entry of its first element or member; the others follow it */
    uint32_t count; /* of those */
    ss_span json; /* in the JSON */
    ss_span token; /* in the texts: its name in its parent as a pointer has it (RFC 6901) */
    ss_span key; /* ... as it is */
    ss_span text; /* ... and itself */
} ss_packed_entry;

typedef struct ss_host_config {
    char *packed; /* NULL but while loading */
    size_t packed_len;
    const ss_packed_entry *entries;
    const char *json;
    size_t json_len;
    const char *texts;
    char *config_dir; /* NULL where there is none */
    char *data_dir;
} ss_host_config;

/* Takes a packed config as it is, at an address for any type; false if it contradicts itself. */
bool ss_host_config_open(ss_host_config *config, char *packed, size_t len);
/* Wipes it: it holds secrets in clear. */
void ss_host_config_close(ss_host_config *config);

/* Keeps a copy of a folder's path, NULL for none. OK or NO_MEMORY. */
int32_t ss_host_config_keep_dir(char **dir, const char *path);
void ss_host_config_free(ss_host_config *config);

/* What it gives; its functions get a ss_host. */
extern const slipstream_config_v1 ss_host_config_table;

#endif
