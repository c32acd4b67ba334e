//! The tables and numbers of slipstream.h, as far as this plugin needs them.
//!
//! SPDX-License-Identifier: Apache-2.0

use std::ffi::{c_char, c_void, CStr};
use std::mem::{offset_of, size_of};

pub const ABI_MINOR: u32 = 0;
pub const CONSTRUCTOR_FLAGS: u32 = FLAG_PROMPT | FLAG_MULTI_INSTANCE | FLAG_BATCH;
const FLAG_PROMPT: u32 = 2;
const FLAG_MULTI_INSTANCE: u32 = 4;
const FLAG_BATCH: u32 = 16;

pub const EXT_CONFIG: &CStr = c"slipstream.config/1";
pub const EXT_METRICS: &CStr = c"slipstream.metrics/1";

pub const OK: i32 = 0;
pub const IGNORED: i32 = 2;
pub const NOT_FOUND: i32 = -3;
pub const UNSUPPORTED: i32 = -4;
pub const INVALID_CONFIG: i32 = -6;
pub const MALFORMED: i32 = -7;
pub const NO_MEMORY: i32 = -12;
pub const PANIC: i32 = -17;

pub const LOG_INFO: u32 = 2;

pub const KIND_MAPPING_UPDATE: u16 = 0;
pub const KIND_MAPPING_REMOVAL: u16 = 1;
pub const KIND_STAKING_REWARD: u16 = 2;
pub const KIND_BLOCK: u16 = 3;
pub const KIND_PAYLOAD: u16 = 4;
pub const KIND_GAP: u16 = 5;
pub const KIND_APP_FIRST: u16 = 32;
pub const KIND_APP_LAST: u16 = 63;

/// Exports the text that a host reads before any code of this library runs, as SLIPSTREAM_INFO of
/// slipstream.h does: one JSON object, given as literals that are put together.
macro_rules! slipstream_info {
    ($($json:expr),+) => {
        #[no_mangle]
        #[allow(non_upper_case_globals)]
        pub static slipstream_info_v1: [u8; concat!("SLIPINFO1\n", $($json,)+ "\0").len()] = {
            let text = concat!("SLIPINFO1\n", $($json,)+ "\0").as_bytes();
            let mut bytes = [0; concat!("SLIPINFO1\n", $($json,)+ "\0").len()];
            let mut at = 0;
            while at < bytes.len() {
                bytes[at] = text[at];
                at += 1;
            }
            bytes
        };
    };
}
pub(crate) use slipstream_info;

#[repr(C)]
pub struct Delivery {
    pub struct_size: u32,
    pub attempt: u32,
    pub count: u32,
    pub reserved: u32,
    pub first_ordinal: u64,
}

#[repr(C)]
pub struct Host {
    pub struct_size: u32,
    pub abi_minor: u32,
    pub ctx: *mut c_void,
    pub name: *const c_char,
    pub version: *const c_char,
    pub log_enabled: unsafe extern "C" fn(ctx: *mut c_void, level: u32) -> i32,
    pub log: unsafe extern "C" fn(ctx: *mut c_void, level: u32, text: *const u8, len: usize),
    pub set_error: unsafe extern "C" fn(ctx: *mut c_void, text: *const u8, len: usize),
    pub ack: unsafe extern "C" fn(ctx: *mut c_void, ordinal: u64) -> i32,
    pub is_stopping: unsafe extern "C" fn(ctx: *mut c_void) -> i32,
    pub get_extension: unsafe extern "C" fn(ctx: *mut c_void, id: *const c_char) -> *const c_void,
}

type OnLoad = unsafe extern "C" fn(*mut c_void, *const u8, usize, u32) -> i32;
type OnBroadcast = unsafe extern "C" fn(*mut c_void, *const Delivery, *const u8, usize) -> i32;

#[repr(C)]
pub struct Plugin {
    pub struct_size: u32,
    pub abi_minor: u32,
    pub min_host_minor: u32,
    pub flags: u32,
    pub instance: *mut c_void,
    pub name: *const c_char,
    pub version: *const c_char,
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    pub on_load: Option<OnLoad>,
    pub on_unload: Option<unsafe extern "C" fn(*mut c_void, u32) -> i32>,
    pub subscribed_events: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    pub on_broadcast: Option<OnBroadcast>,
    pub flush: Option<unsafe extern "C" fn(*mut c_void, u32) -> i32>,
    pub get_extension: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void>,
}

/// Up to get_u64, the only getter that is used here.
#[repr(C)]
pub struct Config {
    pub struct_size: u32,
    pub reserved: u32,
    pub type_at: *const c_void,
    pub key_at: *const c_void,
    pub get_bool: *const c_void,
    pub get_i64: *const c_void,
    pub get_u64:
        unsafe extern "C" fn(ctx: *mut c_void, pointer: *const c_char, value: *mut u64) -> i32,
}

/// Up to counter_add.
#[repr(C)]
pub struct Metrics {
    pub struct_size: u32,
    pub reserved: u32,
    pub counter_add: unsafe extern "C" fn(
        ctx: *mut c_void,
        name: *const c_char,
        label: *const c_char,
        amount: u64,
    ) -> i32,
}

/// The offset of pointer number `n` after `words` 32-bit words, as in the header.
const fn at(words: usize, n: usize) -> usize {
    4 * words + n * size_of::<usize>()
}

macro_rules! layout {
    ($($table:ty, $field:ident, $words:literal, $n:literal;)*) => {
        $(const _: () = assert!(offset_of!($table, $field) == at($words, $n));)*
    };
}

const _: () = assert!(size_of::<Delivery>() == 24);
const _: () = assert!(offset_of!(Delivery, first_ordinal) == 16);
const _: () = assert!(size_of::<Host>() == at(2, 9));
const _: () = assert!(size_of::<Plugin>() == at(4, 10));
layout! {
    Delivery, attempt, 1, 0; Delivery, count, 2, 0; Delivery, reserved, 3, 0;
    Host, struct_size, 0, 0; Host, abi_minor, 1, 0; Host, ctx, 2, 0; Host, name, 2, 1;
    Host, version, 2, 2; Host, log_enabled, 2, 3; Host, log, 2, 4; Host, set_error, 2, 5;
    Host, ack, 2, 6; Host, is_stopping, 2, 7; Host, get_extension, 2, 8;
    Plugin, struct_size, 0, 0; Plugin, abi_minor, 1, 0; Plugin, min_host_minor, 2, 0;
    Plugin, flags, 3, 0; Plugin, instance, 4, 0; Plugin, name, 4, 1; Plugin, version, 4, 2;
    Plugin, destroy, 4, 3; Plugin, on_load, 4, 4; Plugin, on_unload, 4, 5;
    Plugin, subscribed_events, 4, 6; Plugin, on_broadcast, 4, 7; Plugin, flush, 4, 8;
    Plugin, get_extension, 4, 9;
    Config, struct_size, 0, 0; Config, type_at, 2, 0; Config, get_u64, 2, 4;
    Metrics, struct_size, 0, 0; Metrics, counter_add, 2, 0;
}
