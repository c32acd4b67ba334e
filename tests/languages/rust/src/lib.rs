//! digest - digests every field of every frame; in Rust, from what slipstream.h says alone.

use std::ffi::{c_void, CStr};
use std::mem::size_of;
use std::os::raw::c_char;
use std::panic::{catch_unwind, AssertUnwindSafe};

const OK: i32 = 0;
const UNSUPPORTED: i32 = -4;
const INVALID_CONFIG: i32 = -6;
const MALFORMED: i32 = -7;
const TOO_LARGE: i32 = -9;
const IO: i32 = -13;
const PANIC: i32 = -17;
const CRITICAL: u32 = 0xFFFF_0000;
const FLAG_MULTI_INSTANCE: u32 = 4;
const FLAG_BATCH: u32 = 16;

#[repr(C)]
pub struct Delivery {
    struct_size: u32,
    attempt: u32,
    count: u32,
    flags: u32,
    first_ordinal: u64,
}

#[repr(C)]
pub struct Host {
    struct_size: u32,
    abi_minor: u32,
    ctx: *mut c_void,
    name: *const c_char,
    version: *const c_char,
    log_enabled: unsafe extern "C" fn(*mut c_void, u32) -> i32,
    log: unsafe extern "C" fn(*mut c_void, u32, *const u8, usize),
    set_error: unsafe extern "C" fn(*mut c_void, *const u8, usize),
    ack: unsafe extern "C" fn(*mut c_void, u64) -> i32,
    is_stopping: unsafe extern "C" fn(*mut c_void) -> i32,
    get_extension: unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void,
}

/// slipstream.config/1 up to the only function that is used.
#[repr(C)]
struct Config {
    struct_size: u32,
    reserved: u32,
    unused: [*const c_void; 6],
    get_text: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u8, *mut usize) -> i32,
}

#[repr(C)]
pub struct Plugin {
    struct_size: u32,
    abi_minor: u32,
    min_host_minor: u32,
    flags: u32,
    instance: *mut c_void,
    name: *const c_char,
    version: *const c_char,
    destroy: unsafe extern "C" fn(*mut c_void),
    on_load: unsafe extern "C" fn(*mut c_void, *const u8, usize, u32) -> i32,
    on_unload: unsafe extern "C" fn(*mut c_void, u32) -> i32,
    subscribed_events: unsafe extern "C" fn(*mut c_void) -> u64,
    on_broadcast: unsafe extern "C" fn(*mut c_void, *const Delivery, *const u8, usize) -> i32,
    flush: Option<unsafe extern "C" fn(*mut c_void, u32) -> i32>,
    get_extension: unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void,
}

#[repr(C)]
struct Names {
    struct_size: u32,
    reserved: u32,
    name_at: unsafe extern "C" fn(*mut c_void, u32) -> *const c_char,
}

struct Digest {
    value: u64,
    count: u64,
}

