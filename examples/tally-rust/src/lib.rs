//! tally-rust - the tally once more, in Rust without any crate.
//!
//! Config: as the C tally, and `panic_at`: panic at this event, to show that a panic ends at the
//! boundary; 0, the default, is never.
//!
//! What makes a Rust library safe to load and really unmapped afterwards:
//! * every function that the host calls catches panics;
//! * no thread-local with a destructor is touched on the host's thread, since glibc keeps the
//!   library mapped for as long as that thread lives;
//! * the standard panic hook, which writes to the host's standard error, is replaced;
//! * nothing is exported but the constructor and the info.
//!
//! SPDX-License-Identifier: Apache-2.0

mod abi;
mod frame;
mod tally;

use abi::*;
use frame::Frame;
use std::alloc::{alloc, Layout};
use std::any::Any;
use std::ffi::{c_char, c_void, CStr};
use std::fmt::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::sync::Once;
use tally::{kind_name, Tally, Text};

slipstream_info!(
    r#"{"name": "tally-rust", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r##"", "abi": 1,
    "flags": ["PROMPT", "MULTI_INSTANCE", "BATCH"],
    "kinds": ["MAPPING_UPDATE", "MAPPING_REMOVAL", "STAKING_REWARD", "BLOCK", "PAYLOAD",
              32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
              48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63],
    "requires": ["slipstream.config/1"], "optional": ["slipstream.metrics/1"],
    "config_schema": {
        "type": "object",
        "properties": {
            "log_every": {"$ref": "#/$defs/events", "description": "totals after so many events"},
            "max_mappings": {"type": "integer", "minimum": 1, "maximum": 4096, "default": 256},
            "panic_at": {"$ref": "#/$defs/events", "description": "panic at this event"}
        },
        "additionalProperties": false,
        "$defs": {"events": {"type": "integer", "minimum": 0, "default": 0}}
    },
    "sample_config": {"log_every": 1000},
    "licence": "Apache-2.0"}"##
);

struct Instance {
    table: Plugin,
    host: *const Host,
    metrics: *const Metrics,
    log_every: u64,
    panic_at: u64,
    tally: Tally,
}

/// Why a call fails: a status and its text.
type Failure = (i32, Text<104>);

fn failure(status: i32, text: &str) -> Failure {
    (status, Text::new(format_args!("{text}")))
}

impl Instance {
    fn host(&self) -> &Host {
        // SAFETY: the host's table is valid until destroy has returned.
        unsafe { &*self.host }
    }

    fn log(&self, text: &str) {
        let host = self.host();
        // SAFETY: the text is readable for its length until the call returns.
        unsafe { (host.log)(host.ctx, LOG_INFO, text.as_ptr(), text.len()) }
    }

    fn extension<T>(&self, id: &CStr) -> *const T {
        let host = self.host();
        // SAFETY: ids are NUL-terminated.
        unsafe { (host.get_extension)(host.ctx, id.as_ptr()) }.cast()
    }

    /// A whole number of the config, or `default` where the key is absent.
    fn number(
        &self,
        config: &Config,
        key: &str,
        range: [u64; 2],
        default: u64,
    ) -> Result<u64, Failure> {
        let pointer: Text<64> = Text::new(format_args!("/{key}\0"));
        let mut value = default;
        // SAFETY: the pointer ends with NUL, the value outlives the call.
        let status = unsafe {
            (config.get_u64)(
                self.host().ctx,
                pointer.as_str().as_ptr().cast(),
                &mut value,
            )
        };
        if status == NOT_FOUND || status == OK && value >= range[0] && value <= range[1] {
            return Ok(value);
        }
        let [low, high] = range;
        Err((
            INVALID_CONFIG,
            Text::new(format_args!(
                "config key '{key}' must be a whole number, {low} to {high}"
            )),
        ))
    }

