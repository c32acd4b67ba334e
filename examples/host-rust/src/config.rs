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
/// All that the config has: the name and the library's path in front of the pairs.
static MEMBERS: OnceLock<Vec<Pair>> = OnceLock::new();
/// While on_load runs.
pub static IS_OPEN: AtomicBool = AtomicBool::new(false);

const NUMBER: u32 = 2;
const TEXT: u32 = 3;
const OBJECT: u32 = 5;

/// None: an argument is no pair, or would need escapes in JSON or in a JSON pointer.
pub fn take(arguments: &[String]) -> Option<()> {
    let mut pairs = Vec::new();
    for argument in arguments {
        let (key, value) = argument.split_once('=')?;
        if argument.contains(['"', '\\', '\n']) || key.contains(['~', '/']) {
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
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits && (value == "0" || !value.starts_with('0'))
}

fn as_json(value: &str) -> String {
    if is_number(value) {
        value.into()
    } else {
        format!("\"{value}\"")
    }
}

fn members() -> &'static [Pair] {
    MEMBERS.get().map_or(&[], Vec::as_slice)
}

fn all_as_json() -> String {
    let all = members().iter();
    let all = all.map(|pair| format!("\"{}\": {}", pair.key, as_json(&pair.value)));
    format!("{{{}}}", all.collect::<Vec<_>>().join(", "))
}

/// The object that on_load gets.
pub fn json(name: &str, path: &str) -> String {
    let own = [("name", name), ("libpath", path)];
    let given = PAIRS.get().into_iter().flatten();
    let given = given.map(|pair| (pair.key.as_str(), pair.value.as_str()));
    MEMBERS.get_or_init(|| {
        let all = own.into_iter().chain(given);
        let all = all.map(|(key, value)| Pair {
            key: key.into(),
            value: value.into(),
        });
        all.collect()
    });
    all_as_json()
}

/// What a JSON pointer points at: its type, and the value of what is not the whole config.
unsafe fn find(pointer: *const c_char) -> Result<(u32, &'static str), i32> {
    if !IS_OPEN.load(Ordering::Relaxed) {
        return Err(WRONG_STATE);
    }
    let pointer = CStr::from_ptr(pointer).to_str();
    let pointer = pointer.map_err(|_| INVALID_ARGUMENT)?;
    let mut escapes = pointer.split('~').skip(1);
    if escapes.any(|rest| !rest.starts_with(['0', '1'])) {
        return Err(INVALID_ARGUMENT);
    }
    if pointer.is_empty() {
        return Ok((OBJECT, ""));
    }
    let key = pointer.strip_prefix('/').ok_or(INVALID_ARGUMENT)?;
    let found = members().iter().find(|pair| pair.key == key);
    let value = found.ok_or(NOT_FOUND)?.value.as_str();
    Ok((if is_number(value) { NUMBER } else { TEXT }, value))
}

unsafe fn find_of_type(pointer: *const c_char, wanted: u32) -> Result<&'static str, i32> {
    match find(pointer)? {
        (found, value) if found == wanted => Ok(value),
        _ => Err(WRONG_TYPE),
    }
}

unsafe fn give(text: &str, buffer: *mut u8, len: *mut usize) -> i32 {
    let room = std::mem::replace(&mut *len, text.len());
    if room < text.len() {
        return TOO_LARGE;
    }
    if !text.is_empty() {
        std::ptr::copy_nonoverlapping(text.as_ptr(), buffer, text.len());
    }
    OK
}

unsafe fn number<T: std::str::FromStr>(pointer: *const c_char) -> Result<T, i32> {
    let value = find_of_type(pointer, NUMBER)?;
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
    match find(pointer) {
        Ok((OBJECT, _)) => (*kind, *count) = (OBJECT, members().len()),
        Ok((found, value)) => {
            (*kind, *count) = (found, if found == TEXT { value.len() } else { 0 })
        }
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
    match find_of_type(pointer, OBJECT).map(|_| members().get(index)) {
        Ok(Some(pair)) => give(&pair.key, buffer, len),
        Ok(None) => NOT_FOUND,
        Err(status) => status,
    }
}

unsafe extern "C" fn get_bool(_: *mut c_void, pointer: *const c_char, _: *mut u32) -> i32 {
    find(pointer).map_or_else(|status| status, |_| WRONG_TYPE)
}

unsafe extern "C" fn get_i64(_: *mut c_void, pointer: *const c_char, out: *mut i64) -> i32 {
    put(number(pointer), out)
}

unsafe extern "C" fn get_u64(_: *mut c_void, pointer: *const c_char, out: *mut u64) -> i32 {
    put(number(pointer), out)
}

unsafe extern "C" fn get_f64(_: *mut c_void, pointer: *const c_char, out: *mut f64) -> i32 {
    put(number(pointer), out)
}

unsafe extern "C" fn get_text(
    _: *mut c_void,
    pointer: *const c_char,
    buffer: *mut u8,
    len: *mut usize,
) -> i32 {
    match find_of_type(pointer, TEXT) {
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
    match find(pointer) {
        Ok((OBJECT, _)) => give(&all_as_json(), buffer, len),
        Ok((_, value)) => give(&as_json(value), buffer, len),
        Err(status) => status,
    }
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
