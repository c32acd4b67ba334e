/*
 * slipstream.h - the contract between a slipstream host and a native plugin.
 * ABI major 1. This file is all that a plugin needs: C11 or C++11, no library.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * How to read it: this page, then the whole plugin below it, then the tables. Behind the
 * tables stands a line where a plugin's author may stop: what follows are readers of
 * frames, named as what they read.
 *
 * IN ONE PAGE
 *
 *   A plugin is a shared library that exports one function,
 *   slipstream_create_plugin_v1(). It returns a table of functions,
 *   slipstream_plugin. The host loads it, asks which kinds of event it wants, and
 *   hands it those events as frames: bytes in one fixed layout, the same in memory,
 *   in a ring between processes, in a file and on a wire. A second export, the text
 *   slipstream_info_v1, is optional: it tells a host what the plugin is before any of
 *   its code runs (SLIPSTREAM_INFO). A plugin exports nothing but these two.
 *
 * LIFE OF AN INSTANCE
 *
 *      slipstream_create_plugin_v1()
 *                 |
 *                 v          on_load() is OK              on_unload()
 *          [constructed] ----------------> [loaded] ----------------> [ended]
 *             |       |                       |                        ^   |
 *             |       |                       | a call returned PANIC  |   |
 *             |       |                       +------------------------+   |
 *             |       | on_load() fails                                |   |
 *             |       +------------------------------------------------+   v
 *             +--- the host refuses the plugin ------------------------> destroy()
 *
 *   on_load happens at most once. An absent on_load counts as success. After a failed
 *   on_load the host does NOT call on_unload; the plugin cleans up before it returns.
 *   After PANIC the host calls destroy and nothing else.
 *
 * TAGS
 *
 *   Every function below carries a tag: [who may call it & in which state].
 *     plugin-thread    The host's calls into one instance. They never overlap. In thread
 *                      and process mode all of them come from one and the same thread,
 *                      from construction to destruction. In inline mode all but
 *                      on_broadcast come from one thread.
 *     delivery-thread  The plugin-thread; in inline mode whichever thread broadcasts,
 *                      one at a time (SLIPSTREAM_FLAG_CONCURRENT: several).
 *     any-thread       Any thread, several at once; the callee synchronises.
 *     constructing     While slipstream_create_plugin_v1 runs.
 *     constructed      It has returned; on_load was not called.
 *     loading          While on_load runs.
 *     loaded           on_load returned SLIPSTREAM_OK; on_unload was not called.
 *     unloading        While on_unload runs.
 *     ended            on_unload has returned, on_load has failed, or a call has
 *                      returned PANIC.
 *     alive            Any state from constructing until destroy has returned.
 *
 * RULES FOR BOTH SIDES
 *
 *   Tables   Every table starts with its own size in bytes (struct_size). A table grows
 *            only at its end. Whoever writes a table MUST set struct_size to the size
 *            that it was compiled with. Whoever reads one MUST read struct_size first
 *            and MUST NOT read beyond it (SLIPSTREAM_HAS). No table shrinks: each is at
 *            least as large as in its first release (SLIPSTREAM_..._SIZE_1_0). No side
 *            allocates a table of the other, and no table holds another by value. The
 *            host copies the plugin's table once, after construction, and follows no
 *            later change to it. Nothing that is optional becomes required.
 *   Reserved Reserved words are written 0 and MUST be ignored by the reader; so are
 *            flags that it does not know.
 *   Bytes    (const uint8_t *data, size_t len): data is never NULL, holds no NUL at its
 *            end, has no promised alignment, is readable for exactly len bytes until the
 *            call returns, and MUST NOT be written to.
 *   Texts    Names, versions and extension ids are NUL-terminated. Log lines, errors and
 *            config are (const char *text, size_t len) in UTF-8 without NUL at the end;
 *            where len is 0, text may be NULL.
 *   Memory   Nothing is freed across the boundary. What one side hands over is copied
 *            by the other before the call returns, unless said otherwise.
 *   Errors   A status says that a call failed; set_error, called before it returns, says
 *            why. No call leaves errno or the like for the other side.
 *   Panics   The plugin MUST NOT let an exception or a panic leave a function: it would
 *            end the process. Catch it, undo, return SLIPSTREAM_PANIC.
 *   Threads  A plugin may start threads in on_load and MUST have joined them when
 *            on_unload returns; before on_load it starts nothing. They MUST block all
 *            signals. The threads of a language's runtime (Go, JVM, .NET) are exempt:
 *            such a plugin has SLIPSTREAM_FLAG_RESIDENT, and process mode suits it best.
 *   Process  The process belongs to the host. The plugin MUST leave its signal handlers,
 *            working directory, locale, umask, limits and timers alone, MUST NOT return
 *            from a call in a forked child, and MUST have ended its children when
 *            on_unload returns.
 *   Time     In thread and process mode a plugin may block; see callback_timeout in the
 *            host's config. A plugin with SLIPSTREAM_FLAG_PROMPT promises not to.
 *   Order    Events come in the order of their ordinals, which is the order in which the
 *            host accepted them, over all streams. What a source promises beyond that
 *            (such as all updates of a block before the block) is the source's to say.
 *
 * TRUST
 *
 *   A plugin has all the rights of the process that it runs in. Process mode protects
 *   the host from a plugin's mistakes (a crash, a hang, a wild write), not from malice:
 *   the worker runs as the same user. Load only what you would run as a program.
 *
 * CHANGES
 *
 *   1.0  The first version. A table of functions instead of a C++ or Rust object, since
 *        the layout of those belongs to one compiler; sizes in front of every table, so
 *        that both sides can grow alone; frames instead of structs for events, so that
 *        the bytes of the ring are the bytes that a plugin reads.
 *
 *   A plugin built for 1.0 loads, unrebuilt, in every host of major 1. To come in later
 *   minors, as extensions that nobody needs to know: slipstream.source/1 (a plugin that
 *   brings events; none gets what it emitted), slipstream.snapshot/1,
 *   slipstream.delivery/1, slipstream.filter/1, slipstream.timer/1.
 *
 * A WHOLE PLUGIN
 *
 *   It logs a line for every block. Build it with
 *       cc -std=c11 -shared -fPIC -fvisibility=hidden -I include -o minimal.so minimal.c
 *
 * example:begin
#include <slipstream.h>
#include <stdlib.h>

SLIPSTREAM_INFO({"name": "minimal", "version": "1.0.0", "abi": 1, "kinds": ["BLOCK"],
                 "flags": ["PROMPT", "MULTI_INSTANCE"]});

typedef struct minimal {
    slipstream_plugin table;
    const slipstream_host *host;
} minimal;

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    const minimal *self = (const minimal *)instance;
    slipstream_frame frame;
    (void)delivery;
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK)
        return slipstream_fail(self->host, SLIPSTREAM_MALFORMED, "unreadable frame");
    if (frame.kind != SLIPSTREAM_KIND_BLOCK)
        return SLIPSTREAM_IGNORED;
    slipstream_log(self->host, SLIPSTREAM_LOG_DEBUG, "a block");
    return SLIPSTREAM_OK;
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    const uint32_t flags = SLIPSTREAM_FLAG_PROMPT | SLIPSTREAM_FLAG_MULTI_INSTANCE;
    minimal *self = (minimal *)malloc(sizeof *self);
    const slipstream_plugin table = {SLIPSTREAM_PLUGIN_HEAD, flags, self, "minimal", "1.0.0", free,
                                     NULL, NULL, subscribed_events, on_broadcast, NULL, NULL};
    if (self == NULL)
        return NULL;
    self->table = table;
    self->host = host;
    return &self->table;
}
 * example:end
 */
