//! A host for `cargo test`: every step is the test's, and nothing of slipstream needs to be there.
//!
//! ```ignore
//! let mut host = Harness::load(&Export::<Counter>::new(), json!({"every": 2}))?;
//! host.deliver(&[block(1, b"four")])?;
//! assert_eq!(host.logs(), ["1 blocks"]);
//! host.unload()?;
//! ```

pub use crate::boundary::Export;
pub use serde_json::json;

use crate::boundary::create;
use crate::plugin::Plugin;
use crate::status::Status;
use crate::sys;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_void, CStr};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a plugin answered that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: Status,
    pub text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.text)
    }
}

impl std::error::Error for Refused {}

#[derive(Default)]
struct Seen {
    lines: Vec<(u32, String)>,
    error: String,
    acknowledged: u64,
    metrics: BTreeMap<String, f64>,
    rejected: Vec<(u64, Status)>,
}

struct Recorder {
    seen: Mutex<Seen>,
    folder: PathBuf,
}

impl Recorder {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A host of one instance.
pub struct Harness {
    recorder: *mut Recorder,
    host: *mut sys::slipstream_host,
    table: *const sys::slipstream_plugin,
    is_loaded: Cell<bool>,
    next: u64,
}

impl Harness {
    /// Makes and loads an instance. The folders of the config and of data are the current one.
    pub fn load<P: Plugin>(
        export: &Export<P>,
        config: serde_json::Value,
    ) -> Result<Harness, Refused> {
        let recorder = Box::into_raw(Box::new(Recorder {
            seen: Mutex::default(),
            folder: std::env::current_dir().unwrap_or_default(),
        }));
        let host = Box::into_raw(Box::new(sys::slipstream_host {
            struct_size: size_of::<sys::slipstream_host>() as u32,
            abi_minor: sys::ABI_MINOR,
            ctx: recorder.cast(),
            name: c"harness".as_ptr(),
            version: c"0".as_ptr(),
            log_enabled,
            log,
            set_error,
            ack,
            is_stopping,
            get_extension,
        }));
        // SAFETY: the table lives until the harness is dropped, behind destroy.
        let table = unsafe { create(host, export, "harness\0", "0\0") };
        let harness = Harness {
            recorder,
            host,
            table,
            is_loaded: Cell::new(false),
            next: 1,
        };
        let text = config.to_string();
        harness.call(|table| {
            let on_load = table.on_load.expect("always there");
            // SAFETY: the text is readable while the call lasts.
            unsafe {
                on_load(
                    table.instance,
                    text.as_ptr().cast(),
                    text.len(),
                    sys::LOAD_START,
                )
            }
        })?;
        harness.is_loaded.set(true);
        Ok(harness)
    }

    fn recorder(&self) -> &Recorder {
        // SAFETY: it lives as long as the harness.
        unsafe { &*self.recorder }
    }

    fn call(&self, body: impl FnOnce(&sys::slipstream_plugin) -> i32) -> Result<(), Refused> {
        self.recorder().seen().error.clear();
        // SAFETY: the table lives until destroy.
        match Status::of(body(unsafe { &*self.table })) {
            Status::Ok | Status::Ignored => Ok(()),
            status => Err(Refused {
                status,
                text: self.recorder().seen().error.clone(),
            }),
        }
    }

    /// Delivers a run of events.
    pub fn deliver(&mut self, frames: &[Frame]) -> Result<(), Refused> {
        let first_ordinal = self.next;
        let mut bytes = Vec::new();
        for frame in frames {
            let at = bytes.len();
            bytes.extend_from_slice(&frame.0);
            bytes[at + 24..at + 32].copy_from_slice(&self.next.to_le_bytes());
            self.next += 1;
        }
        let delivery = sys::slipstream_delivery {
            struct_size: size_of::<sys::slipstream_delivery>() as u32,
            attempt: 1,
            count: frames.len() as u32,
            flags: 0,
            first_ordinal,
        };
        self.call(|table| {
            let on_broadcast = table.on_broadcast.expect("always there");
            // SAFETY: the bytes are readable while the call lasts.
            unsafe { on_broadcast(table.instance, &delivery, bytes.as_ptr(), bytes.len()) }
        })
    }

    /// The bits of the kinds that the plugin wants.
    pub fn subscribed_events(&self) -> u64 {
        // SAFETY: the table lives until destroy.
        let table = unsafe { &*self.table };
        let subscribed = table.subscribed_events.expect("always there");
        // SAFETY: it is loaded.
        unsafe { subscribed(table.instance) }
    }

    /// Asks it to make all durable; nothing happens where it does not flush.
    pub fn flush(&self) -> Result<(), Refused> {
        self.call(|table| match table.flush {
            // SAFETY: it is loaded.
            Some(flush) => unsafe { flush(table.instance, sys::NO_TIMEOUT) },
            None => sys::OK,
        })
    }

