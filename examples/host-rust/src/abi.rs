//! The tables and numbers of slipstream.h that a host needs, written down from the header.
//!
//! SPDX-License-Identifier: Apache-2.0

use std::ffi::{c_char, c_void};

pub const OK: i32 = 0;
pub const RETRY: i32 = -2;
pub const NOT_FOUND: i32 = -3;
pub const INVALID_ARGUMENT: i32 = -5;
pub const WRONG_STATE: i32 = -8;
pub const TOO_LARGE: i32 = -9;
pub const OUT_OF_RANGE: i32 = -10;
pub const WRONG_TYPE: i32 = -11;
pub const NO_MEMORY: i32 = -12;
pub const TIMEOUT: i32 = -14;
pub const FATAL: i32 = -16;
pub const PANIC: i32 = -17;

pub const FLAG_EXPLICIT_ACK: u32 = 8;
pub const FLAG_BATCH: u32 = 16;
pub const NO_TIMEOUT: u32 = 0xFFFF_FFFF;
pub const LOG_INFO: u32 = 2;
pub const GAP_PAUSED: u32 = 32;
pub const ROUTED: u32 = 2;

pub const MAPPING_UPDATE: u16 = 0;
pub const MAPPING_REMOVAL: u16 = 1;
pub const STAKING_REWARD: u16 = 2;
pub const BLOCK: u16 = 3;
pub const PAYLOAD: u16 = 4;
pub const GAP: u16 = 5;
pub const PEER_SEEN: u16 = 6;
pub const PEER_FORGOTTEN: u16 = 7;
pub const APP_FIRST: u16 = 32;

#[repr(C)]
pub struct Delivery {
    pub struct_size: u32,
    pub attempt: u32,
    pub count: u32,
    pub flags: u32,
    pub first_ordinal: u64,
}

/// The host's table. Its functions are the contract's, so none may be missing.
#[repr(C)]
pub struct Host {
    pub struct_size: u32,
    pub abi_minor: u32,
    pub ctx: *mut c_void,
    pub name: *const c_char,
    pub version: *const c_char,
    pub log_enabled: unsafe extern "C" fn(*mut c_void, u32) -> i32,
    pub log: unsafe extern "C" fn(*mut c_void, u32, *const u8, usize),
    pub set_error: unsafe extern "C" fn(*mut c_void, *const u8, usize),
    pub ack: unsafe extern "C" fn(*mut c_void, u64) -> i32,
    pub is_stopping: unsafe extern "C" fn(*mut c_void) -> i32,
    pub get_extension: unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void,
}

/// The plugin's table; None is what it does not have.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plugin {
    pub struct_size: u32,
    pub abi_minor: u32,
    pub min_host_minor: u32,
    pub flags: u32,
    pub instance: *mut c_void,
    pub name: *const c_char,
    pub version: *const c_char,
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    pub on_load: Option<unsafe extern "C" fn(*mut c_void, *const u8, usize, u32) -> i32>,
    pub on_unload: Option<unsafe extern "C" fn(*mut c_void, u32) -> i32>,
    pub subscribed_events: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    pub on_broadcast:
        Option<unsafe extern "C" fn(*mut c_void, *const Delivery, *const u8, usize) -> i32>,
    pub flush: Option<unsafe extern "C" fn(*mut c_void, u32) -> i32>,
    pub get_extension: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void>,
}

pub type Constructor = unsafe extern "C" fn(*const Host) -> *const Plugin;

/// slipstream.config/1.
#[repr(C)]
pub struct Config {
    pub struct_size: u32,
    pub reserved: u32,
    pub type_at: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u32, *mut usize) -> i32,
    pub key_at: unsafe extern "C" fn(*mut c_void, *const c_char, usize, *mut u8, *mut usize) -> i32,
    pub get_bool: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u32) -> i32,
    pub get_i64: unsafe extern "C" fn(*mut c_void, *const c_char, *mut i64) -> i32,
    pub get_u64: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u64) -> i32,
    pub get_f64: unsafe extern "C" fn(*mut c_void, *const c_char, *mut f64) -> i32,
    pub get_text: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u8, *mut usize) -> i32,
    pub get_json: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u8, *mut usize) -> i32,
    pub config_dir: unsafe extern "C" fn(*mut c_void, *mut u8, *mut usize) -> i32,
    pub data_dir: unsafe extern "C" fn(*mut c_void, *mut u8, *mut usize) -> i32,
}

/// slipstream.settle/1.
#[repr(C)]
pub struct Settle {
    pub struct_size: u32,
    pub reserved: u32,
    pub reject: unsafe extern "C" fn(*mut c_void, u64, i32, *const u8, usize) -> i32,
}

/// slipstream.payload/1, the plugin's.
#[repr(C)]
pub struct PayloadNames {
    pub struct_size: u32,
    pub reserved: u32,
    pub name_at: unsafe extern "C" fn(*mut c_void, u32) -> *const c_char,
}
