/*
 * checks.h - all that the probe asserts of a host: name, id, the rule of slipstream.h.
 * docs/conformance-host.md shows this list; tests hold it, the page and the bad hosts together.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef PROBE_CHECKS_H
#define PROBE_CHECKS_H

#define PROBE_CHECKS(X)                                                                            \
    /* The order of calls, in the life of an instance */                                           \
    X(ORDER_LOAD, "order.load", "on_load comes once, on a new instance")                           \
    X(ORDER_SUBSCRIBE, "order.subscribe", "subscribed_events comes once, after on_load")           \
    X(ORDER_SUBSCRIBE_FIRST, "order.subscribe-first",                                              \
      "subscribed_events comes before the first event")                                            \
    X(ORDER_BROADCAST, "order.broadcast", "on_broadcast comes only while the plugin is loaded")    \
    X(ORDER_FLUSH, "order.flush", "flush comes only while the plugin is loaded")                   \
    X(ORDER_FLUSH_UNASKED, "order.flush-unasked", "flush comes only with EXPLICIT_ACK")            \
    X(ORDER_UNLOAD, "order.unload", "on_unload comes once, on a loaded plugin")                    \
    X(ORDER_UNLOAD_FAILED, "order.unload-failed", "no on_unload after an on_load that failed")     \
    X(ORDER_PANIC, "order.panic", "after PANIC comes destroy and nothing else")                    \
    X(ORDER_FATAL, "order.fatal", "after FATAL come on_unload and destroy and nothing else")       \
    X(ORDER_NO_UNLOAD, "order.no-unload", "on_unload comes before destroy, if on_load was OK")     \
    X(ORDER_DESTROY, "order.destroy", "destroy comes once, and nothing after it")                  \
    X(ORDER_NO_DESTROY, "order.no-destroy",                                                        \
      "destroy comes before the library is closed and before the process ends by itself")          \
    X(ORDER_EXTENSION, "order.extension",                                                          \
      "get_extension and its tables are called only on a constructed or loaded instance")          \
    X(ORDER_REVERSE, "order.reverse",                                                              \
      "who was loaded last is unloaded first (only where the key order asks for it)")              \
    X(CALL_INSTANCE, "call.instance", "each function gets the instance of its table")              \
    X(CALL_OVERLAP, "call.overlap", "calls into one instance never overlap")                       \
    X(CALL_BACK, "call.back", "a function of the host never calls back into the plugin")           \
    X(CALL_THREAD, "call.thread", "all calls but on_broadcast come from one thread")               \
    X(CALL_DELIVERY_THREAD, "call.delivery-thread",                                                \
      "in thread and process mode on_broadcast comes from that thread, too (key one_thread)")      \
    X(CALL_PROCESS, "call.process", "no call comes in another process than the constructor's")     \
    X(CALL_SECOND, "call.second",                                                                  \
      "without MULTI_INSTANCE a second instance is at most constructed")                           \
    /* The tables of the host */                                                                   \
    X(HOST_SIZE, "host.size", "the host's table says its size, at least that of 1.0")              \
    X(HOST_NAME, "host.name", "name is [a-z0-9][a-z0-9._-]{0,62}")                                 \
    X(HOST_VERSION, "host.version", "version is 1 to 63 printable bytes")                          \
    X(HOST_FUNCTION, "host.function", "no function of the host's table is NULL")                   \
    X(HOST_CHANGED, "host.changed", "the host's table stays as it is")                             \
    X(HOST_OWN, "host.own", "each instance has a host table of its own")                           \
    X(TABLE_FOLLOWED, "table.followed",                                                            \
      "the host copies the plugin's table after construction and follows no later change")         \
    X(EXTENSION_TABLE, "extension.table",                                                          \
      "an extension's table says its size, at least that of 1.0, and has no NULL function")        \
    X(EXTENSION_UNKNOWN, "extension.unknown", "get_extension gives NULL for an unknown id")        \
    /* on_load and on_unload */                                                                    \
    X(LOAD_CONFIG, "load.config", "config is one JSON object in UTF-8, len bytes long")            \
    X(LOAD_NAME, "load.name", "config has the effective name, a text that is a name")              \
    X(LOAD_LIBPATH, "load.libpath", "config has libpath, an absolute path")                        \
    X(LOAD_HOST, "load.host", "config has no object host: that is the host's")                     \
    X(LOAD_REASON, "load.reason", "reason is START, RELOAD or RESTART")                            \
    X(LOAD_STABLE, "load.stable", "config does not change while on_load runs")                     \
    X(UNLOAD_STOPPING, "unload.stopping", "is_stopping is not 0 while on_unload runs")             \
    X(UNLOAD_LOG, "unload.log",                                                                    \
      "log and the host's other functions for any thread do not wait for on_unload")               \
    /* Delivery */                                                                                 \
    X(DELIVERY_NULL, "delivery.null", "delivery and frames are never NULL")                        \
    X(DELIVERY_SIZE, "delivery.size", "delivery says its size, at least that of 1.0")              \
    X(DELIVERY_FLAGS, "delivery.flags", "the flags of delivery are 0")                             \
    X(DELIVERY_ATTEMPT, "delivery.attempt", "attempt is at least 1")                               \
    X(DELIVERY_COUNT, "delivery.count", "count frames fill len bytes, and there is one at least")  \
    X(DELIVERY_SINGLE, "delivery.single", "count is 1 without BATCH")                              \
    X(DELIVERY_STABLE, "delivery.stable", "the frames do not change while on_broadcast runs")      \
    X(ORDINAL_DENSE, "ordinal.dense", "ordinals have no hole; a GAP begins where they stopped")    \
    X(ORDINAL_REPEAT, "ordinal.repeat", "an earlier ordinal comes only with attempt above 1")      \
    X(ORDINAL_BYTES, "ordinal.bytes", "an event that comes again has the same bytes")              \
    X(SETTLED_AGAIN, "settled.again",                                                              \
      "an event that was answered FAILED, or rejected, does not come again")                       \
    X(RETRY_AGAIN, "retry.again",                                                                  \
      "what was answered RETRY comes again before the next event (key one_thread)")                \
    X(RETRY_ATTEMPT, "retry.attempt", "what comes again after RETRY has a higher attempt")         \
    X(RUN_UNDONE, "run.undone", "the frames of a run that was not taken come again, one by one")   \
    X(GAP_ALONE, "gap.alone", "a GAP comes alone, never in a run of several")                      \
    X(GAP_COUNT, "gap.count", "a GAP's count is last - first + 1, and not 0")                      \
    X(GAP_ORDINAL, "gap.ordinal", "a GAP has the ordinal of the last event that was lost")         \
    X(GAP_REASONS, "gap.reasons", "a GAP has one reason or more, of those of the header")          \
    X(GAP_KINDS, "gap.kinds", "a GAP's kinds are some that the plugin would have got")             \
    X(GAP_PLACE, "gap.place", "a GAP's lost_stream and sequences are all given, or all 0")         \
    X(KIND_UNSUBSCRIBED, "kind.unsubscribed",                                                      \
      "a kind comes if it is subscribed, a GAP, or a routed PAYLOAD that is claimed")              \
    X(KIND_ROUTED, "kind.routed", "ROUTED is on a PAYLOAD whose name is claimed, only")            \
    /* Frames */                                                                                   \
    X(FRAME_READ, "frame.read", "slipstream_read_frame reads each frame")                          \
    X(FRAME_HEADER, "frame.header", "header_len is 48")                                            \
    X(FRAME_LEN, "frame.len", "header_len + payload_len, rounded up to 8, is frame_len")           \
    X(FRAME_FLAGS, "frame.flags", "flags are those of the header, and the application's")          \
    X(FRAME_PLACE, "frame.place", "stream and sequence are given; those of a GAP are 0")           \
    X(FRAME_PADDING, "frame.padding", "padding is zero")                                           \
    X(PAYLOAD_READ, "payload.read", "the header's reader of its kind reads each payload")          \
    X(PAYLOAD_FIXED, "payload.fixed", "fixed_len is that of the kind's row in the header")         \
    X(PAYLOAD_WORD, "payload.word", "the word is 0 where nothing is named, via is a known one")    \
    X(PAYLOAD_RESERVED, "payload.reserved", "what is reserved in a payload is 0")                  \
    X(PAYLOAD_SPANS, "payload.spans",                                                              \
      "spans lie in the order of the fields, 8-aligned, end to end, up to payload_len")            \
    X(GOLDEN_BYTES, "golden.bytes", "a frame of the file golden comes as it is there")             \
    /* Functions of the host */                                                                    \
    X(ACK_UNFLAGGED, "ack.unflagged", "ack without EXPLICIT_ACK is INVALID_ARGUMENT")              \
    X(ACK_FUTURE, "ack.future", "ack of what was not delivered is INVALID_ARGUMENT")               \
    X(ACK_RUNNING, "ack.running", "ack of an event of the call that runs is OK")                   \
    X(ACK_LOWER, "ack.lower", "ack of an equal or lower ordinal is OK")                            \
    X(ACK_STATE, "ack.state", "ack is WRONG_STATE when not loaded, and OK in on_unload")           \
    X(SETTLE_REJECT, "settle.reject", "reject of an event of the run is OK, a second time, too")   \
    X(SETTLE_OUTSIDE, "settle.outside",                                                            \
      "reject of what is not in the run, or acknowledged, is INVALID_ARGUMENT")                    \
    X(SETTLE_STATUS, "settle.status",                                                              \
      "reject with a status that does not settle is INVALID_ARGUMENT")                             \
    X(SETTLE_STATE, "settle.state", "reject is WRONG_STATE when not loaded")                       \
    X(METRICS_OK, "metrics.ok", "64 series are kept, in on_load, later and in on_unload")          \
    X(METRICS_NAME, "metrics.name", "another name of a metric is INVALID_ARGUMENT")                \
    X(METRICS_LABEL, "metrics.label", "another label of a metric is INVALID_ARGUMENT")             \
    X(METRICS_OTHER, "metrics.other",                                                              \
      "a counter's name as a gauge, or the other way round, is INVALID_ARGUMENT")                  \
    X(CONFIG_TYPE, "config.type", "type_at tells type and count of each value of config")          \
    X(CONFIG_KEY, "config.key", "key_at gives the keys in the order of config, then NOT_FOUND")    \
    X(CONFIG_TEXT, "config.text", "get_text gives a text, unescaped")                              \
    X(CONFIG_JSON, "config.json", "get_json gives any value as JSON")                              \
    X(CONFIG_NUMBER, "config.number",                                                              \
      "get_i64, get_u64 and get_f64 give a number; OUT_OF_RANGE, WRONG_TYPE for a fraction")       \
    X(CONFIG_BOOL, "config.bool", "get_bool gives true and false")                                 \
    X(CONFIG_WRONG_TYPE, "config.wrong-type", "what is of another type is WRONG_TYPE")             \
    X(CONFIG_MISSING, "config.missing", "what is not there is NOT_FOUND")                          \
    X(CONFIG_POINTER, "config.pointer", "what is no JSON pointer is INVALID_ARGUMENT")             \
    X(CONFIG_BUFFER, "config.buffer",                                                              \
      "a short buffer is TOO_LARGE and *len what is needed; no byte behind a text is written")     \
    X(CONFIG_UNTOUCHED, "config.untouched", "a call that is not OK leaves its output untouched")   \
    X(CONFIG_STATE, "config.state", "slipstream.config/1 is WRONG_STATE outside of on_load")       \
    X(CONFIG_FOLDER, "config.folder", "config_dir and data_dir are absolute paths of folders")     \
    /* The functions of a host that has peers */                                                   \
    X(PEERS_STATE, "peers.state",                                                                  \
      "what a host with peers offers is WRONG_STATE when the plugin is not loaded")                \
    X(PEERS_DENIED, "peers.denied", "what is not granted is DENIED (only with the key granted)")   \
    X(PEERS_UNKNOWN, "peers.unknown",                                                              \
      "an unknown peer or field is NOT_FOUND, and so is what comes after the last peer")           \
    X(PEERS_BUFFER, "peers.buffer",                                                                \
      "a short buffer is TOO_LARGE and *len what is needed; nothing is written behind")            \
    X(PEERS_UNTOUCHED, "peers.untouched", "a call that is not OK leaves its output untouched")     \
    X(SEND_HOW, "send.how", "another how than DIRECT and ROUTED is INVALID_ARGUMENT")              \
    X(SEND_STATUS, "send.status",                                                                  \
      "send gives OK, NOT_FOUND, RETRY, TOO_LARGE or DENIED")                \
    X(IDENTITY_KEY, "identity.key", "public_key gives the same bytes each time")                   \
    X(IDENTITY_SIGN, "identity.sign", "sign writes SLIPSTREAM_SIGNATURE_LEN bytes")                \
    X(IDENTITY_OPEN, "identity.open", "open of what was not sealed for this host is MALFORMED")

typedef enum probe_check_id {
#define PROBE_NAME_OF(name, id, rule) name,
    PROBE_CHECKS(PROBE_NAME_OF)
#undef PROBE_NAME_OF
        CHECKS
} probe_check_id;

#endif