#ifndef SLIPSTREAM_H
#define SLIPSTREAM_H

#include <stddef.h>
#include <stdint.h>

/* ---- Settings: what you may define before you include this header -------------------
 *
 *   SLIPSTREAM_HOST          You are a host, or a test that plays one: the constructor is
 *                            not exported from your program, and everything is declared.
 *   SLIPSTREAM_TARGET_MINOR  The oldest minor whose hosts shall load you; 0 unless you say
 *                            more. What is newer is not declared, your table gets the size
 *                            of that minor, and SLIPSTREAM_PLUGIN_HEAD asks for it. So a
 *                            newer copy of this file never asks for a newer host silently.
 *   SLIPSTREAM_CALL          Calling convention of every function that crosses the boundary.
 *   SLIPSTREAM_EXPORT        How the two exports are exported. */
#ifndef SLIPSTREAM_TARGET_MINOR
#ifdef SLIPSTREAM_HOST
#define SLIPSTREAM_TARGET_MINOR SLIPSTREAM_ABI_MINOR
#else
#define SLIPSTREAM_TARGET_MINOR 0
#endif
#endif

#ifndef SLIPSTREAM_CALL
#if defined(_WIN32) && !defined(_WIN64)
#define SLIPSTREAM_CALL __cdecl
#else
#define SLIPSTREAM_CALL
#endif
#endif

#ifndef SLIPSTREAM_EXPORT
#if defined(SLIPSTREAM_HOST)
#define SLIPSTREAM_EXPORT
#elif defined(_WIN32)
#define SLIPSTREAM_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define SLIPSTREAM_EXPORT __attribute__((visibility("default")))
#else
#define SLIPSTREAM_EXPORT
#endif
#endif

/* ---- Names and macros -------------------------------------------------------------- */

/* The name of the constructor carries the ABI major: a host that speaks major 1 looks
 * for exactly this symbol, in the file, before it opens the file. */
#define SLIPSTREAM_CONSTRUCTOR "slipstream_create_plugin_v1"

/* The optional text beside it, and how it begins; see SLIPSTREAM_INFO. */
#define SLIPSTREAM_INFO_SYMBOL "slipstream_info_v1"
#define SLIPSTREAM_INFO_MAGIC "SLIPINFO1\n"

/* Ids of the extensions of revision 1; see get_extension. Ids that begin with
 * "slipstream." are this contract's, all others a reversed domain's: "org.example.x/1". */
#define SLIPSTREAM_EXT_CONFIG "slipstream.config/1"     /* the host's */
#define SLIPSTREAM_EXT_METRICS "slipstream.metrics/1"   /* the host's */
#define SLIPSTREAM_EXT_SETTLE "slipstream.settle/1"     /* the host's */
#define SLIPSTREAM_EXT_SEND "slipstream.send/1"         /* the host's, where it has peers */
#define SLIPSTREAM_EXT_PEERS "slipstream.peers/1"       /* the host's, where it has peers */
#define SLIPSTREAM_EXT_IDENTITY "slipstream.identity/1" /* the host's, where it has peers */
#define SLIPSTREAM_EXT_PAYLOAD "slipstream.payload/1"   /* the plugin's */

/* The plugin's text before its code: what it is, as one JSON object. A host reads it out
 * of the file, so that it can check a config, judge kinds and grants, and show all this
 * without running the plugin. Written once at file scope, as plain JSON:
 *
 *     SLIPSTREAM_INFO({"name": "minimal", "version": "1.0.0", "abi": 1, "kinds": ["BLOCK"]});
 *
 * In another language: a constant, exported array of bytes named slipstream_info_v1 in a
 * section that is not writable, SLIPSTREAM_INFO_MAGIC, the JSON in UTF-8, a NUL; together
 * at most SLIPSTREAM_INFO_MAX bytes. (gcc and clang with -pedantic warn of a text over
 * 4,095 bytes: -Wno-overlength-strings.)
 *
 *   name, version    As in the table. Required, as is abi.
 *   abi              1: the major.
 *   min_host_minor   As in the table; 0 where it is left out.
 *   flags            Names, such as ["PROMPT", "BATCH"]: exactly those of the table.
 *   kinds            Names or numbers, such as ["BLOCK", 40]: all that subscribed_events
 *                    may ever return.
 *   requires         Ids of the host's extensions without which on_load fails.
 *   optional         Ids of those that are used where they are there.
 *   grants           What the operator has to allow: "send", "peers", "identity.sign",
 *                    "identity.open".
 *   encodings        For each kind the encodings that it reads: {"BLOCK": [1]}.
 *   config_schema    JSON Schema of the plugin's own config keys (a subset, listed in the
 *                    host's documentation).
 *   sample_config    A config that the schema accepts.
 *   licence, url     For people.
 *
 * Other keys are ignored. What is said here MUST agree with the table: a host refuses a
 * library that contradicts itself. */
#define SLIPSTREAM_INFO(...)                                                              \
    const char slipstream_info_v1[] = SLIPSTREAM_INFO_MAGIC #__VA_ARGS__

/* The first three words of a plugin's table: {SLIPSTREAM_PLUGIN_HEAD, flags, self, ...}. */
#define SLIPSTREAM_PLUGIN_HEAD                                                            \
    sizeof(slipstream_plugin), SLIPSTREAM_ABI_MINOR, SLIPSTREAM_TARGET_MINOR

/* True if the table behind `pointer` is large enough to hold `field`. In a plugin's
 * table a function also has to be non-NULL; a host's has no NULL function. Needed only
 * for fields newer than the table's first release. */
#define SLIPSTREAM_HAS(type, pointer, field)                                              \
    ((pointer)->struct_size >= offsetof(type, field) + SLIPSTREAM_FIELD_SIZE(type, field))

/* The bit of a kind in subscribed_events and in a gap's set of kinds; no bit for a kind
 * above 63. */
#define SLIPSTREAM_KIND_BIT(kind) ((kind) < 64 ? UINT64_C(1) << ((kind) & 63) : UINT64_C(0))