    fn load(&mut self) -> Result<i32, Failure> {
        // SAFETY: NULL, or a table that is valid as long as the host's.
        let config = unsafe { self.extension::<Config>(EXT_CONFIG).as_ref() };
        let config = config.ok_or_else(|| {
            failure(
                UNSUPPORTED,
                "the host does not offer slipstream.config/1, which tally reads its config \
                 with; use a newer host",
            )
        })?;
        self.log_every = self.number(config, "log_every", [0, u64::MAX], 0)?;
        let max_rows = self.number(config, "max_mappings", [1, 4096], 256)?;
        self.panic_at = self.number(config, "panic_at", [0, u64::MAX], 0)?;
        let no_memory = |_| failure(NO_MEMORY, "no memory for the table; lower 'max_mappings'");
        self.tally.reserve(max_rows as usize).map_err(no_memory)?;
        self.metrics = self.extension(EXT_METRICS);
        Ok(OK)
    }

    fn broadcast(&mut self, run: &[u8]) -> Result<i32, Failure> {
        let mut result = IGNORED;
        let mut rest = run;
        // A run is all or nothing, so all of it is read before anything is counted.
        while !rest.is_empty() {
            let (frame, tail) = Frame::first(rest).map_err(|status| match status {
                UNSUPPORTED => failure(status, "the frame has a critical flag that is unknown"),
                _ => failure(status, "the run does not consist of whole frames"),
            })?;
            match frame.event() {
                Ok(_) => result = OK,
                Err(IGNORED) => {}
                Err(status) => return Err(failure(status, "the event's payload is malformed")),
            }
            rest = tail;
        }
        rest = run;
        while let Ok((frame, tail)) = Frame::first(rest) {
            if let Ok(event) = frame.event() {
                self.tally.count(&frame, &event);
                self.after(frame.kind);
            }
            rest = tail;
        }
        self.report();
        Ok(result)
    }

    fn after(&self, kind: u16) {
        let events = self.tally.events;
        if kind == KIND_GAP {
            return;
        }
        if self.log_every != 0 && events % self.log_every == 0 {
            self.log(self.tally.totals().as_str());
        }
        assert!(
            events != self.panic_at,
            "event {events}, as 'panic_at' wishes"
        );
    }

    fn report(&mut self) {
        // SAFETY: NULL, or a table that is valid as long as the host's.
        let Some(metrics) = (unsafe { self.metrics.as_ref() }) else {
            return;
        };
        let ctx = self.host().ctx;
        while self.tally.fresh_kinds != 0 {
            let kind = self.tally.fresh_kinds.trailing_zeros() as usize;
            let label: Text<32> = Text::new(format_args!("kind={}\0", kind_name(kind).as_str()));
            let label = label.as_str().as_ptr().cast();
            // SAFETY: name and label end with NUL.
            unsafe {
                (metrics.counter_add)(ctx, c"events".as_ptr(), label, self.tally.fresh[kind])
            };
            self.tally.fresh[kind] = 0;
            self.tally.fresh_kinds &= self.tally.fresh_kinds - 1;
        }
        let lost = std::mem::take(&mut self.tally.fresh_lost);
        if lost != 0 {
            // SAFETY: as above; NULL is no label.
            unsafe { (metrics.counter_add)(ctx, c"lost_events".as_ptr(), ptr::null(), lost) };
        }
    }

    fn unload(&mut self) -> Result<i32, Failure> {
        let host = self.host;
        // SAFETY: the host's table is valid until destroy has returned.
        let host = unsafe { &*host };
        // SAFETY: any thread, any state.
        if unsafe { (host.log_enabled)(host.ctx, LOG_INFO) } != 0 {
            // SAFETY: the text is readable for its length until the call returns.
            self.tally.table(|line| unsafe {
                (host.log)(host.ctx, LOG_INFO, line.as_ptr(), line.len());
            });
        }
        Ok(OK)
    }
}

/* ---- The boundary ------------------------------------------------------------------ */

