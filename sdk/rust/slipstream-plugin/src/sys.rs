// Made from slipstream.h by tools/rust_bindings.py; do not edit.
//! The contract as it is in C: what the header says of a name holds here.
#![allow(non_camel_case_types, missing_docs, clippy::identity_op)]

use std::ffi::{c_char, c_void, CStr};
use std::mem::size_of;

pub const CONSTRUCTOR: &str = "slipstream_create_plugin_v1";
pub const INFO_SYMBOL: &str = "slipstream_info_v1";
pub const INFO_MAGIC: &str = "SLIPINFO1\n";
pub const EXT_CONFIG: &CStr = c"slipstream.config/1";
pub const EXT_METRICS: &CStr = c"slipstream.metrics/1";
pub const EXT_SETTLE: &CStr = c"slipstream.settle/1";
pub const EXT_SEND: &CStr = c"slipstream.send/1";
pub const EXT_PEERS: &CStr = c"slipstream.peers/1";
pub const EXT_IDENTITY: &CStr = c"slipstream.identity/1";
pub const EXT_PAYLOAD: &CStr = c"slipstream.payload/1";
pub const ABI_MAJOR: u32 = 1;
pub const ABI_MINOR: u32 = 0;
pub const OK: i32 = 0;
pub const END: i32 = 1;
pub const IGNORED: i32 = 2;
pub const FAILED: i32 = -1;
pub const RETRY: i32 = -2;
pub const NOT_FOUND: i32 = -3;
pub const UNSUPPORTED: i32 = -4;
pub const INVALID_ARGUMENT: i32 = -5;
pub const INVALID_CONFIG: i32 = -6;
pub const MALFORMED: i32 = -7;
pub const WRONG_STATE: i32 = -8;
pub const TOO_LARGE: i32 = -9;
pub const OUT_OF_RANGE: i32 = -10;
pub const WRONG_TYPE: i32 = -11;
pub const NO_MEMORY: i32 = -12;
pub const IO: i32 = -13;
pub const TIMEOUT: i32 = -14;
pub const DENIED: i32 = -15;
pub const FATAL: i32 = -16;
pub const PANIC: i32 = -17;
pub const KIND_MAPPING_UPDATE: u32 = 0;
pub const KIND_MAPPING_REMOVAL: u32 = 1;
pub const KIND_STAKING_REWARD: u32 = 2;
pub const KIND_BLOCK: u32 = 3;
pub const KIND_PAYLOAD: u32 = 4;
pub const KIND_GAP: u32 = 5;
pub const KIND_PEER_SEEN: u32 = 6;
pub const KIND_PEER_FORGOTTEN: u32 = 7;
pub const KIND_MARK: u32 = 8;
pub const KIND_APP_FIRST: u32 = 32;
pub const KIND_APP_LAST: u32 = 63;
pub const FRAME_HEADER_LEN: u32 = 48;
pub const FRAME_MAX: u32 = 67108864;
pub const FRAME_RECORDED: u32 = 1;
pub const FRAME_ROUTED: u32 = 2;
pub const FRAME_FROM_PLUGIN: u32 = 4;
pub const FRAME_SNAPSHOT: u32 = 8;
pub const FRAME_CRITICAL: u32 = 0xFFFF0000;
pub const HEIGHT_NONE: u64 = 0xFFFFFFFFFFFFFFFF;
pub const ENCODING_UNSAID: u32 = 0;
pub const ENCODING_SNARKVM_4: u32 = 1;
pub const PEER_DIRECT: u32 = 1;
pub const PEER_ROUTED: u32 = 2;
pub const GAP_DROPPED_NEWEST: u32 = 1;
pub const GAP_DROPPED_OLDEST: u32 = 2;
pub const GAP_BLOCK_TIMEOUT: u32 = 4;
pub const GAP_DEAD_LETTER: u32 = 8;
pub const GAP_TOO_LARGE: u32 = 16;
pub const GAP_PAUSED: u32 = 32;
pub const GAP_RELOAD: u32 = 64;
pub const GAP_QUARANTINED: u32 = 128;
pub const LOG_TRACE: u32 = 0;
pub const LOG_DEBUG: u32 = 1;
pub const LOG_INFO: u32 = 2;
pub const LOG_WARN: u32 = 3;
pub const LOG_ERROR: u32 = 4;
pub const LOG_HOST_MISBEHAVING: u32 = 5;
pub const LOG_PLUGIN_MISBEHAVING: u32 = 6;
pub const LOAD_START: u32 = 0;
pub const LOAD_RELOAD: u32 = 1;
pub const LOAD_RESTART: u32 = 2;
pub const FLAG_RESIDENT: u32 = 1;
pub const FLAG_PROMPT: u32 = 2;
pub const FLAG_MULTI_INSTANCE: u32 = 4;
pub const FLAG_EXPLICIT_ACK: u32 = 8;
pub const FLAG_BATCH: u32 = 16;
pub const FLAG_CONCURRENT: u32 = 32;
pub const NAME_MAX: u32 = 63;
pub const ERROR_MAX: u32 = 4096;
pub const LOG_MAX: u32 = 65536;
pub const INFO_MAX: u32 = 65536;
pub const NO_TIMEOUT: u32 = 0xFFFFFFFF;
pub const JSON_NULL: u32 = 0;
pub const JSON_BOOL: u32 = 1;
pub const JSON_NUMBER: u32 = 2;
pub const JSON_TEXT: u32 = 3;
pub const JSON_ARRAY: u32 = 4;
pub const JSON_OBJECT: u32 = 5;
pub const PEER_PUBLIC_KEY: u32 = 1;
pub const PEER_NAME: u32 = 2;
pub const SIGNATURE_LEN: u32 = 64;
#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_delivery {
    pub struct_size: u32,
    pub attempt: u32,
    pub count: u32,
    pub flags: u32,
    pub first_ordinal: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_host {
    pub struct_size: u32,
    pub abi_minor: u32,
    pub ctx: *mut c_void,
    pub name: *const c_char,
    pub version: *const c_char,
    pub log_enabled: unsafe extern "C" fn(*mut c_void, u32) -> i32,
    pub log: unsafe extern "C" fn(*mut c_void, u32, *const c_char, usize),
    pub set_error: unsafe extern "C" fn(*mut c_void, *const c_char, usize),
    pub ack: unsafe extern "C" fn(*mut c_void, u64) -> i32,
    pub is_stopping: unsafe extern "C" fn(*mut c_void) -> i32,
    pub get_extension: unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_plugin {
    pub struct_size: u32,
    pub abi_minor: u32,
    pub min_host_minor: u32,
    pub flags: u32,
    pub instance: *mut c_void,
    pub name: *const c_char,
    pub version: *const c_char,
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    pub on_load: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize, u32) -> i32>,
    pub on_unload: Option<unsafe extern "C" fn(*mut c_void, u32) -> i32>,
    pub subscribed_events: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    pub on_broadcast: Option<unsafe extern "C" fn(*mut c_void, *const slipstream_delivery, *const u8, usize) -> i32>,
    pub flush: Option<unsafe extern "C" fn(*mut c_void, u32) -> i32>,
    pub get_extension: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_config_v1 {
    pub struct_size: u32,
    pub reserved: u32,
    pub type_at: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u32, *mut usize) -> i32,
    pub key_at: unsafe extern "C" fn(*mut c_void, *const c_char, usize, *mut c_char, *mut usize) -> i32,
    pub get_bool: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u32) -> i32,
    pub get_i64: unsafe extern "C" fn(*mut c_void, *const c_char, *mut i64) -> i32,
    pub get_u64: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u64) -> i32,
    pub get_f64: unsafe extern "C" fn(*mut c_void, *const c_char, *mut f64) -> i32,
    pub get_text: unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_char, *mut usize) -> i32,
    pub get_json: unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_char, *mut usize) -> i32,
    pub config_dir: unsafe extern "C" fn(*mut c_void, *mut c_char, *mut usize) -> i32,
    pub data_dir: unsafe extern "C" fn(*mut c_void, *mut c_char, *mut usize) -> i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_metrics_v1 {
    pub struct_size: u32,
    pub reserved: u32,
    pub counter_add: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, u64) -> i32,
    pub gauge_set: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, f64) -> i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_settle_v1 {
    pub struct_size: u32,
    pub reserved: u32,
    pub reject: unsafe extern "C" fn(*mut c_void, u64, i32, *const c_char, usize) -> i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_payload_v1 {
    pub struct_size: u32,
    pub reserved: u32,
    pub name_at: unsafe extern "C" fn(*mut c_void, u32) -> *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_send_v1 {
    pub struct_size: u32,
    pub reserved: u32,
    pub send: unsafe extern "C" fn(*mut c_void, u32, *const u8, usize, *const u8, usize, *const u8, usize, *mut u64) -> i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_peers_v1 {
    pub struct_size: u32,
    pub reserved: u32,
    pub lookup: unsafe extern "C" fn(*mut c_void, *const u8, usize, u32, *mut u8, *mut usize) -> i32,
    pub peer_at: unsafe extern "C" fn(*mut c_void, u32, *mut u8, *mut usize) -> i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct slipstream_identity_v1 {
    pub struct_size: u32,
    pub reserved: u32,
    pub public_key: unsafe extern "C" fn(*mut c_void, *mut u8, *mut usize) -> i32,
    pub sign: unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut u8) -> i32,
    pub open: unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut u8, *mut usize) -> i32,
}

const _: () = assert!(size_of::<slipstream_delivery>() == 24);
const _: () = assert!(size_of::<slipstream_host>() == 4 * 2 + 9 * size_of::<*const ()>());
const _: () = assert!(size_of::<slipstream_plugin>() == 4 * 4 + 10 * size_of::<*const ()>());
const _: () = assert!(size_of::<slipstream_config_v1>() == 4 * 2 + 10 * size_of::<*const ()>());
const _: () = assert!(size_of::<slipstream_metrics_v1>() == 4 * 2 + 2 * size_of::<*const ()>());
const _: () = assert!(size_of::<slipstream_settle_v1>() == 4 * 2 + 1 * size_of::<*const ()>());
const _: () = assert!(size_of::<slipstream_payload_v1>() == 4 * 2 + 1 * size_of::<*const ()>());
const _: () = assert!(size_of::<slipstream_send_v1>() == 4 * 2 + 1 * size_of::<*const ()>());
const _: () = assert!(size_of::<slipstream_peers_v1>() == 4 * 2 + 2 * size_of::<*const ()>());
const _: () = assert!(size_of::<slipstream_identity_v1>() == 4 * 2 + 3 * size_of::<*const ()>());