#ifdef __cplusplus
#define SLIPSTREAM_CAST(type, value) static_cast<type>(value)
#define SLIPSTREAM_FIELD_SIZE(type, field) sizeof(type::field)
extern "C" {
#else
#define SLIPSTREAM_CAST(type, value) ((type)(value))
#define SLIPSTREAM_FIELD_SIZE(type, field) sizeof(((type *)0)->field)
#endif

/* Between the two marks stand only declarations, "#define NAME literal", and, around what
 * came after 1.0, "#if SLIPSTREAM_TARGET_MINOR >= number" and "#endif", so that a host
 * written in another language can parse this part instead of repeating it.
 * cdef:begin */
#define SLIPSTREAM_ABI_MAJOR 1
#define SLIPSTREAM_ABI_MINOR 0

/* ---- Statuses --------------------------------------------------------------------
 * int32_t; negative is failure. Further numbers may come: an unknown negative one is
 * treated as FAILED, an unknown positive one as FAILED and a bug of the other side.
 *
 * What the host does with a status of on_broadcast:
 *   OK, IGNORED              The event is delivered. Without SLIPSTREAM_FLAG_EXPLICIT_ACK
 *                            it is acknowledged, too; with it OK waits for ack() or
 *                            flush(), and IGNORED for nothing.
 *   RETRY, NO_MEMORY, TIMEOUT  Thread and process mode: the same event comes again, after
 *                            a pause that grows, with a higher attempt and order kept,
 *                            until it is taken, until the plugin is unloaded, or until a
 *                            bound that the operator has set; then as FAILED. Inline
 *                            mode: at once as FAILED.
 *   FATAL                    The event is kept, the plugin gets nothing more: on_unload,
 *                            destroy.
 *   PANIC                    As FATAL, but only destroy is called.
 *   any other                The event is settled: it does not come again, is logged,
 *                            counted as dead and kept as a dead letter. With
 *                            SLIPSTREAM_FLAG_EXPLICIT_ACK it needs no ack: it is released
 *                            with what comes before it, at the latest by the next ack at
 *                            or above it or by flush, and acknowledges nothing before it.
 *                            Never raised to whoever broadcast it.
 * For every other function only OK is success:
 *   on_load                  Any other: the load fails; see LIFE OF AN INSTANCE.
 *   on_unload                Any other: logged; the plugin is unloaded all the same.
 *   flush                    Any other: nothing is acknowledged; the host asks again later.
 *                            FATAL and PANIC also end the plugin, as above. */
#define SLIPSTREAM_OK 0                /* done */
#define SLIPSTREAM_END 1               /* iterators only: nothing is left */
#define SLIPSTREAM_IGNORED 2           /* not for this plugin; as good as done */
#define SLIPSTREAM_FAILED -1           /* did not work, will not work again */
#define SLIPSTREAM_RETRY -2            /* did not work now; try again later */
#define SLIPSTREAM_NOT_FOUND -3        /* no such key, name or file */
#define SLIPSTREAM_UNSUPPORTED -4      /* understood, but not offered here */
#define SLIPSTREAM_INVALID_ARGUMENT -5 /* an argument is against the contract */
#define SLIPSTREAM_INVALID_CONFIG -6   /* the plugin cannot use its config */
#define SLIPSTREAM_MALFORMED -7        /* bytes are not what they claim to be */
#define SLIPSTREAM_WRONG_STATE -8      /* called at the wrong time */
#define SLIPSTREAM_TOO_LARGE -9        /* does not fit; the needed size is given */
#define SLIPSTREAM_OUT_OF_RANGE -10    /* a number does not fit its type */
#define SLIPSTREAM_WRONG_TYPE -11      /* another type than asked for */
#define SLIPSTREAM_NO_MEMORY -12       /* out of memory */
#define SLIPSTREAM_IO -13              /* reading or writing failed */
#define SLIPSTREAM_TIMEOUT -14         /* not done in time */
#define SLIPSTREAM_DENIED -15          /* not allowed */
#define SLIPSTREAM_FATAL -16           /* this instance cannot go on */
#define SLIPSTREAM_PANIC -17           /* a panic was caught; the instance is unusable */

/* ---- Kinds of event --------------------------------------------------------------
 * 9 to 31 are kept for this contract. 32 to 63 belong to the host's application, never to
 * a plugin's author, who uses PAYLOAD with a name in a reversed domain. What is above 63
 * is never delivered in major 1. A plugin returns IGNORED for a kind that it does not
 * know. */
#define SLIPSTREAM_KIND_MAPPING_UPDATE 0
#define SLIPSTREAM_KIND_MAPPING_REMOVAL 1
#define SLIPSTREAM_KIND_STAKING_REWARD 2
#define SLIPSTREAM_KIND_BLOCK 3
#define SLIPSTREAM_KIND_PAYLOAD 4
#define SLIPSTREAM_KIND_GAP 5
#define SLIPSTREAM_KIND_PEER_SEEN 6
#define SLIPSTREAM_KIND_PEER_FORGOTTEN 7
#define SLIPSTREAM_KIND_MARK 8 /* a note in a file or on a connection; never delivered */
#define SLIPSTREAM_KIND_APP_FIRST 32
#define SLIPSTREAM_KIND_APP_LAST 63

/* ---- Frames ----------------------------------------------------------------------
 * All numbers little-endian; nothing is aligned unless said. Use the readers below.
 *
 *   at  type  field
 *    0  u32   frame_len    the whole frame, a multiple of 8, 48 to 67,108,864
 *    4  u16   header_len   48; a multiple of 8; may grow
 *    6  u16   kind
 *    8  u32   flags        bits 0-15 may be ignored (8-15 belong to the application in
 *                          kinds 32 to 63), bits 16-31 are critical: a reader that does
 *                          not know one answers UNSUPPORTED
 *   12  u32   payload_len  without padding, at most frame_len - header_len
 *   16  u64   stream       names the sequence space; 0 is not yet given
 *   24  u64   sequence     within the stream, from 1; 0 is not yet given
 *   32  i64   time         nanoseconds since 1970 UTC; may step back
 *   40  u64   height       SLIPSTREAM_HEIGHT_NONE where there is none
 *
 * (stream, sequence) is the key to recognise a repeated event, and what to store; a GAP
 * and a MARK have 0 and 0. Holes in the sequence are not losses: a plugin sees only the
 * kinds that it subscribed to. Losses are GAP events.
 *
 * Every payload starts with u32 fixed_len, u32 word (what it says depends on the kind; 0
 * where nothing is named) and grows by extending that fixed part in multiples of 8; it
 * never shrinks.
 * A span is u32 offset, u32 len: offset counts from the payload's start and is at least
 * fixed_len. Offset 0 with len 0 is an absent value, any other offset with len 0 is an
 * empty one. Writers lay spans out in the order of the fields, each start 8-aligned,
 * padding zero; payload_len ends where the last span ends, and an empty one ends where it
 * starts; header_len + payload_len rounded up to 8 is frame_len.
 *
 *   kind             fixed_len  word       fields
 *   MAPPING_UPDATE   40         encoding   8 program_id, 16 mapping_name, 24 key, 32 value
 *                                          (spans)
 *   MAPPING_REMOVAL  32         encoding   8 program_id, 16 mapping_name, 24 key (spans;
 *                                          an absent key is the whole mapping)
 *   STAKING_REWARD   40         encoding   8 staker, 16 validator (spans), 24 u64 reward,
 *                                          32 u64 new_stake
 *   BLOCK            16         encoding   8 block (span)
 *   PAYLOAD          32         encoding   8 source (may be absent), 16 name, 24 body
 *                                          (spans)
 *   GAP              80         reasons    u64: 8 first, 16 last (ordinals), 24 count,
 *                                          32 set of kinds, 40 first_height,
 *                                          48 last_height, 56 lost_stream, 64 first_sequence,
 *                                          72 last_sequence
 *   PEER_SEEN        40         via        8 peer, 16 public_key (may be absent), 24 name
 *                                          (may be absent; spans), 32 reserved
 *   PEER_FORGOTTEN   16                    8 peer (span)
 *   MARK             24                    8 name, 16 body (spans): the body is JSON;
 *                                          names "slipstream.*" are this contract's
 *   32 to 63         8 or more             the application's own bytes after fixed_len
 *
 * A GAP tells of neighbouring events that were lost: count is last - first + 1. It comes
 * alone, never in a run of several. Stream and sequences are those of what was lost, so
 * that a plugin can ask the source for it; all three are 0 where it was not one stream.
 * Once it is answered it is forgotten: a plugin that must be complete answers FATAL. */
#define SLIPSTREAM_FRAME_HEADER_LEN 48
#define SLIPSTREAM_FRAME_MAX 67108864
#define SLIPSTREAM_FRAME_RECORDED 1          /* flag: from a recording, not live */
#define SLIPSTREAM_FRAME_ROUTED 2            /* flag: a PAYLOAD routed by its name */
#define SLIPSTREAM_FRAME_FROM_PLUGIN 4       /* flag: a plugin brought it */
#define SLIPSTREAM_FRAME_SNAPSHOT 8          /* flag: part of a state, not a change to it */
#define SLIPSTREAM_FRAME_CRITICAL 0xFFFF0000 /* mask: flags that must be known */
#define SLIPSTREAM_HEIGHT_NONE 0xFFFFFFFFFFFFFFFF

/* The encoding: how a source has written the opaque bytes of an event. A plugin names
 * those that it reads in its info. Numbers from 0x80000000 on are an application's own. */
#define SLIPSTREAM_ENCODING_UNSAID 0
#define SLIPSTREAM_ENCODING_SNARKVM_4 1 /* snarkVM's to_bytes_le, up to 4.x */

/* How a peer was seen, and how a message is sent to it. */
#define SLIPSTREAM_PEER_DIRECT 1
#define SLIPSTREAM_PEER_ROUTED 2

/* Why events were lost: the set of reasons in a GAP. */
#define SLIPSTREAM_GAP_DROPPED_NEWEST 1 /* the ring was full: the new event was dropped */
#define SLIPSTREAM_GAP_DROPPED_OLDEST 2 /* the ring was full: the oldest was dropped */
#define SLIPSTREAM_GAP_BLOCK_TIMEOUT 4  /* the ring stayed full for block_timeout */
#define SLIPSTREAM_GAP_DEAD_LETTER 8    /* it crashed the plugin again and again */
#define SLIPSTREAM_GAP_TOO_LARGE 16     /* it is larger than the ring */
#define SLIPSTREAM_GAP_PAUSED 32        /* the plugin was paused */
#define SLIPSTREAM_GAP_RELOAD 64        /* the plugin was being reloaded */
#define SLIPSTREAM_GAP_QUARANTINED 128  /* the plugin was quarantined after its crashes */

/* Levels of log lines. The last two name a breach of this contract: HOST_MISBEHAVING is
 * for the plugin to report the host, PLUGIN_MISBEHAVING is the host's own. */
#define SLIPSTREAM_LOG_TRACE 0
#define SLIPSTREAM_LOG_DEBUG 1
#define SLIPSTREAM_LOG_INFO 2
#define SLIPSTREAM_LOG_WARN 3
#define SLIPSTREAM_LOG_ERROR 4
#define SLIPSTREAM_LOG_HOST_MISBEHAVING 5
#define SLIPSTREAM_LOG_PLUGIN_MISBEHAVING 6

/* Why on_load is called. */
#define SLIPSTREAM_LOAD_START 0   /* the host starts, or loads the plugin for the first time */
#define SLIPSTREAM_LOAD_RELOAD 1  /* this instance takes over from another one */
#define SLIPSTREAM_LOAD_RESTART 2 /* the one before it crashed */

/* Flags of a plugin, read once after construction; unknown ones are ignored. */
#define SLIPSTREAM_FLAG_RESIDENT 1       /* never unmap; such a library also pins itself */
#define SLIPSTREAM_FLAG_PROMPT 2         /* on_broadcast neither blocks nor runs long */
#define SLIPSTREAM_FLAG_MULTI_INSTANCE 4 /* several instances of this library file may be
                                            loaded in one host at once; without it a second
                                            one is at most constructed */
#define SLIPSTREAM_FLAG_EXPLICIT_ACK 8   /* events are acknowledged by ack() or flush() */
#define SLIPSTREAM_FLAG_BATCH 16         /* on_broadcast takes runs of several frames */
#define SLIPSTREAM_FLAG_CONCURRENT 32    /* inline only: on_broadcast may overlap itself,
                                            and then comes in no particular order */

/* Longest texts, in bytes; what is longer is cut (or refused, where it is a name). */
#define SLIPSTREAM_NAME_MAX 63    /* names: [a-z0-9][a-z0-9._-]{0,62}; versions: printable */
#define SLIPSTREAM_ERROR_MAX 4096 /* set_error */
#define SLIPSTREAM_LOG_MAX 65536  /* log */
#define SLIPSTREAM_INFO_MAX 65536 /* slipstream_info_v1, its beginning and its NUL included */

/* timeout_ms of on_unload and flush: no limit. 0: do not wait. */
#define SLIPSTREAM_NO_TIMEOUT 0xFFFFFFFF

/* ---- How an event is delivered ---------------------------------------------------
 * The host's; valid until on_broadcast returns. */
typedef struct slipstream_delivery {
    uint32_t struct_size;
    /* 1 the first time; above 1 the event may have been delivered before. The highest of
     * the run's events. */
    uint32_t attempt;
    /* Frames in this run: at least 1, with no upper bound; exactly 1 unless the plugin has
     * SLIPSTREAM_FLAG_BATCH. */
    uint32_t count;
    uint32_t flags; /* 0; unknown ones are ignored */
    /* Ordinals are dense for each plugin. This is the run's first; the others follow it
     * one by one. A GAP has the ordinal of the last event that was lost. The first that
     * an instance gets may be any number; they go on over restart and reload and start
     * anew after unload and load: store (stream, sequence), never an ordinal. */
    uint64_t first_ordinal;
} slipstream_delivery;

/* ---- The host, seen from the plugin ----------------------------------------------
 * One table for each instance, valid until destroy has returned; where the constructor
 * returns NULL, until that has returned. The host's functions never call back into the
 * plugin. */
typedef struct slipstream_host {
    uint32_t struct_size;
    uint32_t abi_minor; /* the host's; for messages, and to be refused by */
    void *ctx;          /* first argument of every function below */
    const char *name;
    const char *version;

    /* Non-zero if a line of this level would be kept.
     * [any-thread & alive] */
    int32_t(SLIPSTREAM_CALL *log_enabled)(void *ctx, uint32_t level);

    /* Hands a line to the host's log. Never blocks and needs no lock of an interpreter;
     * when the queue is full the line is dropped and counted. The host cuts it at
     * SLIPSTREAM_LOG_MAX and escapes control characters and invalid UTF-8.
     * [any-thread & alive] */
    void(SLIPSTREAM_CALL *log)(void *ctx, uint32_t level, const char *text, size_t len);

    /* Says why the host's current call on this thread is about to fail. The last text
     * wins; it is cut to SLIPSTREAM_ERROR_MAX, with a mark that says so, and ignored if the
     * call returns OK. Outside of a call it is logged as PLUGIN_MISBEHAVING.
     * [plugin-thread | delivery-thread & alive, inside a call of the host] */
    void(SLIPSTREAM_CALL *set_error)(void *ctx, const char *text, size_t len);

    /* Acknowledges every event up to and including `ordinal`; those of the on_broadcast
     * that is running may be among them. A lower or equal one is OK and changes nothing.
     * INVALID_ARGUMENT for an ordinal that was not delivered yet, or without
     * SLIPSTREAM_FLAG_EXPLICIT_ACK; WRONG_STATE when not loaded.
     * [any-thread & loaded | unloading] */
    int32_t(SLIPSTREAM_CALL *ack)(void *ctx, uint64_t ordinal);

    /* Non-zero if the plugin should return from a long call soon: finish what is cheap,
     * return RETRY for what is undone.
     * [any-thread & alive] */
    int32_t(SLIPSTREAM_CALL *is_stopping)(void *ctx);

    /* A table of further host functions, or NULL if the host does not offer `id`. Ids are
     * slipstream.<name>/<revision>; a draft carries "draft" in its name. The table is
     * valid as long as this one, its functions take this `ctx`.
     * [any-thread & alive] */
    const void *(SLIPSTREAM_CALL *get_extension)(void *ctx, const char *id);
} slipstream_host;

/* ---- The plugin, seen from the host ----------------------------------------------
 * The first four words never change, in any major. */
typedef struct slipstream_plugin {
    uint32_t struct_size;
    uint32_t abi_minor;      /* SLIPSTREAM_ABI_MINOR of the header; for messages only */
    uint32_t min_host_minor; /* refuse me if your abi_minor is lower ("host too old") */
    uint32_t flags;          /* SLIPSTREAM_FLAG_* */
    void *instance;          /* first argument of every function below */
    const char *name;        /* [a-z0-9][a-z0-9._-]{0,62} */
    const char *version;     /* 1 to 63 printable ASCII bytes */

    /* The last call. Frees the instance and this table. Required.
     * [plugin-thread & constructed | ended] */
    void(SLIPSTREAM_CALL *destroy)(void *instance);

    /* Starts the plugin. `config` is one JSON object, always: the effective `name`, the
     * absolute `libpath`, and the plugin's own keys; secrets in clear, integers in full
     * digits, no NaN or Infinity. (What later minors add for the host stands in "host",
     * which a plugin never gets: no host takes a key from a plugin.) On failure the
     * plugin MUST have cleaned up and the host MUST NOT call on_unload. Optional.
     * [plugin-thread & constructed] */
    int32_t(SLIPSTREAM_CALL *on_load)(void *instance, const char *config, size_t len,
                                      uint32_t reason);

    /* Stops the plugin: make everything durable, close, join your threads. Called exactly
     * once after a successful on_load, after the last event. `timeout_ms` is how long the
     * host is going to wait. Optional.
     * [plugin-thread & loaded] */
    int32_t(SLIPSTREAM_CALL *on_unload)(void *instance, uint32_t timeout_ms);

    /* The set of kinds (SLIPSTREAM_KIND_BIT) that the plugin wants. Read once, after
     * on_load. Absent means none: nothing is delivered, nothing is serialised for it.
     * Whoever subscribes to anything also gets GAP events. Optional.
     * [plugin-thread & loaded] */
    uint64_t(SLIPSTREAM_CALL *subscribed_events)(void *instance);

    /* Takes a run of delivery->count whole frames, one behind the other, `len` bytes in
     * all. A run is all or nothing, except the ordinals that were rejected by
     * slipstream.settle/1: unless it returns OK the plugin MUST have undone all of it,
     * and the host offers the same frames one by one. Required if subscribed.
     * [delivery-thread & loaded] */
    int32_t(SLIPSTREAM_CALL *on_broadcast)(void *instance, const slipstream_delivery *delivery,
                                           const uint8_t *frames, size_t len);

    /* When this returns OK, everything received so far is durable, and so acknowledged.
     * Required with SLIPSTREAM_FLAG_EXPLICIT_ACK, never called without it.
     * [plugin-thread & loaded] */
    int32_t(SLIPSTREAM_CALL *flush)(void *instance, uint32_t timeout_ms);

    /* A table of further plugin functions, or NULL for an unknown id. Optional.
     * [plugin-thread & constructed | loaded] */
    const void *(SLIPSTREAM_CALL *get_extension)(void *instance, const char *id);
} slipstream_plugin;

/* ---- Extension slipstream.config/1: the host reads the config for the plugin --------
 * For plugins that have no JSON parser at hand. `pointer` is an RFC 6901 JSON pointer
 * ("" is the whole config, "/limits/0" an element). A call that is not OK leaves its
 * output untouched. Texts go into the caller's buffer: *len is its size before the call
 * and the text's length after it, no NUL is added; TOO_LARGE sets *len to what is needed
 * (buffer may be NULL if *len is 0).
 * All: NOT_FOUND if nothing is there, WRONG_TYPE if it is something else,
 * INVALID_ARGUMENT for a bad pointer, WRONG_STATE outside of on_load.
 * [plugin-thread & loading] */
#define SLIPSTREAM_JSON_NULL 0
#define SLIPSTREAM_JSON_BOOL 1
#define SLIPSTREAM_JSON_NUMBER 2
#define SLIPSTREAM_JSON_TEXT 3
#define SLIPSTREAM_JSON_ARRAY 4
#define SLIPSTREAM_JSON_OBJECT 5

typedef struct slipstream_config_v1 {
    uint32_t struct_size;
    uint32_t reserved;
    /* The type, and the number of elements, members or bytes of text (else 0). */
    int32_t(SLIPSTREAM_CALL *type_at)(void *ctx, const char *pointer, uint32_t *type,
                                      size_t *count);
    /* The key of an object's member `index`, in the order of the config. */
    int32_t(SLIPSTREAM_CALL *key_at)(void *ctx, const char *pointer, size_t index, char *buffer,
                                     size_t *len);
    int32_t(SLIPSTREAM_CALL *get_bool)(void *ctx, const char *pointer, uint32_t *value);
    /* OUT_OF_RANGE if the number does not fit, WRONG_TYPE if it has a fraction. */
    int32_t(SLIPSTREAM_CALL *get_i64)(void *ctx, const char *pointer, int64_t *value);
    int32_t(SLIPSTREAM_CALL *get_u64)(void *ctx, const char *pointer, uint64_t *value);
    int32_t(SLIPSTREAM_CALL *get_f64)(void *ctx, const char *pointer, double *value);
    /* A text, unescaped, in UTF-8. */
    int32_t(SLIPSTREAM_CALL *get_text)(void *ctx, const char *pointer, char *buffer, size_t *len);
    /* Any value, as JSON. */
    int32_t(SLIPSTREAM_CALL *get_json)(void *ctx, const char *pointer, char *buffer, size_t *len);
    /* The absolute path of the config file's folder: relative paths start there. */
    int32_t(SLIPSTREAM_CALL *config_dir)(void *ctx, char *buffer, size_t *len);
    /* The absolute path of a folder that is this plugin's own, kept over restarts. */
    int32_t(SLIPSTREAM_CALL *data_dir)(void *ctx, char *buffer, size_t *len);
} slipstream_config_v1;

/* ---- Extension slipstream.metrics/1: numbers for the host's metrics ----------------
 * `name` is [a-z_][a-z0-9_]{0,62}; `label` is NULL or "key=value" with such a key and at
 * most 63 printable bytes of value. INVALID_ARGUMENT for other names, and for a name that
 * is a counter as a gauge, or the other way round; TOO_LARGE when the instance has too many
 * series (at least 64 are kept). Never blocks.
 * [any-thread & loading | loaded | unloading] */
typedef struct slipstream_metrics_v1 {
    uint32_t struct_size;
    uint32_t reserved;
    int32_t(SLIPSTREAM_CALL *counter_add)(void *ctx, const char *name, const char *label,
                                          uint64_t amount);
    int32_t(SLIPSTREAM_CALL *gauge_set)(void *ctx, const char *name, const char *label,
                                        double value);
} slipstream_metrics_v1;

/* ---- Extension slipstream.settle/1: the outcome of one event of a run ---------------
 * For a plugin with SLIPSTREAM_FLAG_BATCH that can take all of a run but some: it rejects
 * those and returns OK for the run, instead of undoing it. */
typedef struct slipstream_settle_v1 {
    uint32_t struct_size;
    uint32_t reserved;
    /* Settles `ordinal` as if on_broadcast had returned `status` for it alone, with `text`
     * as its error: logged, counted as dead, kept as a dead letter, not offered again.
     * Forgotten if the run does not return OK. A second one for the same ordinal is OK and
     * changes nothing.
     * INVALID_ARGUMENT for an ordinal that is not in the run (with
     * SLIPSTREAM_FLAG_EXPLICIT_ACK: was not delivered, or is acknowledged), or for a status
     * that does not settle: OK, END, IGNORED, RETRY, NO_MEMORY, TIMEOUT, FATAL, PANIC.
     * WRONG_STATE when not loaded.
     * [delivery-thread & loaded, while on_broadcast runs; with
     * SLIPSTREAM_FLAG_EXPLICIT_ACK also any-thread & loaded, until it is acknowledged] */
    int32_t(SLIPSTREAM_CALL *reject)(void *ctx, uint64_t ordinal, int32_t status,
                                     const char *text, size_t len);
} slipstream_settle_v1;

/* ---- Extension slipstream.payload/1 (plugin's): which PAYLOAD names it claims ------
 * A payload that is routed goes to the first loaded plugin that claims its name, as an
 * ordinary frame with SLIPSTREAM_FRAME_ROUTED, whether it subscribes to PAYLOAD or not. */
typedef struct slipstream_payload_v1 {
    uint32_t struct_size;
    uint32_t reserved;
    /* The name number `index`, from 0; NULL ends the list. At most 255 bytes each and
     * 1,024 of them.
     * [plugin-thread & loaded] */
    const char *(SLIPSTREAM_CALL *name_at)(void *instance, uint32_t index);
} slipstream_payload_v1;

/* ---- Extensions of a host that has peers --------------------------------------------
 * A plugin gets what its config grants; a call that is not granted is DENIED. All calls but
 * send may wait for the host, for call_timeout; then TIMEOUT. RETRY: too many wait already.
 * Buffers as in slipstream.config/1; *len 0 with TOO_LARGE: what was given is too large.
 * A peer is named by the host's bytes for it, as in PEER_SEEN.
 * All: WRONG_STATE when not loaded. */

/* slipstream.send/1: a message to a peer, who gets it as a PAYLOAD frame.
 * [any-thread & loaded | unloading] */
typedef struct slipstream_send_v1 {
    uint32_t struct_size;
    uint32_t reserved;
    /* Copies the message and returns at once; `how` is SLIPSTREAM_PEER_DIRECT or _ROUTED,
     * *ticket a number for log lines. OK: handed to the host. NOT_FOUND: not connected, or
     * no route, as far as the host knows at once. RETRY: its outbox is full. TOO_LARGE;
     * DENIED; INVALID_ARGUMENT. */
    int32_t(SLIPSTREAM_CALL *send)(void *ctx, uint32_t how, const uint8_t *peer, size_t peer_len,
                                   const uint8_t *name, size_t name_len, const uint8_t *body,
                                   size_t body_len, uint64_t *ticket);
} slipstream_send_v1;

#define SLIPSTREAM_PEER_PUBLIC_KEY 1
#define SLIPSTREAM_PEER_NAME 2

/* slipstream.peers/1: whom the host knows.
 * [any-thread & loaded | unloading] */
typedef struct slipstream_peers_v1 {
    uint32_t struct_size;
    uint32_t reserved;
    /* A peer's SLIPSTREAM_PEER_PUBLIC_KEY or _NAME; NOT_FOUND if peer or field is unknown. */
    int32_t(SLIPSTREAM_CALL *lookup)(void *ctx, const uint8_t *peer, size_t peer_len,
                                     uint32_t field, uint8_t *buffer, size_t *len);
    /* The peer number `index`, from 0; NOT_FOUND ends the list. */
    int32_t(SLIPSTREAM_CALL *peer_at)(void *ctx, uint32_t index, uint8_t *buffer, size_t *len);
} slipstream_peers_v1;

#define SLIPSTREAM_SIGNATURE_LEN 64

/* slipstream.identity/1: the host's key is used, and never seen.
 * [any-thread & loaded | unloading] */
typedef struct slipstream_identity_v1 {
    uint32_t struct_size;
    uint32_t reserved;
    /* One of the two grants below. */
    int32_t(SLIPSTREAM_CALL *public_key)(void *ctx, uint8_t *buffer, size_t *len);
    /* Writes SLIPSTREAM_SIGNATURE_LEN bytes. Grant "identity.sign". */
    int32_t(SLIPSTREAM_CALL *sign)(void *ctx, const uint8_t *data, size_t len,
                                   uint8_t *signature);
    /* Opens a box that was sealed for this host; MALFORMED if it was not. Grant
     * "identity.open". */
    int32_t(SLIPSTREAM_CALL *open)(void *ctx, const uint8_t *sealed, size_t sealed_len,
                                   uint8_t *buffer, size_t *len);
} slipstream_identity_v1;
/* cdef:end */

/* The constructor. One call makes one instance; the host table is its own. NULL refuses,
 * with the reason given to host->set_error. It is cheap, starts nothing, and MUST work
 * again after destroy. The returned table MUST stay valid until destroy has returned.
 * [plugin-thread & constructing] */
SLIPSTREAM_EXPORT const slipstream_plugin *SLIPSTREAM_CALL
slipstream_create_plugin_v1(const slipstream_host *host);

/* The text of SLIPSTREAM_INFO. Optional. */
extern SLIPSTREAM_EXPORT const char slipstream_info_v1[];

/* ---- A plugin's author may stop here: readers of frames, and checks ---------------- */

/* The tables' sizes in their first releases; no table is smaller. */
#define SLIPSTREAM_WORDS_AND_POINTERS(words, pointers) (4 * (words) + (pointers) * sizeof(void *))
#define SLIPSTREAM_DELIVERY_SIZE_1_0 24
#define SLIPSTREAM_HOST_SIZE_1_0 SLIPSTREAM_WORDS_AND_POINTERS(2, 9)
#define SLIPSTREAM_PLUGIN_SIZE_1_0 SLIPSTREAM_WORDS_AND_POINTERS(4, 10)
#define SLIPSTREAM_CONFIG_V1_SIZE_1_0 SLIPSTREAM_WORDS_AND_POINTERS(2, 10)
#define SLIPSTREAM_METRICS_V1_SIZE_1_0 SLIPSTREAM_WORDS_AND_POINTERS(2, 2)
#define SLIPSTREAM_SETTLE_V1_SIZE_1_0 SLIPSTREAM_WORDS_AND_POINTERS(2, 1)
#define SLIPSTREAM_PAYLOAD_V1_SIZE_1_0 SLIPSTREAM_WORDS_AND_POINTERS(2, 1)
#define SLIPSTREAM_SEND_V1_SIZE_1_0 SLIPSTREAM_WORDS_AND_POINTERS(2, 1)
#define SLIPSTREAM_PEERS_V1_SIZE_1_0 SLIPSTREAM_WORDS_AND_POINTERS(2, 2)
#define SLIPSTREAM_IDENTITY_V1_SIZE_1_0 SLIPSTREAM_WORDS_AND_POINTERS(2, 3)

#if defined(__cplusplus)
#define SLIPSTREAM_STATIC_ASSERT(condition) static_assert(condition, #condition)
#else
#define SLIPSTREAM_STATIC_ASSERT(condition) _Static_assert(condition, #condition)
#endif
SLIPSTREAM_STATIC_ASSERT(SLIPSTREAM_TARGET_MINOR <= SLIPSTREAM_ABI_MINOR);
SLIPSTREAM_STATIC_ASSERT(sizeof(void *) == sizeof(void (*)(void)));
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_delivery) == SLIPSTREAM_DELIVERY_SIZE_1_0);
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_host) == SLIPSTREAM_HOST_SIZE_1_0);
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_plugin) == SLIPSTREAM_PLUGIN_SIZE_1_0);
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_config_v1) == SLIPSTREAM_CONFIG_V1_SIZE_1_0);
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_metrics_v1) == SLIPSTREAM_METRICS_V1_SIZE_1_0);
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_settle_v1) == SLIPSTREAM_SETTLE_V1_SIZE_1_0);
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_payload_v1) == SLIPSTREAM_PAYLOAD_V1_SIZE_1_0);
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_send_v1) == SLIPSTREAM_SEND_V1_SIZE_1_0);
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_peers_v1) == SLIPSTREAM_PEERS_V1_SIZE_1_0);
SLIPSTREAM_STATIC_ASSERT(sizeof(slipstream_identity_v1) == SLIPSTREAM_IDENTITY_V1_SIZE_1_0);