fn panic_text(payload: &(dyn Any + Send)) -> Text<104> {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of an unknown type");
    let mut text = Text::new(format_args!("panic: "));
    for character in message.chars() {
        if text.write_char(character).is_err() {
            break; // a longer one is cut
        }
    }
    text
}

/// Runs `body` on the instance; its failure or panic becomes a status and an error's text.
unsafe fn enter(
    instance: *mut c_void,
    body: impl FnOnce(&mut Instance) -> Result<i32, Failure>,
) -> i32 {
    // SAFETY: the host passes what the constructor gave it, and its calls never overlap.
    let instance = unsafe { &mut *instance.cast::<Instance>() };
    let host = instance.host;
    let caught = catch_unwind(AssertUnwindSafe(|| body(instance)));
    let (status, text) = match caught {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            let text = panic_text(&*payload);
            // Its destructor could panic, too; a leak of some bytes is the lesser evil.
            std::mem::forget(payload);
            (PANIC, text)
        }
    };
    let text = text.as_str();
    // SAFETY: the host's table is valid, the text readable until the call returns.
    unsafe { ((*host).set_error)((*host).ctx, text.as_ptr(), text.len()) };
    status
}

unsafe extern "C" fn on_load(instance: *mut c_void, _: *const u8, _: usize, _: u32) -> i32 {
    enter(instance, Instance::load)
}

unsafe extern "C" fn on_unload(instance: *mut c_void, _: u32) -> i32 {
    enter(instance, Instance::unload)
}

unsafe extern "C" fn subscribed_events(_: *mut c_void) -> u64 {
    0x1f | 0xffff_ffff << KIND_APP_FIRST
}

unsafe extern "C" fn on_broadcast(
    instance: *mut c_void,
    _: *const Delivery,
    frames: *const u8,
    len: usize,
) -> i32 {
    // SAFETY: the frames are readable for `len` bytes until this returns.
    enter(instance, |it| {
        it.broadcast(unsafe { std::slice::from_raw_parts(frames, len) })
    })
}

unsafe extern "C" fn destroy(instance: *mut c_void) {
    // SAFETY: the last call; the constructor allocated it as a Box would. Nothing here panics.
    drop(unsafe { Box::from_raw(instance.cast::<Instance>()) });
}

/// What makes an instance; beside the info the only exported symbol.
///
/// # Safety
/// `host` is a table as slipstream.h describes it.
#[no_mangle]
pub unsafe extern "C" fn slipstream_create_plugin_v1(host: *const Host) -> *const Plugin {
    static HOOK: Once = Once::new();
    // The text is not lost, it is handed to set_error. The hook is that of this library alone.
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    // Not Box::new, which ends the process when there is no memory.
    // SAFETY: the type has a size.
    let instance = unsafe { alloc(Layout::new::<Instance>()) }.cast::<Instance>();
    if instance.is_null() {
        let text = "no memory for an instance";
        // SAFETY: the host's table is valid, the text readable until the call returns.
        unsafe { ((*host).set_error)((*host).ctx, text.as_ptr(), text.len()) };
        return ptr::null();
    }
    let value = Instance {
        table: Plugin {
            struct_size: std::mem::size_of::<Plugin>() as u32,
            abi_minor: ABI_MINOR,
            min_host_minor: 0,
            flags: CONSTRUCTOR_FLAGS,
            instance: instance.cast(),
            name: c"tally-rust".as_ptr(),
            version: concat!(env!("CARGO_PKG_VERSION"), "\0")
                .as_ptr()
                .cast::<c_char>(),
            destroy: Some(destroy),
            on_load: Some(on_load),
            on_unload: Some(on_unload),
            subscribed_events: Some(subscribed_events),
            on_broadcast: Some(on_broadcast),
            flush: None,
            get_extension: None,
        },
        host,
        metrics: ptr::null(),
        log_every: 0,
        panic_at: 0,
        tally: Tally::EMPTY,
    };
    // SAFETY: just allocated, for this type.
    unsafe {
        instance.write(value);
        &(*instance).table
    }
}
