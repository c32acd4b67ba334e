//! host-rust - a whole host in Rust: loads a plugin, sends it one event of every kind, a gap, a
//! run of a thousand and a routed payload, takes its acknowledgements, and unloads it.
//!
//!     host-rust PLUGIN.so [KEY=VALUE ...]       the plugin's config; digits alone are a number
//!
//! It keeps the contract in its simplest form: one plugin, inline, nothing kept for later. The
//! twin of host-c, without a line in common.
//!
//! SPDX-License-Identifier: Apache-2.0

mod abi;
mod config;
mod frame;

use abi::*;
use frame::Head;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;

const RUN: u64 = 1000;

static FLAGS: AtomicU32 = AtomicU32::new(0);
static IS_LOADED: AtomicBool = AtomicBool::new(false);
static IS_STOPPING: AtomicBool = AtomicBool::new(false);
/// The first ordinal of the run that is with the plugin.
static FIRST: AtomicU64 = AtomicU64::new(0);
static ORDINAL: AtomicU64 = AtomicU64::new(0);
static ACKNOWLEDGED: AtomicU64 = AtomicU64::new(0);
static REJECTED: AtomicU64 = AtomicU64::new(0);
/// A real host remembers more than the last one.
static REJECTED_LAST: AtomicU64 = AtomicU64::new(0);
static ERROR: Mutex<String> = Mutex::new(String::new());

extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlclose(library: *mut c_void) -> c_int;
}
const RTLD_NOW: c_int = 2; // and local, which is 0

// ---- What the plugin may call, from any thread ------------------------------------------------

unsafe fn text_of(text: *const u8, len: usize) -> String {
    match len {
        0 => String::new(), // the text may be null then
        _ => String::from_utf8_lossy(std::slice::from_raw_parts(text, len)).into(),
    }
}

unsafe extern "C" fn log_enabled(_: *mut c_void, level: u32) -> i32 {
    (level >= LOG_INFO).into()
}

unsafe extern "C" fn log(_: *mut c_void, level: u32, text: *const u8, len: usize) {
    if level >= LOG_INFO {
        eprintln!("{}", text_of(text, len));
    }
}

unsafe extern "C" fn set_error(_: *mut c_void, text: *const u8, len: usize) {
    *ERROR.lock().unwrap() = text_of(text, len);
}

unsafe extern "C" fn ack(_: *mut c_void, ordinal: u64) -> i32 {
    if !IS_LOADED.load(Relaxed) && !IS_STOPPING.load(Relaxed) {
        return WRONG_STATE;
    }
    if FLAGS.load(Relaxed) & FLAG_EXPLICIT_ACK == 0 || ordinal > ORDINAL.load(Relaxed) {
        return INVALID_ARGUMENT;
    }
    ACKNOWLEDGED.fetch_max(ordinal, Relaxed);
    OK
}

unsafe extern "C" fn is_stopping(_: *mut c_void) -> i32 {
    IS_STOPPING.load(Relaxed).into()
}

/// May a status settle an event? The others ask for something else.
fn settles(status: i32) -> bool {
    status < 0 && ![RETRY, NO_MEMORY, TIMEOUT, FATAL, PANIC].contains(&status)
}

unsafe extern "C" fn reject(
    _: *mut c_void,
    ordinal: u64,
    status: i32,
    text: *const u8,
    len: usize,
) -> i32 {
    if !IS_LOADED.load(Relaxed) {
        return WRONG_STATE;
    }
    let is_explicit = FLAGS.load(Relaxed) & FLAG_EXPLICIT_ACK != 0;
    let is_done = match is_explicit {
        true => ordinal <= ACKNOWLEDGED.load(Relaxed),
        false => ordinal < FIRST.load(Relaxed),
    };
    if !settles(status) || is_done || ordinal > ORDINAL.load(Relaxed) {
        return INVALID_ARGUMENT;
    }
    if REJECTED_LAST.swap(ordinal, Relaxed) == ordinal {
        return OK;
    }
    eprintln!(
        "event {ordinal} is rejected ({status}): {}",
        text_of(text, len)
    );
    REJECTED.fetch_add(1, Relaxed);
    OK
}

unsafe extern "C" fn get_extension(_: *mut c_void, id: *const c_char) -> *const c_void {
    static SETTLE: Settle = Settle {
        struct_size: std::mem::size_of::<Settle>() as u32,
        reserved: 0,
        reject,
    };
    match CStr::from_ptr(id).to_bytes() {
        b"slipstream.config/1" => std::ptr::from_ref(&config::TABLE).cast(),
        b"slipstream.settle/1" => std::ptr::from_ref(&SETTLE).cast(),
        _ => std::ptr::null(),
    }
}

// ---- Sending ----------------------------------------------------------------------------------

struct Loaded {
    plugin: Plugin,
    kinds: u64,
}

impl Loaded {
    fn wants(&self, kind: u16) -> bool {
        if kind == GAP {
            self.kinds != 0
        } else {
            self.kinds >> kind & 1 == 1
        }
    }