/* ---- Readers ---------------------------------------------------------------------
 * They check every length before they follow it: a truncated or lying frame gives
 * MALFORMED, never a read past its end. The views point into the frame, live no longer
 * than it does, and never cross the boundary; so they may change with this header.
 * [any-thread] */

/* Some bytes; data is NULL where the value is absent. */
typedef struct slipstream_bytes {
    const uint8_t *data;
    size_t len;
} slipstream_bytes;

typedef struct slipstream_frame {
    uint64_t stream;
    uint64_t sequence;
    int64_t time_ns;
    uint64_t height; /* SLIPSTREAM_HEIGHT_NONE: none */
    uint32_t kind;
    uint32_t flags;
    slipstream_bytes whole;   /* the frame itself, header included */
    slipstream_bytes payload; /* without padding */
} slipstream_frame;

typedef struct slipstream_mapping_update {
    slipstream_bytes program_id;
    slipstream_bytes mapping_name;
    slipstream_bytes key;
    slipstream_bytes value;
    uint32_t encoding;
    uint32_t reserved;
} slipstream_mapping_update;

typedef struct slipstream_mapping_removal {
    slipstream_bytes program_id;
    slipstream_bytes mapping_name;
    slipstream_bytes key; /* absent: the whole mapping */
    uint32_t encoding;
    uint32_t reserved;
} slipstream_mapping_removal;