    /// Unloads it; its log lines stay.
    pub fn unload(&self) -> Result<(), Refused> {
        if !self.is_loaded.replace(false) {
            return Ok(());
        }
        self.call(|table| {
            let on_unload = table.on_unload.expect("always there");
            // SAFETY: it is loaded.
            unsafe { on_unload(table.instance, sys::NO_TIMEOUT) }
        })
    }

    /// The texts of its log lines.
    pub fn logs(&self) -> Vec<String> {
        let seen = self.recorder().seen();
        seen.lines.iter().map(|(_, text)| text.clone()).collect()
    }

    /// The last ordinal that it acknowledged by `ack`.
    pub fn acknowledged(&self) -> u64 {
        self.recorder().seen().acknowledged
    }

    /// A counter or gauge, by its name or by `name{label}`.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.recorder().seen().metrics.get(name).copied()
    }

    /// The ordinals that it rejected, and why.
    pub fn rejected(&self) -> Vec<(u64, Status)> {
        self.recorder().seen().rejected.clone()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        let _ = self.unload();
        // SAFETY: the last call; nobody has the tables any more.
        unsafe {
            let table = &*self.table;
            (table.destroy.expect("always there"))(table.instance);
            drop(Box::from_raw(self.host));
            drop(Box::from_raw(self.recorder));
        }
    }
}

/// One event, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

enum Part<'a> {
    Span(Option<&'a [u8]>),
    Number(u64),
}

fn frame(kind: u32, height: Option<u64>, word: u32, parts: &[Part<'_>]) -> Frame {
    let fixed = 8 + 8 * parts.len();
    let mut payload = vec![0; fixed];
    payload[..4].copy_from_slice(&(fixed as u32).to_le_bytes());
    payload[4..8].copy_from_slice(&word.to_le_bytes());
    let mut len = fixed;
    for (number, part) in parts.iter().enumerate() {
        let field = match part {
            Part::Number(number) => *number,
            Part::Span(None) => 0,
            Part::Span(Some(bytes)) => {
                payload.resize(payload.len().next_multiple_of(8), 0);
                let at = payload.len();
                payload.extend_from_slice(bytes);
                len = payload.len();
                at as u64 | (bytes.len() as u64) << 32
            }
        };
        let at = 8 + 8 * number;
        payload[at..at + 8].copy_from_slice(&field.to_le_bytes());
    }
    payload.resize(payload.len().next_multiple_of(8), 0);
    let header = sys::FRAME_HEADER_LEN;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(header + payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(header | kind << 16).to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&(len as u32).to_le_bytes());
    for word in [1, 0, 0, height.unwrap_or(sys::HEIGHT_NONE)] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&payload);
    Frame(bytes)
}

/// A block.
pub fn block(height: u64, bytes: &[u8]) -> Frame {
    frame(sys::KIND_BLOCK, Some(height), 0, &[Part::Span(Some(bytes))])
}

/// A mapping got a value.
pub fn mapping_update(program: &[u8], mapping: &[u8], key: &[u8], value: &[u8]) -> Frame {
    let parts = [program, mapping, key, value].map(|bytes| Part::Span(Some(bytes)));
    frame(sys::KIND_MAPPING_UPDATE, None, 0, &parts)
}

/// A mapping lost a key, or all.
pub fn mapping_removal(program: &[u8], mapping: &[u8], key: Option<&[u8]>) -> Frame {
    let parts = [Some(program), Some(mapping), key].map(Part::Span);
    frame(sys::KIND_MAPPING_REMOVAL, None, 0, &parts)
}

/// A staker got a reward.
pub fn staking_reward(staker: &[u8], validator: &[u8], reward: u64, new_stake: u64) -> Frame {
    let (staker, validator) = (Part::Span(Some(staker)), Part::Span(Some(validator)));
    let numbers = [Part::Number(reward), Part::Number(new_stake)];
    let [reward, new_stake] = numbers;
    frame(
        sys::KIND_STAKING_REWARD,
        None,
        0,
        &[staker, validator, reward, new_stake],
    )
}

/// A named payload.
pub fn payload(name: &str, body: &[u8]) -> Frame {
    let parts = [None, Some(name.as_bytes()), Some(body)].map(Part::Span);
    frame(sys::KIND_PAYLOAD, None, 0, &parts)
}

/// The events from ordinal `first` to `last` were lost.
pub fn gap(first: u64, last: u64) -> Frame {
    let none = sys::HEIGHT_NONE;
    let numbers = [first, last, last - first + 1, 0, none, none, 0, 0, 0].map(Part::Number);
    frame(sys::KIND_GAP, None, sys::GAP_DROPPED_NEWEST, &numbers)
}

/// An event of the application's own kind, 32 to 63.
pub fn app(kind: u8, bytes: &[u8]) -> Frame {
    let mut made = frame(kind.into(), None, 0, &[]);
    let header = sys::FRAME_HEADER_LEN as usize;
    made.0.extend_from_slice(bytes);
    let payload_len = (made.0.len() - header) as u32;
    made.0.resize(made.0.len().next_multiple_of(8), 0);
    let frame_len = made.0.len() as u32;
    made.0[..4].copy_from_slice(&frame_len.to_le_bytes());
    made.0[12..16].copy_from_slice(&payload_len.to_le_bytes());
    made
}