impl Digest {
    const fn new() -> Self {
        Digest {
            value: 0xcbf2_9ce4_8422_2325,
            count: 0,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.value = (self.value ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn number(&mut self, value: u64) {
        self.feed(&value.to_le_bytes());
    }

    fn span(&mut self, value: Option<&[u8]>) {
        self.number(value.map_or(u64::MAX, |bytes| bytes.len() as u64));
        self.feed(value.unwrap_or_default());
    }
}

struct Instance {
    table: Plugin,
    host: *const Host,
    out: String,
    events: Digest,
    gaps: Digest,
}

/// A text that ends in a NUL: literals for such are newer than the oldest compiler for Windows here.
fn text(ends_in_nul: &'static [u8]) -> *const c_char {
    ends_in_nul.as_ptr().cast()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// A span of a payload: None is absent; an error is one that lies.
fn span_at(payload: &[u8], fixed: usize, at: usize) -> Option<Option<&[u8]>> {
    let (offset, len) = (
        u32_at(payload, at)? as usize,
        u32_at(payload, at + 4)? as usize,
    );
    match (offset, len) {
        (0, 0) => Some(None),
        _ if offset < fixed => None,
        _ => Some(Some(payload.get(offset..offset.checked_add(len)?)?)),
    }
}

impl Instance {
    /// The first frame of a run, and how long it is.
    fn take(&mut self, run: &[u8]) -> Option<usize> {
        let (frame_len, payload_len) = (u32_at(run, 0)? as usize, u32_at(run, 12)? as usize);
        let (header_len, kind) = ((u32_at(run, 4)? & 0xFFFF) as usize, u32_at(run, 4)? >> 16);
        let frame = run.get(..frame_len)?;
        if u32_at(frame, 8)? & CRITICAL != 0 {
            return None;
        }
        let payload = frame.get(header_len..header_len.checked_add(payload_len)?)?;
        let fixed = u32_at(payload, 0)? as usize;
        // Spans, then numbers; whether the word behind fixed_len says something.
        let (spans, numbers, word) = match kind {
            0 => (4, 0, true),
            1 => (3, 0, true),
            2 => (2, 2, true),
            3 => (1, 0, true),
            4 => (3, 0, true),
            5 => (0, 9, true),
            6 => (3, 0, true),
            7 => (1, 0, false),
            32..=63 => (0, 0, false),
            _ => return None,
        };
        if frame_len < 48 || fixed < 8 + 8 * (spans + numbers) || fixed > payload.len() {
            return None;
        }
        let digest = if kind == 5 {
            &mut self.gaps
        } else {
            &mut self.events
        };
        digest.count += 1;
        if kind != 5 {
            digest.number(kind.into());
            digest.number(u32_at(frame, 8)?.into());
            for at in [16, 24, 32, 40] {
                digest.number(u64_at(frame, at)?);
            }
        }
        for i in 0..spans {
            digest.span(span_at(payload, fixed, 8 + 8 * i)?);
        }
        if kind >= 32 {
            digest.span(Some(&payload[fixed..]));
        }
        let word = if word { u32_at(payload, 4)? } else { 0 };
        if kind != 5 {
            digest.number(word.into());
        }
        for i in 0..numbers {
            digest.number(u64_at(payload, 8 + 8 * (spans + i))?);
        }
        if kind == 5 {
            digest.number(word.into());
        }
        Some(frame_len)
    }

    fn fail(&self, status: i32, text: &str) -> i32 {
        unsafe { ((*self.host).set_error)((*self.host).ctx, text.as_ptr(), text.len()) };
        status
    }
}

unsafe fn guarded(instance: *mut c_void, work: impl FnOnce(&mut Instance) -> i32) -> i32 {
    let this = &mut *instance.cast::<Instance>();
    catch_unwind(AssertUnwindSafe(|| work(this))).unwrap_or(PANIC)
}

unsafe extern "C" fn on_load(instance: *mut c_void, _: *const u8, _: usize, _: u32) -> i32 {
    guarded(instance, |this| {
        let host = unsafe { &*this.host };
        let config = unsafe { (host.get_extension)(host.ctx, text(b"slipstream.config/1\0")) };
        let config = match unsafe { config.cast::<Config>().as_ref() } {
            Some(config) => config,
            None => return this.fail(UNSUPPORTED, "no slipstream.config/1"),
        };
        let (mut len, key) = (0, text(b"/out\0"));
        if unsafe { (config.get_text)(host.ctx, key, std::ptr::null_mut(), &mut len) } != TOO_LARGE
        {
            return this.fail(INVALID_CONFIG, "out: a path is needed");
        }
        let mut out = vec![0; len];
        let status = unsafe { (config.get_text)(host.ctx, key, out.as_mut_ptr(), &mut len) };
        this.out = String::from_utf8_lossy(&out).into();
        status
    })
}

unsafe extern "C" fn on_unload(instance: *mut c_void, _: u32) -> i32 {
    guarded(instance, |this| {
        let (events, gaps) = (&this.events, &this.gaps);
        let line = format!(
            "events {} {:016x} gaps {} {:016x}\n",
            events.count, events.value, gaps.count, gaps.value
        );
        std::fs::write(&this.out, line)
            .map_or_else(|error| this.fail(IO, &error.to_string()), |()| OK)
    })
}

unsafe extern "C" fn subscribed_events(_: *mut c_void) -> u64 {
    !((1 << 32) - 1) | ((1 << 8) - 1)
}

unsafe extern "C" fn on_broadcast(
    instance: *mut c_void,
    _: *const Delivery,
    frames: *const u8,
    len: usize,
) -> i32 {
    guarded(instance, |this| {
        let mut run = unsafe { std::slice::from_raw_parts(frames, len) };
        while !run.is_empty() {
            match this.take(run) {
                Some(frame_len) => run = &run[frame_len..],
                None => return this.fail(MALFORMED, "unreadable frame"),
            }
        }
        OK
    })
}

unsafe extern "C" fn name_at(_: *mut c_void, index: u32) -> *const c_char {
    if index == 0 {
        text(b"org.example.ping\0")
    } else {
        std::ptr::null()
    }
}

unsafe extern "C" fn get_extension(_: *mut c_void, id: *const c_char) -> *const c_void {
    static NAMES: Names = Names {
        struct_size: size_of::<Names>() as u32,
        reserved: 0,
        name_at,
    };
    if CStr::from_ptr(id).to_bytes() == b"slipstream.payload/1" {
        let names: *const Names = &NAMES;
        return names.cast();
    }
    std::ptr::null()
}

unsafe extern "C" fn destroy(instance: *mut c_void) {
    drop(Box::from_raw(instance.cast::<Instance>()));
}

/// # Safety
/// Called by a host, with a table that lives as long as the instance.
#[no_mangle]
pub unsafe extern "C" fn slipstream_create_plugin_v1(host: *const Host) -> *const Plugin {
    let table = Plugin {
        struct_size: size_of::<Plugin>() as u32,
        abi_minor: 0,
        min_host_minor: 0,
        flags: FLAG_MULTI_INSTANCE | FLAG_BATCH,
        instance: std::ptr::null_mut(),
        name: text(b"digest\0"),
        version: text(b"1.0.0\0"),
        destroy,
        on_load,
        on_unload,
        subscribed_events,
        on_broadcast,
        flush: None,
        get_extension,
    };
    let (events, gaps) = (Digest::new(), Digest::new());
    let this = Box::into_raw(Box::new(Instance {
        table,
        host,
        out: String::new(),
        events,
        gaps,
    }));
    (*this).table.instance = this.cast();
    &(*this).table
}

/// What this plugin is, for whoever looks before running it.
macro_rules! slipstream_info {
    ($json:literal) => {
        const INFO: &str = concat!("SLIPINFO1\n", $json, "\0");
        #[no_mangle]
        #[allow(non_upper_case_globals)]
        pub static slipstream_info_v1: [u8; INFO.len()] = {
            let mut bytes = [0; INFO.len()];
            let mut at = 0;
            while at < bytes.len() {
                bytes[at] = INFO.as_bytes()[at];
                at += 1;
            }
            bytes
        };
    };
}

slipstream_info!(
    r#"{"name": "digest", "version": "1.0.0", "abi": 1, "requires": ["slipstream.config/1"],
        "flags": ["MULTI_INSTANCE", "BATCH"],
        "config_schema": {"type": "object", "required": ["out"],
                          "properties": {"out": {"type": "string"}}},
        "sample_config": {"out": "digest.txt"}}"#
);
