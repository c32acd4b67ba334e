//! The same as caller.c, as far as one instance is concerned, in Rust: plain `extern "C"`, no crate.
//! The body of a PAYLOAD is a command, and what came of it is a line of the file "out".
//!
//!   send HOW PEER NAME LENGTH      lookup PEER FIELD ROOM      peer_at INDEX ROOM
//!   public_key ROOM                sign TEXT                   open TEXT ROOM
//!   extension ID

use std::ffi::{c_char, c_void, CStr, CString};
use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::null;

const OK: i32 = 0;
const MALFORMED: i32 = -7;
const PANIC: i32 = -17;
const PAYLOAD: u64 = 4;
const PEER_SEEN: u64 = 6;
const PEER_FORGOTTEN: u64 = 7;
const SIGNATURE_LEN: usize = 64;

type Ctx = *mut c_void;

#[repr(C)]
pub struct Host {
    struct_size: u32,
    abi_minor: u32,
    ctx: Ctx,
    name: *const c_char,
    version: *const c_char,
    log_enabled: *const c_void,
    log: *const c_void,
    set_error: *const c_void,
    ack: *const c_void,
    is_stopping: *const c_void,
    get_extension: unsafe extern "C" fn(Ctx, *const c_char) -> *const c_void,
}

#[repr(C)]
struct Send {
    words: [u32; 2],
    send: unsafe extern "C" fn(
        Ctx, u32, *const u8, usize, *const u8, usize, *const u8, usize, *mut u64,
    ) -> i32,
}

#[repr(C)]
struct Peers {
    words: [u32; 2],
    lookup: unsafe extern "C" fn(Ctx, *const u8, usize, u32, *mut u8, *mut usize) -> i32,
    peer_at: unsafe extern "C" fn(Ctx, u32, *mut u8, *mut usize) -> i32,
}

#[repr(C)]
struct Identity {
    words: [u32; 2],
    public_key: unsafe extern "C" fn(Ctx, *mut u8, *mut usize) -> i32,
    sign: unsafe extern "C" fn(Ctx, *const u8, usize, *mut u8) -> i32,
    open: unsafe extern "C" fn(Ctx, *const u8, usize, *mut u8, *mut usize) -> i32,
}

/// Up to get_text.
#[repr(C)]
struct Config {
    words: [u32; 2],
    others: [*const c_void; 6],
    get_text: unsafe extern "C" fn(Ctx, *const c_char, *mut u8, *mut usize) -> i32,
}

#[repr(C)]
struct Claims {
    words: [u32; 2],
    name_at: unsafe extern "C" fn(Ctx, u32) -> *const c_char,
}

#[repr(C)]
struct Table {
    words: [u32; 4],
    instance: Ctx,
    name: *const c_char,
    version: *const c_char,
    destroy: unsafe extern "C" fn(Ctx),
    on_load: unsafe extern "C" fn(Ctx, *const u8, usize, u32) -> i32,
    on_unload: *const c_void,
    subscribed_events: unsafe extern "C" fn(Ctx) -> u64,
    on_broadcast: unsafe extern "C" fn(Ctx, *const u32, *const u8, usize) -> i32,
    flush: *const c_void,
    get_extension: unsafe extern "C" fn(Ctx, *const c_char) -> *const c_void,
}

struct Caller {
    table: Option<Box<Table>>,
    host: &'static Host,
    out: String,
}