    /// A run of frames whose ordinals end with `last`. Err is what ends this host; another one
    /// would offer it again, or keep it.
    fn deliver(&self, frames: &[u8], count: u64, last: u64) -> Result<(), i32> {
        let delivery = Delivery {
            struct_size: std::mem::size_of::<Delivery>() as u32,
            attempt: 1,
            count: count as u32,
            flags: 0,
            first_ordinal: last - count + 1,
        };
        FIRST.store(delivery.first_ordinal, Relaxed);
        ORDINAL.store(last, Relaxed);
        let on_broadcast = self.plugin.on_broadcast.ok_or(INVALID_ARGUMENT)?;
        match unsafe {
            on_broadcast(
                self.plugin.instance,
                &delivery,
                frames.as_ptr(),
                frames.len(),
            )
        } {
            status if status < 0 => Err(status),
            _ => Ok(()),
        }
    }

    fn send(&self, kind: u16, frame: Vec<u8>) -> Result<(), i32> {
        if self.wants(kind) {
            self.deliver(&frame, 1, ORDINAL.load(Relaxed) + 1)
        } else {
            Ok(())
        }
    }

    fn claims(&self, name: &CStr) -> bool {
        let Some(get_extension) = self.plugin.get_extension else {
            return false;
        };
        unsafe {
            let names = get_extension(self.plugin.instance, c"slipstream.payload/1".as_ptr());
            let Some(names) = names.cast::<PayloadNames>().as_ref() else {
                return false;
            };
            let all = (0..).map(|index| (names.name_at)(self.plugin.instance, index));
            all.take_while(|found| !found.is_null())
                .any(|found| CStr::from_ptr(found) == name)
        }
    }

    fn send_all(&self) -> Result<(), i32> {
        let mut head = Head {
            stream: 0xC0FFEE,
            sequence: 0,
            time_ns: 1_700_000_000_000_000_000,
            height: 7,
            flags: 0,
        };
        let mut next = || {
            head.sequence += 1;
            head
        };
        let (program, mapping): (&[u8], &[u8]) = (b"\x07credits\x04aleo", b"\x07account");
        let update: [Option<&[u8]>; 4] = [Some(program), Some(mapping), Some(b"key"), Some(b"")];
        let ping: [Option<&[u8]>; 3] = [Some(b"me"), Some(b"org.example.ping"), Some(b"{}")];
        self.send(
            MAPPING_UPDATE,
            frame::frame(&next(), MAPPING_UPDATE, 1, &update, &[]),
        )?;
        let removal = [Some(program), Some(mapping), None];
        self.send(
            MAPPING_REMOVAL,
            frame::frame(&next(), MAPPING_REMOVAL, 1, &removal, &[]),
        )?;
        let who: [Option<&[u8]>; 2] = [Some(b"staker"), Some(b"validator")];
        self.send(
            STAKING_REWARD,
            frame::frame(&next(), STAKING_REWARD, 0, &who, &[5, 1_000_005]),
        )?;
        self.send(
            BLOCK,
            frame::frame(&next(), BLOCK, 1, &[Some(b"a block")], &[]),
        )?;
        self.send(PAYLOAD, frame::frame(&next(), PAYLOAD, 0, &ping, &[]))?;
        let seen: [Option<&[u8]>; 3] = [Some(b"peer"), None, Some(b"Ada")];
        self.send(PEER_SEEN, frame::frame(&next(), PEER_SEEN, 1, &seen, &[0]))?;
        self.send(
            PEER_FORGOTTEN,
            frame::frame(&next(), PEER_FORGOTTEN, 0, &[Some(b"peer")], &[]),
        )?;
        self.send(APP_FIRST, frame::app(&next(), APP_FIRST, b"own"))?;
        let run: Vec<_> = (0..RUN)
            .map(|_| frame::frame(&next(), MAPPING_UPDATE, 1, &update, &[]))
            .collect();
        if self.wants(MAPPING_UPDATE) && self.plugin.flags & FLAG_BATCH != 0 {
            self.deliver(&run.concat(), RUN, ORDINAL.load(Relaxed) + RUN)?;
        } else {
            run.into_iter()
                .try_for_each(|frame| self.send(MAPPING_UPDATE, frame))?;
        }
        // Two blocks are lost: their GAP has the ordinal of the second, and a head without place.
        let (lost, first) = ([next(), next()], ORDINAL.load(Relaxed) + 1);
        let gap = [
            first,
            first + 1,
            2,
            1 << BLOCK,
            7,
            7,
            lost[0].stream,
            lost[0].sequence,
            lost[1].sequence,
        ];
        let nowhere = Head {
            stream: 0,
            sequence: 0,
            ..lost[0]
        };
        if self.wants(GAP) {
            self.deliver(
                &frame::frame(&nowhere, GAP, GAP_PAUSED, &[], &gap),
                1,
                first + 1,
            )?;
        }
        if self.claims(c"org.example.ping") {
            let routed = Head {
                flags: ROUTED,
                ..next()
            };
            self.deliver(
                &frame::frame(&routed, PAYLOAD, 0, &ping, &[]),
                1,
                ORDINAL.load(Relaxed) + 1,
            )?;
        }
        Ok(())
    }
}