typedef struct slipstream_staking_reward {
    uint64_t reward;
    uint64_t new_stake;
    slipstream_bytes staker;
    slipstream_bytes validator;
    uint32_t encoding;
    uint32_t reserved;
} slipstream_staking_reward;

typedef struct slipstream_block {
    slipstream_bytes block;
    uint32_t encoding;
    uint32_t reserved;
} slipstream_block;

typedef struct slipstream_payload {
    slipstream_bytes source; /* may be absent */
    slipstream_bytes name;
    slipstream_bytes body;
    uint32_t encoding;
    uint32_t reserved;
} slipstream_payload;

typedef struct slipstream_gap {
    uint64_t first; /* ordinals */
    uint64_t last;
    uint64_t count;
    uint64_t kinds;
    uint64_t first_height;
    uint64_t last_height;
    uint64_t lost_stream; /* 0: of several, and so are the sequences */
    uint64_t first_sequence;
    uint64_t last_sequence;
    uint32_t reasons;
    uint32_t reserved;
} slipstream_gap;

typedef struct slipstream_peer_seen {
    slipstream_bytes peer;
    slipstream_bytes public_key; /* may be absent */
    slipstream_bytes name;       /* may be absent */
    uint32_t via;                /* SLIPSTREAM_PEER_DIRECT or _ROUTED */
    uint32_t reserved;
} slipstream_peer_seen;

