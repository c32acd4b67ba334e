/* What Go cannot say itself: the constructor with its exact type, and the text of the info. */
#include <slipstream.h>

extern slipstream_plugin *goCreate(slipstream_host *host);

SLIPSTREAM_INFO({"name": "digest", "version": "1.0.0", "abi": 1, "requires": ["slipstream.config/1"],
                 "flags": ["RESIDENT", "MULTI_INSTANCE", "BATCH"],
                 "config_schema": {"type": "object", "required": ["out"],
                                   "properties": {"out": {"type": "string"}}},
                 "sample_config": {"out": "digest.txt"}});

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    return goCreate((slipstream_host *)host);
}
