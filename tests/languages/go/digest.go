// digest - digests every field of every frame; in Go, from slipstream.h alone.
//
// A Go library never leaves the process that opened it: RESIDENT.
package main

/*
#include <slipstream.h>
#include <stdlib.h>

// Go has no static tables of C functions, and cannot call what a pointer points to.
extern void goDestroy(void *);
extern int32_t goOnLoad(void *, char *, size_t, uint32_t);
extern int32_t goOnUnload(void *, uint32_t);
extern uint64_t goSubscribedEvents(void *);
extern int32_t goOnBroadcast(void *, slipstream_delivery *, uint8_t *, size_t);
extern char *goNameAt(void *, uint32_t);
extern void *goGetExtension(void *, char *);

static inline void fill(slipstream_plugin *table, char *name, char *version) {
    const slipstream_plugin filled = {
        SLIPSTREAM_PLUGIN_HEAD,
        SLIPSTREAM_FLAG_MULTI_INSTANCE | SLIPSTREAM_FLAG_BATCH | SLIPSTREAM_FLAG_RESIDENT,
        table, name, version, goDestroy,
        (int32_t (*)(void *, const char *, size_t, uint32_t))goOnLoad,
        goOnUnload, goSubscribedEvents,
        (int32_t (*)(void *, const slipstream_delivery *, const uint8_t *, size_t))goOnBroadcast,
        NULL, (const void *(*)(void *, const char *))goGetExtension};
    *table = filled;
}

static inline void fill_names(slipstream_payload_v1 *table) {
    table->struct_size = sizeof *table;
    table->name_at = (const char *(*)(void *, uint32_t))goNameAt;
}

static inline int32_t get_text(slipstream_host *host, const char *key, char *buffer, size_t *len) {
    const slipstream_config_v1 *config =
        (const slipstream_config_v1 *)slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
    return config == NULL ? SLIPSTREAM_UNSUPPORTED
                          : config->get_text(host->ctx, key, buffer, len);
}
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"unsafe"
)

type digest struct {
	value uint64
	count uint64
}

func (d *digest) feed(bytes []byte) {
	for _, one := range bytes {
		d.value = (d.value ^ uint64(one)) * 0x100000001b3
	}
}

func (d *digest) numbers(values ...uint64) {
	for _, value := range values {
		var bytes [8]byte
		binary.LittleEndian.PutUint64(bytes[:], value)
		d.feed(bytes[:])
	}
}

func (d *digest) spans(spans ...C.slipstream_bytes) {
	for _, span := range spans {
		if span.data == nil {
			d.numbers(^uint64(0))
			continue
		}
		d.numbers(uint64(span.len))
		d.feed(unsafe.Slice((*byte)(span.data), int(span.len)))
	}
}

type plugin struct {
	host   *C.slipstream_host
	out    string
	events digest
	gaps   digest
}

// By the address of their table, which is the instance: C may not hold pointers into Go.
var (
	lock    sync.Mutex
	plugins = map[unsafe.Pointer]*plugin{}
	names   *C.slipstream_payload_v1
)

func of(instance unsafe.Pointer) *plugin {
	lock.Lock()
	defer lock.Unlock()
	return plugins[instance]
}

func (p *plugin) fail(status C.int32_t, text string) C.int32_t {
	message := C.CString(text)
	defer C.free(unsafe.Pointer(message))
	return C.slipstream_fail(p.host, status, message)
}

// No panic leaves a function.
func (p *plugin) guard(status *C.int32_t) {
	if err := recover(); err != nil {
		*status = p.fail(C.SLIPSTREAM_PANIC, fmt.Sprint(err))
	}
}

//export goOnLoad
func goOnLoad(instance unsafe.Pointer, config *C.char, configLen C.size_t, reason C.uint32_t) (status C.int32_t) {
	p := of(instance)
	defer p.guard(&status)
	key := C.CString("/out")
	defer C.free(unsafe.Pointer(key))
	var length C.size_t
	if C.get_text(p.host, key, nil, &length) != C.SLIPSTREAM_TOO_LARGE {
		return p.fail(C.SLIPSTREAM_INVALID_CONFIG, "out: a path is needed")
	}
	buffer := (*C.char)(C.malloc(length + 1))
	defer C.free(unsafe.Pointer(buffer))
	status = C.get_text(p.host, key, buffer, &length)
	p.out = C.GoStringN(buffer, C.int(length))
	return status
}

//export goOnUnload
func goOnUnload(instance unsafe.Pointer, timeout C.uint32_t) (status C.int32_t) {
	p := of(instance)
	defer p.guard(&status)
	line := fmt.Sprintf("events %d %016x gaps %d %016x\n",
		p.events.count, p.events.value, p.gaps.count, p.gaps.value)
	if err := os.WriteFile(p.out, []byte(line), 0o644); err != nil {
		return p.fail(C.SLIPSTREAM_IO, err.Error())
	}
	return C.SLIPSTREAM_OK
}

//export goSubscribedEvents
func goSubscribedEvents(instance unsafe.Pointer) C.uint64_t {
	const first, mark = C.SLIPSTREAM_KIND_APP_FIRST, C.SLIPSTREAM_KIND_MARK
	return ^C.uint64_t(1<<first-1) | C.uint64_t(1<<mark-1)
}

func (p *plugin) gap(frame *C.slipstream_frame) C.int32_t {
	var e C.slipstream_gap
	status := C.slipstream_read_gap(frame, &e)
	if status == C.SLIPSTREAM_OK {
		p.gaps.count++
		p.gaps.numbers(uint64(e.first), uint64(e.last), uint64(e.count), uint64(e.kinds),
			uint64(e.first_height), uint64(e.last_height), uint64(e.lost_stream),
			uint64(e.first_sequence), uint64(e.last_sequence), uint64(e.reasons))
	}
	return status
}

func (p *plugin) take(frame *C.slipstream_frame) (status C.int32_t) {
	if frame.kind == C.SLIPSTREAM_KIND_GAP {
		return p.gap(frame)
	}
	d := &p.events
	d.count++
	d.numbers(uint64(frame.kind), uint64(frame.flags), uint64(frame.stream), uint64(frame.sequence),
		uint64(frame.time_ns), uint64(frame.height))
	switch frame.kind {
	case C.SLIPSTREAM_KIND_MAPPING_UPDATE:
		var e C.slipstream_mapping_update
		status = C.slipstream_read_mapping_update(frame, &e)
		d.spans(e.program_id, e.mapping_name, e.key, e.value)
		d.numbers(uint64(e.encoding))
	case C.SLIPSTREAM_KIND_MAPPING_REMOVAL:
		var e C.slipstream_mapping_removal
		status = C.slipstream_read_mapping_removal(frame, &e)
		d.spans(e.program_id, e.mapping_name, e.key)
		d.numbers(uint64(e.encoding))
	case C.SLIPSTREAM_KIND_STAKING_REWARD:
		var e C.slipstream_staking_reward
		status = C.slipstream_read_staking_reward(frame, &e)
		d.spans(e.staker, e.validator)
		d.numbers(uint64(e.encoding), uint64(e.reward), uint64(e.new_stake))
	case C.SLIPSTREAM_KIND_BLOCK:
		var e C.slipstream_block
		status = C.slipstream_read_block(frame, &e)
		d.spans(e.block)
		d.numbers(uint64(e.encoding))
	case C.SLIPSTREAM_KIND_PAYLOAD:
		var e C.slipstream_payload
		status = C.slipstream_read_payload(frame, &e)
		d.spans(e.source, e.name, e.body)
		d.numbers(uint64(e.encoding))
	case C.SLIPSTREAM_KIND_PEER_SEEN:
		var e C.slipstream_peer_seen
		status = C.slipstream_read_peer_seen(frame, &e)
		d.spans(e.peer, e.public_key, e.name)
		d.numbers(uint64(e.via))
	case C.SLIPSTREAM_KIND_PEER_FORGOTTEN:
		var e C.slipstream_peer_forgotten
		status = C.slipstream_read_peer_forgotten(frame, &e)
		d.spans(e.peer)
		d.numbers(0)
	default:
		var e C.slipstream_bytes
		status = C.slipstream_read_app(frame, &e)
		d.spans(e)
		d.numbers(0)
	}
	return status
}

//export goOnBroadcast
func goOnBroadcast(instance unsafe.Pointer, delivery *C.slipstream_delivery, frames *C.uint8_t,
	length C.size_t) (status C.int32_t) {
	p := of(instance)
	defer p.guard(&status)
	var frame C.slipstream_frame
	var at C.size_t
	for {
		status = C.slipstream_next_frame(frames, length, &at, &frame)
		if status == C.SLIPSTREAM_END {
			return C.SLIPSTREAM_OK
		}
		if status == C.SLIPSTREAM_OK {
			status = p.take(&frame)
		}
		if status != C.SLIPSTREAM_OK {
			return p.fail(status, "unreadable frame")
		}
	}
}

var ping = C.CString("org.example.ping")

//export goNameAt
func goNameAt(instance unsafe.Pointer, index C.uint32_t) *C.char {
	if index == 0 {
		return ping
	}
	return nil
}

//export goGetExtension
func goGetExtension(instance unsafe.Pointer, id *C.char) unsafe.Pointer {
	if C.GoString(id) == C.SLIPSTREAM_EXT_PAYLOAD {
		return unsafe.Pointer(names)
	}
	return nil
}

//export goDestroy
func goDestroy(instance unsafe.Pointer) {
	lock.Lock()
	delete(plugins, instance)
	lock.Unlock()
	C.free(instance)
}

// The constructor is called by a line of C in export.c, since Go writes its exports' types
// without const.
//
//export goCreate
func goCreate(host *C.slipstream_host) *C.slipstream_plugin {
	table := (*C.slipstream_plugin)(C.calloc(1, C.sizeof_slipstream_plugin))
	if table == nil {
		return nil
	}
	lock.Lock()
	defer lock.Unlock()
	if names == nil {
		names = (*C.slipstream_payload_v1)(C.calloc(1, C.sizeof_slipstream_payload_v1))
		C.fill_names(names)
	}
	C.fill(table, C.CString("digest"), C.CString("1.0.0"))
	start := digest{value: 0xcbf29ce484222325}
	plugins[unsafe.Pointer(table)] = &plugin{host: host, events: start, gaps: start}
	return table
}

func main() {}