typedef struct slipstream_peer_forgotten {
    slipstream_bytes peer;
} slipstream_peer_forgotten;

typedef struct slipstream_mark {
    slipstream_bytes name;
    slipstream_bytes body;
} slipstream_mark;

static inline uint32_t slipstream_load_u16(const uint8_t *p) {
    return SLIPSTREAM_CAST(uint32_t, p[0]) | SLIPSTREAM_CAST(uint32_t, p[1]) << 8;
}

static inline uint32_t slipstream_load_u32(const uint8_t *p) {
    return slipstream_load_u16(p) | slipstream_load_u16(p + 2) << 16;
}

static inline uint64_t slipstream_load_u64(const uint8_t *p) {
    return slipstream_load_u32(p) | SLIPSTREAM_CAST(uint64_t, slipstream_load_u32(p + 4)) << 32;
}

/* Reads the frame that starts at `data`, with `len` readable bytes.
 * OK; MALFORMED; UNSUPPORTED for an unknown critical flag (`out` is filled all the same,
 * so that the frame can be stepped over). */
static inline int32_t slipstream_read_frame(const uint8_t *data, size_t len,
                                            slipstream_frame *out) {
    uint32_t frame_len;
    uint32_t header_len;
    uint32_t payload_len;
    if (len < SLIPSTREAM_FRAME_HEADER_LEN)
        return SLIPSTREAM_MALFORMED;
    frame_len = slipstream_load_u32(data);
    header_len = slipstream_load_u16(data + 4);
    payload_len = slipstream_load_u32(data + 12);
    if (frame_len > len || frame_len > SLIPSTREAM_FRAME_MAX || frame_len % 8 != 0)
        return SLIPSTREAM_MALFORMED;
    if (header_len < SLIPSTREAM_FRAME_HEADER_LEN || header_len % 8 != 0 || header_len > frame_len)
        return SLIPSTREAM_MALFORMED;
    if (payload_len > frame_len - header_len)
        return SLIPSTREAM_MALFORMED;
    out->kind = slipstream_load_u16(data + 6);
    out->flags = slipstream_load_u32(data + 8);
    out->stream = slipstream_load_u64(data + 16);
    out->sequence = slipstream_load_u64(data + 24);
    out->time_ns = SLIPSTREAM_CAST(int64_t, slipstream_load_u64(data + 32));
    out->height = slipstream_load_u64(data + 40);
    out->whole.data = data;
    out->whole.len = frame_len;
    out->payload.data = data + header_len;
    out->payload.len = payload_len;
    return (out->flags & SLIPSTREAM_FRAME_CRITICAL) != 0 ? SLIPSTREAM_UNSUPPORTED : SLIPSTREAM_OK;
}