// ---- The tables. Each function gets the recorder, and texts that are readable for their length. ----

unsafe fn of<'a>(ctx: *mut c_void) -> MutexGuard<'a, Seen> {
    (*ctx.cast::<Recorder>()).seen()
}

unsafe fn text(data: *const c_char, len: usize) -> String {
    if len == 0 {
        return String::new();
    }
    String::from_utf8_lossy(std::slice::from_raw_parts(data.cast(), len)).into_owned()
}

unsafe extern "C" fn log_enabled(_: *mut c_void, _: u32) -> i32 {
    1
}

unsafe extern "C" fn log(ctx: *mut c_void, level: u32, data: *const c_char, len: usize) {
    of(ctx).lines.push((level, text(data, len)));
}

unsafe extern "C" fn set_error(ctx: *mut c_void, data: *const c_char, len: usize) {
    of(ctx).error = text(data, len);
}

unsafe extern "C" fn ack(ctx: *mut c_void, ordinal: u64) -> i32 {
    let mut seen = of(ctx);
    seen.acknowledged = seen.acknowledged.max(ordinal);
    sys::OK
}

unsafe extern "C" fn is_stopping(_: *mut c_void) -> i32 {
    0
}

unsafe extern "C" fn get_extension(_: *mut c_void, id: *const c_char) -> *const c_void {
    let id = CStr::from_ptr(id);
    if id == sys::EXT_METRICS {
        std::ptr::from_ref(&METRICS).cast()
    } else if id == sys::EXT_SETTLE {
        std::ptr::from_ref(&SETTLE).cast()
    } else if id == sys::EXT_CONFIG {
        std::ptr::from_ref(&CONFIG).cast()
    } else {
        std::ptr::null()
    }
}

static METRICS: sys::slipstream_metrics_v1 = sys::slipstream_metrics_v1 {
    struct_size: size_of::<sys::slipstream_metrics_v1>() as u32,
    reserved: 0,
    counter_add,
    gauge_set,
};

unsafe fn series(name: *const c_char, label: *const c_char) -> String {
    let name = CStr::from_ptr(name).to_string_lossy();
    if label.is_null() {
        return name.into_owned();
    }
    format!("{name}{{{}}}", CStr::from_ptr(label).to_string_lossy())
}

unsafe extern "C" fn counter_add(
    ctx: *mut c_void,
    name: *const c_char,
    label: *const c_char,
    amount: u64,
) -> i32 {
    *of(ctx).metrics.entry(series(name, label)).or_default() += amount as f64;
    sys::OK
}

unsafe extern "C" fn gauge_set(
    ctx: *mut c_void,
    name: *const c_char,
    label: *const c_char,
    value: f64,
) -> i32 {
    of(ctx).metrics.insert(series(name, label), value);
    sys::OK
}

static SETTLE: sys::slipstream_settle_v1 = sys::slipstream_settle_v1 {
    struct_size: size_of::<sys::slipstream_settle_v1>() as u32,
    reserved: 0,
    reject,
};

unsafe extern "C" fn reject(
    ctx: *mut c_void,
    ordinal: u64,
    status: i32,
    _: *const c_char,
    _: usize,
) -> i32 {
    of(ctx).rejected.push((ordinal, Status::of(status)));
    sys::OK
}

/// Only the folders: a plugin in Rust reads its config by serde.
static CONFIG: sys::slipstream_config_v1 = sys::slipstream_config_v1 {
    struct_size: size_of::<sys::slipstream_config_v1>() as u32,
    reserved: 0,
    type_at,
    key_at,
    get_bool,
    get_i64,
    get_u64,
    get_f64,
    get_text,
    get_json: get_text,
    config_dir: folder,
    data_dir: folder,
};

macro_rules! unsupported {
    ($($name:ident($($of:ty),*);)+) => {
        $(unsafe extern "C" fn $name(_: *mut c_void, _: *const c_char $(, _: $of)*) -> i32 {
            sys::UNSUPPORTED
        })+
    };
}
unsupported! {
    type_at(*mut u32, *mut usize);
    key_at(usize, *mut c_char, *mut usize);
    get_bool(*mut u32);
    get_i64(*mut i64);
    get_u64(*mut u64);
    get_f64(*mut f64);
    get_text(*mut c_char, *mut usize);
}

unsafe extern "C" fn folder(ctx: *mut c_void, buffer: *mut c_char, len: *mut usize) -> i32 {
    let path = (*ctx.cast::<Recorder>()).folder.to_string_lossy();
    let room = std::mem::replace(&mut *len, path.len());
    if room < path.len() {
        return sys::TOO_LARGE;
    }
    std::ptr::copy_nonoverlapping(path.as_ptr(), buffer.cast(), path.len());
    sys::OK
}