// ---- From load to unload ----------------------------------------------------------------------

fn fail(what: &str, status: i32) -> ExitCode {
    eprintln!(
        "host-rust: {what}: status {status} {}",
        ERROR.lock().unwrap()
    );
    ExitCode::FAILURE
}

/// The table of the plugin, as much as it has of it.
unsafe fn take(given: *const Plugin) -> Result<Plugin, (&'static str, Option<Plugin>)> {
    let mut plugin: Plugin = std::mem::zeroed();
    let size = (*given.cast::<u32>()) as usize;
    let known = std::mem::size_of::<Plugin>();
    std::ptr::copy_nonoverlapping(
        given.cast::<u8>(),
        std::ptr::from_mut(&mut plugin).cast::<u8>(),
        size.min(known),
    );
    if size < known {
        return Err(("its table is too small", None));
    }
    if plugin.min_host_minor > 0 {
        return Err(("it needs a newer host", Some(plugin)));
    }
    if plugin.destroy.is_none() || plugin.name.is_null() || plugin.version.is_null() {
        return Err(("its table lacks destroy, name or version", Some(plugin)));
    }
    if plugin.flags & FLAG_EXPLICIT_ACK != 0 && plugin.flush.is_none() {
        return Err(("its table lacks flush", Some(plugin)));
    }
    Ok(plugin)
}

unsafe fn run(path: &str) -> ExitCode {
    let table = Host {
        struct_size: std::mem::size_of::<Host>() as u32,
        abi_minor: 0,
        ctx: std::ptr::null_mut(),
        name: c"host-rust".as_ptr(),
        version: c"1.0.0".as_ptr(),
        log_enabled,
        log,
        set_error,
        ack,
        is_stopping,
        get_extension,
    };
    let file = CString::new(path).unwrap();
    let library = dlopen(file.as_ptr(), RTLD_NOW);
    if library.is_null() {
        return fail("it is not a library that can be opened", 0);
    }
    let symbol = dlsym(library, c"slipstream_create_plugin_v1".as_ptr());
    if symbol.is_null() {
        return fail("it exports no constructor", 0);
    }
    let construct: Constructor = std::mem::transmute(symbol);
    let given = construct(&table);
    if given.is_null() {
        return fail("the constructor refused", 0);
    }
    let plugin = match take(given) {
        Ok(plugin) => plugin,
        Err((why, table)) => {
            if let Some((destroy, instance)) = table.and_then(|t| Some((t.destroy?, t.instance))) {
                destroy(instance);
            }
            return fail(why, 0);
        }
    };
    FLAGS.store(plugin.flags, Relaxed);
    let (instance, destroy) = (plugin.instance, plugin.destroy.unwrap());
    let name = CStr::from_ptr(plugin.name).to_string_lossy().into_owned();
    let version = CStr::from_ptr(plugin.version)
        .to_string_lossy()
        .into_owned();
    let json = config::json(&name, path);
    config::IS_OPEN.store(true, Relaxed);
    let status = plugin
        .on_load
        .map_or(OK, |f| f(instance, json.as_ptr(), json.len(), 0));
    config::IS_OPEN.store(false, Relaxed);
    if status != OK {
        destroy(instance);
        return fail("on_load", status);
    }
    IS_LOADED.store(true, Relaxed);
    let loaded = Loaded {
        plugin,
        kinds: plugin.subscribed_events.map_or(0, |f| f(instance)),
    };
    let sent = loaded.send_all();
    let mut code = sent.map_or_else(
        |status| fail("on_broadcast", status),
        |()| ExitCode::SUCCESS,
    );
    if sent != Err(PANIC) {
        let flush = plugin
            .flush
            .filter(|_| plugin.flags & FLAG_EXPLICIT_ACK != 0);
        match flush.map_or(OK, |f| f(instance, NO_TIMEOUT)) {
            OK if flush.is_some() || sent.is_ok() => {
                ACKNOWLEDGED.store(ORDINAL.load(Relaxed), Relaxed);
            }
            OK => {}
            status => code = fail("flush", status),
        }
        IS_LOADED.store(false, Relaxed);
        IS_STOPPING.store(true, Relaxed);
        let status = plugin.on_unload.map_or(OK, |f| f(instance, 10_000));
        if status != OK {
            code = fail("on_unload", status);
        }
    }
    IS_LOADED.store(false, Relaxed);
    IS_STOPPING.store(false, Relaxed);
    println!(
        "{name} {version}: last ordinal {}, acknowledged {}, rejected {}",
        ORDINAL.load(Relaxed),
        ACKNOWLEDGED.load(Relaxed),
        REJECTED.load(Relaxed)
    );
    destroy(instance);
    dlclose(library);
    code
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments
        .first()
        .and_then(|path| std::fs::canonicalize(path).ok());
    match path.as_ref().and_then(|path| path.to_str()) {
        Some(path) if config::take(&arguments[1..]).is_some() => unsafe { run(path) },
        _ => {
            eprintln!("usage: host-rust PLUGIN.so [KEY=VALUE ...], no quotes in them");
            ExitCode::from(2)
        }
    }
}