/* Steps through a run: start with *offset 0, call until END. OK and UNSUPPORTED fill
 * `out` and move *offset behind the frame; END and MALFORMED leave both alone. */
static inline int32_t slipstream_next_frame(const uint8_t *frames, size_t len, size_t *offset,
                                            slipstream_frame *out) {
    int32_t status;
    if (*offset >= len)
        return SLIPSTREAM_END;
    status = slipstream_read_frame(frames + *offset, len - *offset, out);
    if (status != SLIPSTREAM_MALFORMED)
        *offset += out->whole.len;
    return status;
}

/* For the readers below: the payload's fixed part, at least `known` bytes of it. */
static inline int32_t slipstream_check_fixed(const slipstream_frame *frame, uint32_t kind,
                                             uint32_t known, uint32_t *fixed_len) {
    if (frame->kind != kind)
        return SLIPSTREAM_WRONG_TYPE;
    if (frame->payload.len < known)
        return SLIPSTREAM_MALFORMED;
    *fixed_len = slipstream_load_u32(frame->payload.data);
    if (*fixed_len < known || *fixed_len % 8 != 0 || *fixed_len > frame->payload.len)
        return SLIPSTREAM_MALFORMED;
    return SLIPSTREAM_OK;
}

/* For the readers below: the word behind fixed_len. */
static inline uint32_t slipstream_word(const slipstream_frame *frame) {
    return slipstream_load_u32(frame->payload.data + 4);
}