impl Caller {
    fn find<T>(&self, id: &str) -> Option<&'static T> {
        let id = CString::new(id).unwrap();
        unsafe { ((self.host.get_extension)(self.host.ctx, id.as_ptr()) as *const T).as_ref() }
    }

    fn tell(&self, command: &str, status: i32, len: usize, data: &[u8]) {
        let hex: String = data.iter().take(512).map(|byte| format!("{byte:02x}")).collect();
        let line = format!("{command}|{status}|{len}|{hex}\n");
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&self.out);
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Asks with a buffer of so many bytes, and tells the answer.
    fn ask(&self, command: &str, room: &str, call: impl FnOnce(*mut u8, *mut usize) -> i32) {
        let mut len = room.parse().unwrap();
        let mut buffer = vec![0; len];
        let status = call(buffer.as_mut_ptr(), &mut len);
        self.tell(command, status, len, if status == OK { &buffer[..len] } else { &[] });
    }

    fn run(&self, command: &str) {
        let ctx = self.host.ctx;
        let words: Vec<&str> = command.split(' ').collect();
        let number = |at: usize| words[at].parse::<u32>().unwrap();
        let peers = || self.find::<Peers>("slipstream.peers/1").unwrap();
        let identity = || self.find::<Identity>("slipstream.identity/1").unwrap();
        let first = words.get(1).copied().unwrap_or("").as_bytes();
        match words[0] {
            "extension" => {
                let found = self.find::<u32>(words[1]).is_some();
                self.tell(command, found.into(), 0, &[]);
            }
            "send" => {
                let (peer, name) = (words[2].as_bytes(), words[3].as_bytes());
                let body = vec![b'b'; number(4) as usize];
                let mut ticket = 0;
                let send = self.find::<Send>("slipstream.send/1").unwrap().send;
                let status = unsafe {
                    send(ctx, number(1), peer.as_ptr(), peer.len(), name.as_ptr(), name.len(),
                         body.as_ptr(), body.len(), &mut ticket)
                };
                self.tell(command, status, ticket as usize, &[]);
            }
            "lookup" => self.ask(command, words[3], |buffer, len| unsafe {
                (peers().lookup)(ctx, first.as_ptr(), first.len(), number(2), buffer, len)
            }),
            "peer_at" => self.ask(command, words[2], |buffer, len| unsafe {
                (peers().peer_at)(ctx, number(1), buffer, len)
            }),
            "public_key" => self.ask(command, words[1], |buffer, len| unsafe {
                (identity().public_key)(ctx, buffer, len)
            }),
            "open" => self.ask(command, words[2], |buffer, len| unsafe {
                (identity().open)(ctx, first.as_ptr(), first.len(), buffer, len)
            }),
            "sign" => {
                let mut signature = [0; SIGNATURE_LEN];
                let to = signature.as_mut_ptr();
                let status = unsafe { (identity().sign)(ctx, first.as_ptr(), first.len(), to) };
                self.tell(command, status, 0, if status == OK { &signature } else { &[] });
            }
            _ => {}
        }
    }

    fn take(&self, frame: &[u8]) -> i32 {
        let number = |at: usize| u32::from_le_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
        let head = number(4) & 0xFFFF;
        let span = |at: usize| {
            let start = head + number(head + at);
            &frame[start..start + number(head + at + 4)]
        };
        match number(4) as u64 >> 16 {
            PAYLOAD => self.run(std::str::from_utf8(span(24)).unwrap()),
            PEER_SEEN => self.tell("seen", number(head + 4) as i32, span(24).len(), span(8)),
            PEER_FORGOTTEN => self.tell("forgotten", 1, 0, span(8)),
            _ => {}
        }
        OK
    }
}

unsafe extern "C" fn on_load(instance: Ctx, _: *const u8, _: usize, _: u32) -> i32 {
    let caller = &mut *(instance as *mut Caller);
    let (mut text, mut len) = ([0; 1024], 1024);
    let config = caller.find::<Config>("slipstream.config/1").unwrap();
    let status = (config.get_text)(caller.host.ctx, c"/out".as_ptr(), text.as_mut_ptr(), &mut len);
    caller.out = String::from_utf8_lossy(&text[..if status == OK { len } else { 0 }]).into();
    status
}

unsafe extern "C" fn on_broadcast(instance: Ctx, _: *const u32, data: *const u8, len: usize) -> i32 {
    let (caller, frame) = (&*(instance as *const Caller), std::slice::from_raw_parts(data, len));
    if frame.len() < 48 {
        return MALFORMED;
    }
    catch_unwind(AssertUnwindSafe(|| caller.take(frame))).unwrap_or(PANIC)
}

unsafe extern "C" fn subscribed_events(_: Ctx) -> u64 {
    1 << PEER_SEEN | 1 << PEER_FORGOTTEN
}

unsafe extern "C" fn name_at(_: Ctx, index: u32) -> *const c_char {
    if index == 0 { c"chat".as_ptr() } else { null() }
}

unsafe extern "C" fn get_extension(_: Ctx, id: *const c_char) -> *const c_void {
    static CLAIMS: Claims = Claims { words: [16, 0], name_at };
    match CStr::from_ptr(id).to_bytes() {
        b"slipstream.payload/1" => &CLAIMS as *const Claims as *const c_void,
        _ => null(),
    }
}

unsafe extern "C" fn destroy(instance: Ctx) {
    drop(Box::from_raw(instance as *mut Caller));
}

/// # Safety
/// The host is one as slipstream.h says.
#[no_mangle]
pub unsafe extern "C" fn slipstream_create_plugin_v1(host: &'static Host) -> *const c_void {
    let caller = Box::into_raw(Box::new(Caller { table: None, host, out: String::new() }));
    let table = Table {
        words: [std::mem::size_of::<Table>() as u32, 0, 0, 0],
        instance: caller as Ctx,
        name: c"caller".as_ptr(),
        version: c"1".as_ptr(),
        destroy,
        on_load,
        on_unload: null(),
        subscribed_events,
        on_broadcast,
        flush: null(),
        get_extension,
    };
    let table: *const Table = &**(*caller).table.insert(Box::new(table));
    table as *const c_void
}
