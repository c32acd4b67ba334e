/* library: one reader of library files against arbitrary bytes: what it says of an info is so, and
 * every file has a verdict. A target defines LOOK, the reader, and KIND, what such a file is before
 * it is read, and includes this. */
#include "fuzz.h"
#include "library/file.h"
#include "library/macho.h"
#include "library/pe.h"

#include <slipstream.h>

static unsigned long there, damaged, misplaced;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ss_refusal why;
    const size_t magic = sizeof SLIPSTREAM_INFO_MAGIC - 1;
    const ss_source source = {.file = data, .len = size};
    ss_file seen = {.machine_name = "", .kind = KIND};
    if (size == 0)
        return 0;
    LOOK(&source, &seen);
    REQUIRE(seen.kind <= SS_FILE_FOREIGN && seen.info <= SS_INFO_NOT_ENDED);
    REQUIRE(seen.machine_name != NULL && seen.exports <= SS_EXPORTS_DAMAGED);
    if (seen.info == SS_INFO_THERE) {
        REQUIRE(seen.exports == SS_EXPORTS_READ && seen.info_at >= magic);
        REQUIRE(magic + seen.info_len < SLIPSTREAM_INFO_MAX);
        REQUIRE(seen.info_at + seen.info_len < size && data[seen.info_at + seen.info_len] == 0);
        REQUIRE(memcmp(data + seen.info_at - magic, SLIPSTREAM_INFO_MAGIC, magic) == 0);
        REQUIRE(memchr(data + seen.info_at, 0, seen.info_len) == NULL);
        there++;
    }
    misplaced += seen.info > SS_INFO_THERE;
    damaged += seen.exports == SS_EXPORTS_DAMAGED;
    const bool own = ss_file_check_kind("x", &seen, &why);
    REQUIRE(own || (why.text[0] != '\0' && why.hint[0] != '\0'));
    const bool good = ss_file_check_exports("x", &seen, &why);
    REQUIRE(good || (why.text[0] != '\0' && why.hint[0] != '\0'));
    return 0;
}

void fuzz_tell(void) {
    printf("%lu infos read, %lu misplaced, %lu damaged\n", there, misplaced, damaged);
}