/* For the readers below: the span at `at`, which lies inside the fixed part. */
static inline int32_t slipstream_read_span(const slipstream_frame *frame, uint32_t fixed_len,
                                           uint32_t at, int32_t required, slipstream_bytes *out) {
    uint32_t offset = slipstream_load_u32(frame->payload.data + at);
    uint32_t len = slipstream_load_u32(frame->payload.data + at + 4);
    if (offset == 0 && len == 0) {
        out->data = NULL;
        out->len = 0;
        return required ? SLIPSTREAM_MALFORMED : SLIPSTREAM_OK;
    }
    if (offset < fixed_len || offset > frame->payload.len || len > frame->payload.len - offset)
        return SLIPSTREAM_MALFORMED;
    out->data = frame->payload.data + offset;
    out->len = len;
    return SLIPSTREAM_OK;
}

/* Each reader below: OK; WRONG_TYPE for a frame of another kind; MALFORMED. Only after OK
 * is all of `out` filled. */
static inline int32_t slipstream_read_mapping_update(const slipstream_frame *frame,
                                                     slipstream_mapping_update *out) {
    uint32_t fixed = 0;
    int32_t status = slipstream_check_fixed(frame, SLIPSTREAM_KIND_MAPPING_UPDATE, 40, &fixed);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 8, 1, &out->program_id);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 16, 1, &out->mapping_name);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 24, 1, &out->key);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 32, 1, &out->value);
    if (status == SLIPSTREAM_OK) {
        out->encoding = slipstream_word(frame);
        out->reserved = 0;
    }
    return status;
}

static inline int32_t slipstream_read_mapping_removal(const slipstream_frame *frame,
                                                      slipstream_mapping_removal *out) {
    uint32_t fixed = 0;
    int32_t status = slipstream_check_fixed(frame, SLIPSTREAM_KIND_MAPPING_REMOVAL, 32, &fixed);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 8, 1, &out->program_id);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 16, 1, &out->mapping_name);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 24, 0, &out->key);
    if (status == SLIPSTREAM_OK) {
        out->encoding = slipstream_word(frame);
        out->reserved = 0;
    }
    return status;
}

static inline int32_t slipstream_read_staking_reward(const slipstream_frame *frame,
                                                     slipstream_staking_reward *out) {
    uint32_t fixed = 0;
    int32_t status = slipstream_check_fixed(frame, SLIPSTREAM_KIND_STAKING_REWARD, 40, &fixed);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 8, 1, &out->staker);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 16, 1, &out->validator);
    if (status == SLIPSTREAM_OK) {
        out->encoding = slipstream_word(frame);
        out->reserved = 0;
        out->reward = slipstream_load_u64(frame->payload.data + 24);
        out->new_stake = slipstream_load_u64(frame->payload.data + 32);
    }
    return status;
}

static inline int32_t slipstream_read_block(const slipstream_frame *frame, slipstream_block *out) {
    uint32_t fixed = 0;
    int32_t status = slipstream_check_fixed(frame, SLIPSTREAM_KIND_BLOCK, 16, &fixed);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 8, 1, &out->block);
    if (status == SLIPSTREAM_OK) {
        out->encoding = slipstream_word(frame);
        out->reserved = 0;
    }
    return status;
}

static inline int32_t slipstream_read_payload(const slipstream_frame *frame,
                                              slipstream_payload *out) {
    uint32_t fixed = 0;
    int32_t status = slipstream_check_fixed(frame, SLIPSTREAM_KIND_PAYLOAD, 32, &fixed);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 8, 0, &out->source);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 16, 1, &out->name);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 24, 1, &out->body);
    if (status == SLIPSTREAM_OK) {
        out->encoding = slipstream_word(frame);
        out->reserved = 0;
    }
    return status;
}

static inline int32_t slipstream_read_gap(const slipstream_frame *frame, slipstream_gap *out) {
    uint32_t fixed = 0;
    int32_t status = slipstream_check_fixed(frame, SLIPSTREAM_KIND_GAP, 80, &fixed);
    if (status == SLIPSTREAM_OK) {
        out->reasons = slipstream_word(frame);
        out->reserved = 0;
        out->first = slipstream_load_u64(frame->payload.data + 8);
        out->last = slipstream_load_u64(frame->payload.data + 16);
        out->count = slipstream_load_u64(frame->payload.data + 24);
        out->kinds = slipstream_load_u64(frame->payload.data + 32);
        out->first_height = slipstream_load_u64(frame->payload.data + 40);
        out->last_height = slipstream_load_u64(frame->payload.data + 48);
        out->lost_stream = slipstream_load_u64(frame->payload.data + 56);
        out->first_sequence = slipstream_load_u64(frame->payload.data + 64);
        out->last_sequence = slipstream_load_u64(frame->payload.data + 72);
    }
    return status;
}

static inline int32_t slipstream_read_peer_seen(const slipstream_frame *frame,
                                                slipstream_peer_seen *out) {
    uint32_t fixed = 0;
    int32_t status = slipstream_check_fixed(frame, SLIPSTREAM_KIND_PEER_SEEN, 40, &fixed);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 8, 1, &out->peer);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 16, 0, &out->public_key);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 24, 0, &out->name);
    if (status == SLIPSTREAM_OK) {
        out->via = slipstream_word(frame);
        out->reserved = 0;
    }
    return status;
}

static inline int32_t slipstream_read_peer_forgotten(const slipstream_frame *frame,
                                                     slipstream_peer_forgotten *out) {
    uint32_t fixed = 0;
    int32_t status = slipstream_check_fixed(frame, SLIPSTREAM_KIND_PEER_FORGOTTEN, 16, &fixed);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 8, 1, &out->peer);
    return status;
}

static inline int32_t slipstream_read_mark(const slipstream_frame *frame, slipstream_mark *out) {
    uint32_t fixed = 0;
    int32_t status = slipstream_check_fixed(frame, SLIPSTREAM_KIND_MARK, 24, &fixed);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 8, 1, &out->name);
    if (status == SLIPSTREAM_OK)
        status = slipstream_read_span(frame, fixed, 16, 1, &out->body);
    return status;
}

/* The bytes of an application's own kind (32 to 63) behind the fixed part. */
static inline int32_t slipstream_read_app(const slipstream_frame *frame, slipstream_bytes *out) {
    uint32_t fixed = 0;
    int32_t status;
    if (frame->kind < SLIPSTREAM_KIND_APP_FIRST || frame->kind > SLIPSTREAM_KIND_APP_LAST)
        return SLIPSTREAM_WRONG_TYPE;
    status = slipstream_check_fixed(frame, frame->kind, 8, &fixed);
    if (status == SLIPSTREAM_OK) {
        out->data = frame->payload.data + fixed;
        out->len = frame->payload.len - fixed;
    }
    return status;
}

/* ---- Shorthands for the plugin; each calls the host function of the same name. ----- */

static inline size_t slipstream_text_len(const char *text) {
    size_t len = 0;
    while (text[len] != '\0')
        len++;
    return len;
}

static inline void slipstream_log(const slipstream_host *host, uint32_t level, const char *text) {
    host->log(host->ctx, level, text, slipstream_text_len(text));
}

/* Sets the error and returns `status`, so that `return slipstream_fail(...)` reads well. */
static inline int32_t slipstream_fail(const slipstream_host *host, int32_t status,
                                      const char *text) {
    host->set_error(host->ctx, text, slipstream_text_len(text));
    return status;
}

static inline int32_t slipstream_ack(const slipstream_host *host, uint64_t ordinal) {
    return host->ack(host->ctx, ordinal);
}

static inline int32_t slipstream_is_stopping(const slipstream_host *host) {
    return host->is_stopping(host->ctx);
}

static inline const void *slipstream_extension(const slipstream_host *host, const char *id) {
    return host->get_extension(host->ctx, id);
}

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
