//! The config, KEY=VALUE pairs, as JSON and as slipstream.config/1.
//!
//! SPDX-License-Identifier: Apache-2.0

use crate::abi::*;
use std::ffi::{c_char, c_void, CStr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

struct Pair {
    key: String,
    value: String,
}

static PAIRS: OnceLock<Vec<Pair>> = OnceLock::new();
/// While on_load runs.
pub static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// None: an argument is no pair, or would need escapes in JSON.
pub fn take(arguments: &[String]) -> Option<()> {
    let mut pairs = Vec::new();
    for argument in arguments {
        let (key, value) = argument.split_once('=')?;
        if argument.contains(['"', '\\', '\n']) {
            return None;
        }
        pairs.push(Pair {
            key: key.into(),
            value: value.into(),
        });
    }
    PAIRS.set(pairs).ok()
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn as_json(value: &str) -> String {
    if is_number(value) {
        value.into()
    } else {
        format!("\"{value}\"")
    }
}

/// The object that on_load gets.
pub fn json(name: &str, path: &str) -> String {
    let own = PAIRS.get().into_iter().flatten();
    let own = own.map(|pair| format!(", \"{}\": {}", pair.key, as_json(&pair.value)));
    format!(
        "{{\"name\": \"{name}\", \"libpath\": \"{path}\"{}}}",
        own.collect::<String>()
    )
}

unsafe fn find(pointer: *const c_char) -> Result<&'static str, i32> {
    if !IS_OPEN.load(Ordering::Relaxed) {
        return Err(WRONG_STATE);
    }
    let pointer = CStr::from_ptr(pointer)
        .to_str()
        .map_err(|_| INVALID_ARGUMENT)?;
    let key = pointer.strip_prefix('/').ok_or(NOT_FOUND)?;
    let pairs = PAIRS.get().ok_or(NOT_FOUND)?;
    let found = pairs.iter().find(|pair| pair.key == key).ok_or(NOT_FOUND)?;
    Ok(&found.value)
}

unsafe fn give(text: &str, buffer: *mut u8, len: *mut usize) -> i32 {
    let room = std::mem::replace(&mut *len, text.len());
    if room < text.len() {
        return TOO_LARGE;
    }
    std::ptr::copy_nonoverlapping(text.as_ptr(), buffer, text.len());
    OK
}

unsafe fn number(pointer: *const c_char) -> Result<u64, i32> {
    let value = find(pointer)?;
    if !is_number(value) {
        return Err(WRONG_TYPE);
    }
    value.parse().map_err(|_| OUT_OF_RANGE)
}

unsafe fn put<T>(found: Result<T, i32>, out: *mut T) -> i32 {
    match found {
        Ok(value) => {
            *out = value;
            OK
        }
        Err(status) => status,
    }
}

unsafe extern "C" fn type_at(
    _: *mut c_void,
    pointer: *const c_char,
    kind: *mut u32,
    count: *mut usize,
) -> i32 {
    let (number, text, object) = (2, 3, 5);
    if *pointer == 0 {
        (*kind, *count) = (object, PAIRS.get().map_or(0, Vec::len));
        return OK;
    }
    match find(pointer) {
        Ok(value) if is_number(value) => (*kind, *count) = (number, 0),
        Ok(value) => (*kind, *count) = (text, value.len()),
        Err(status) => return status,
    }
    OK
}

unsafe extern "C" fn key_at(
    _: *mut c_void,
    pointer: *const c_char,
    index: usize,
    buffer: *mut u8,
    len: *mut usize,
) -> i32 {
    let pair = PAIRS
        .get()
        .and_then(|pairs| pairs.get(index))
        .filter(|_| *pointer == 0);
    pair.map_or(NOT_FOUND, |pair| give(&pair.key, buffer, len))
}

unsafe extern "C" fn get_bool(_: *mut c_void, pointer: *const c_char, _: *mut u32) -> i32 {
    find(pointer).map_or_else(|status| status, |_| WRONG_TYPE)
}

unsafe extern "C" fn get_i64(_: *mut c_void, pointer: *const c_char, out: *mut i64) -> i32 {
    put(
        number(pointer).and_then(|value| i64::try_from(value).map_err(|_| OUT_OF_RANGE)),
        out,
    )
}

unsafe extern "C" fn get_u64(_: *mut c_void, pointer: *const c_char, out: *mut u64) -> i32 {
    put(number(pointer), out)
}

unsafe extern "C" fn get_f64(_: *mut c_void, pointer: *const c_char, out: *mut f64) -> i32 {
    put(number(pointer).map(|value| value as f64), out)
}

unsafe extern "C" fn get_text(
    _: *mut c_void,
    pointer: *const c_char,
    buffer: *mut u8,
    len: *mut usize,
) -> i32 {
    match find(pointer) {
        Ok(value) if is_number(value) => WRONG_TYPE,
        Ok(value) => give(value, buffer, len),
        Err(status) => status,
    }
}

unsafe extern "C" fn get_json(
    _: *mut c_void,
    pointer: *const c_char,
    buffer: *mut u8,
    len: *mut usize,
) -> i32 {
    find(pointer).map_or_else(|status| status, |value| give(&as_json(value), buffer, len))
}

unsafe extern "C" fn folder(_: *mut c_void, buffer: *mut u8, len: *mut usize) -> i32 {
    if !IS_OPEN.load(Ordering::Relaxed) {
        return WRONG_STATE;
    }
    let here = std::env::current_dir().unwrap_or_default();
    give(&here.to_string_lossy(), buffer, len)
}

pub static TABLE: Config = Config {
    struct_size: std::mem::size_of::<Config>() as u32,
    reserved: 0,
    type_at,
    key_at,
    get_bool,
    get_i64,
    get_u64,
    get_f64,
    get_text,
    get_json,
    config_dir: folder,
    data_dir: folder,
};
