//! The host, and those of its extensions that it offers.

use crate::status::{check, text_of, Error, Result, Status};
use crate::sys;
use std::ffi::{c_char, c_void, CStr};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, PoisonError, RwLock};

/// The host. A clone is as good as the original, on any thread; when the plugin is gone, all that it
/// does is answer `WrongState`.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

struct Shared {
    /// None once the plugin is destroyed: safe code may keep a `Host` for longer.
    table: RwLock<Option<Tables>>,
}

#[derive(Clone, Copy)]
struct Tables {
    host: *const sys::slipstream_host,
    metrics: *const sys::slipstream_metrics_v1,
    settle: *const sys::slipstream_settle_v1,
    send: *const sys::slipstream_send_v1,
    peers: *const sys::slipstream_peers_v1,
    identity: *const sys::slipstream_identity_v1,
}

// SAFETY: the functions of these tables take any thread.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

/// How a message goes to a peer, and how a peer was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Via {
    Direct = sys::PEER_DIRECT,
    Routed = sys::PEER_ROUTED,
}

/// What a host knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PeerField {
    PublicKey = sys::PEER_PUBLIC_KEY,
    Name = sys::PEER_NAME,
}

const NO_PEERS: &str = "the host has no peers: start it with services";

impl Host {
    /// # Safety
    /// The table is one as slipstream.h describes it, until `close` is called.
    pub(crate) unsafe fn new(host: *const sys::slipstream_host) -> Host {
        let extension = |id: &CStr| ((*host).get_extension)((*host).ctx, id.as_ptr());
        Host(Arc::new(Shared {
            table: RwLock::new(Some(Tables {
                host,
                metrics: extension(sys::EXT_METRICS).cast(),
                settle: extension(sys::EXT_SETTLE).cast(),
                send: extension(sys::EXT_SEND).cast(),
                peers: extension(sys::EXT_PEERS).cast(),
                identity: extension(sys::EXT_IDENTITY).cast(),
            })),
        }))
    }

    pub(crate) fn close(&self) {
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Calls `body` while the tables are there for sure.
    fn with<T>(&self, body: impl FnOnce(&Tables, *mut c_void) -> T) -> Option<T> {
        let held = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the table is there until `close`, which waits for the lock.
        held.as_ref()
            .map(|tables| body(tables, unsafe { (*tables.host).ctx }))
    }

    /// As `with`, in a table that not every host has.
    fn ask<T>(
        &self,
        table: impl FnOnce(&Tables) -> *const T,
        lacking: &str,
        call: impl FnOnce(&T, *mut c_void) -> i32,
    ) -> Result<i32> {
        self.with(|tables, ctx| {
            // SAFETY: NULL, or a table that is valid as long as the host's.
            match unsafe { table(tables).as_ref() } {
                Some(table) => Ok(call(table, ctx)),
                None => Err(Status::Unsupported.because(lacking)),
            }
        })
        .unwrap_or_else(|| Err(gone()))
    }

    /// Whether a line of this level would be kept.
    pub fn log_enabled(&self, level: log::Level) -> bool {
        // SAFETY: see `with`.
        self.with(|t, ctx| unsafe { ((*t.host).log_enabled)(ctx, number(level)) } != 0)
            .unwrap_or(false)
    }

    /// A line in the host's log; the macros of the crate `log` end here.
    pub fn log(&self, level: log::Level, text: &str) {
        self.write(number(level), text);
    }

    /// Reports that the host breaks the contract.
    pub fn misbehaves(&self, text: &str) {
        self.write(sys::LOG_HOST_MISBEHAVING, text);
    }

    fn write(&self, level: u32, text: &str) {
        self.with(|t, ctx| {
            // SAFETY: the text is readable for its length until the call returns.
            unsafe { ((*t.host).log)(ctx, level, text.as_ptr().cast(), text.len()) }
        });
    }

    /// Inside a call of the host: why it fails.
    pub(crate) fn set_error(&self, text: &str) {
        self.with(|t, ctx| {
            // SAFETY: the text is readable for its length until the call returns.
            unsafe { ((*t.host).set_error)(ctx, text.as_ptr().cast(), text.len()) }
        });
    }

    /// Whether a long call should return soon, with `Status::Retry` for what is undone.
    pub fn is_stopping(&self) -> bool {
        // SAFETY: see `with`.
        self.with(|t, ctx| unsafe { ((*t.host).is_stopping)(ctx) } != 0)
            .unwrap_or(true)
    }

    /// Acknowledges all up to `ordinal`; of a plugin that is exported with `flush`.
    pub fn ack(&self, ordinal: u64) -> Result {
        // SAFETY: see `with`.
        let done = self.with(|t, ctx| unsafe { ((*t.host).ack)(ctx, ordinal) });
        check(done.unwrap_or(sys::WRONG_STATE), "ack")
    }

    /// Adds to a counter; `label` is "key=value". Not `Ok`: the name or the label is none, or the
    /// host has no metrics.
    pub fn count(&self, name: &str, label: Option<&str>, amount: u64) -> Status {
        self.metric(name, label, |metrics, ctx, name, label| {
            // SAFETY: both texts end with NUL.
            unsafe { (metrics.counter_add)(ctx, name, label, amount) }
        })
    }

    /// Sets a gauge; as `count`.
    pub fn gauge(&self, name: &str, label: Option<&str>, value: f64) -> Status {
        self.metric(name, label, |metrics, ctx, name, label| {
            // SAFETY: both texts end with NUL.
            unsafe { (metrics.gauge_set)(ctx, name, label, value) }
        })
    }

    fn metric(
        &self,
        name: &str,
        label: Option<&str>,
        call: impl FnOnce(&sys::slipstream_metrics_v1, *mut c_void, *const c_char, *const c_char) -> i32,
    ) -> Status {
        // Longer ones the host would refuse.
        let (mut name_room, mut label_room) = ([0; 64], [0; 128]);
        let Some(name) = terminated(name, &mut name_room) else {
            return Status::InvalidArgument;
        };
        let label = match label.map(|label| terminated(label, &mut label_room)) {
            None => ptr::null(),
            Some(Some(label)) => label,
            Some(None) => return Status::InvalidArgument,
        };
        match self.ask(
            |t| t.metrics,
            "",
            |table, ctx| call(table, ctx, name, label),
        ) {
            Ok(done) => Status::of(done),
            Err(error) => Status::of_error(&error),
        }
    }

    /// Rejects one event of a run, whose other events are done: it becomes a dead letter.
    pub fn reject(&self, ordinal: u64, why: impl Into<Error>) -> Result {
        let why = why.into();
        let (status, text) = (Status::of_error(&why).number(), text_of(&why));
        let lacking = "the host does not offer slipstream.settle/1";
        let done = self.ask(
            |t| t.settle,
            lacking,
            |table, ctx| {
                // SAFETY: the text is readable for its length until the call returns.
                unsafe { (table.reject)(ctx, ordinal, status, text.as_ptr().cast(), text.len()) }
            },
        )?;
        check(done, "reject")
    }

    /// Hands a message to the host, for a peer; a number for log lines.
    pub fn send(&self, via: Via, peer: &[u8], name: &[u8], body: &[u8]) -> Result<u64> {
        let mut ticket = 0;
        let done = self.ask(
            |t| t.send,
            NO_PEERS,
            |table, ctx| {
                let ((p, pl), (n, nl), (b, bl)) = (raw(peer), raw(name), raw(body));
                // SAFETY: all are readable for their lengths until the call returns.
                unsafe { (table.send)(ctx, via as u32, p, pl, n, nl, b, bl, &mut ticket) }
            },
        )?;
        check(done, "send").map(|()| ticket)
    }

    /// What the host knows of a peer.
    pub fn lookup(&self, peer: &[u8], field: PeerField) -> Result<Option<Vec<u8>>> {
        self.found(
            |t| t.peers,
            "lookup",
            |table, ctx, buffer, len| {
                let (p, pl) = raw(peer);
                // SAFETY: the buffer has `len` bytes.
                unsafe { (table.lookup)(ctx, p, pl, field as u32, buffer, len) }
            },
        )
    }

    /// The peer number `index`, from 0; None behind the last.
    pub fn peer_at(&self, index: u32) -> Result<Option<Vec<u8>>> {
        self.found(
            |t| t.peers,
            "peer_at",
            |table, ctx, buffer, len| {
                // SAFETY: the buffer has `len` bytes.
                unsafe { (table.peer_at)(ctx, index, buffer, len) }
            },
        )
    }

    /// The host's public key.
    pub fn public_key(&self) -> Result<Vec<u8>> {
        let found = self.found(
            |t| t.identity,
            "public_key",
            |table, ctx, buffer, len| {
                // SAFETY: the buffer has `len` bytes.
                unsafe { (table.public_key)(ctx, buffer, len) }
            },
        )?;
        found.ok_or_else(|| Status::NotFound.because("public_key: the host has none"))
    }

    /// Signs with the host's key, which is never seen.
    pub fn sign(&self, data: &[u8]) -> Result<[u8; sys::SIGNATURE_LEN as usize]> {
        let mut signature = [0; sys::SIGNATURE_LEN as usize];
        let done = self.ask(
            |t| t.identity,
            NO_PEERS,
            |table, ctx| {
                let (d, dl) = raw(data);
                // SAFETY: a signature has SIGNATURE_LEN bytes.
                unsafe { (table.sign)(ctx, d, dl, signature.as_mut_ptr()) }
            },
        )?;
        check(done, "sign").map(|()| signature)
    }

    /// Opens a box that was sealed for this host; `Malformed` if it was not.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let found = self.found(
            |t| t.identity,
            "open",
            |table, ctx, buffer, len| {
                let (s, sl) = raw(sealed);
                // SAFETY: the buffer has `len` bytes.
                unsafe { (table.open)(ctx, s, sl, buffer, len) }
            },
        )?;
        found.ok_or_else(|| Status::NotFound.because("open: the host has no key"))
    }

    fn found<T>(
        &self,
        table: impl Fn(&Tables) -> *const T,
        what: &str,
        call: impl Fn(&T, *mut c_void, *mut u8, *mut usize) -> i32,
    ) -> Result<Option<Vec<u8>>> {
        filled(what, |buffer, len| {
            self.ask(&table, NO_PEERS, |table, ctx| call(table, ctx, buffer, len))
        })
    }

    pub(crate) fn folder(&self, is_data: bool) -> Result<PathBuf> {
        let what = if is_data { "data_dir" } else { "config_dir" };
        let table = |tables: &Tables| -> *const sys::slipstream_config_v1 {
            // SAFETY: see `with`; ids are NUL-terminated.
            unsafe { ((*tables.host).get_extension)((*tables.host).ctx, sys::EXT_CONFIG.as_ptr()) }
                .cast()
        };
        let lacking = "the host does not offer slipstream.config/1; use a newer host";
        let found = filled(what, |buffer, len| {
            self.ask(table, lacking, |table, ctx| {
                let get = if is_data {
                    table.data_dir
                } else {
                    table.config_dir
                };
                // SAFETY: the buffer has `len` bytes.
                unsafe { get(ctx, buffer.cast(), len) }
            })
        })?;
        let path = found.ok_or_else(|| Status::NotFound.because("the host has no such folder"))?;
        Ok(path_of(path))
    }

    pub(crate) fn is(&self, other: &Host) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

fn gone() -> Error {
    Status::WrongState.because("the plugin was unloaded, and its host is gone")
}

fn number(level: log::Level) -> u32 {
    match level {
        log::Level::Trace => sys::LOG_TRACE,
        log::Level::Debug => sys::LOG_DEBUG,
        log::Level::Info => sys::LOG_INFO,
        log::Level::Warn => sys::LOG_WARN,
        log::Level::Error => sys::LOG_ERROR,
    }
}

fn raw(bytes: &[u8]) -> (*const u8, usize) {
    (bytes.as_ptr(), bytes.len())
}

/// The text with a NUL behind it; None if it does not fit or has a NUL of its own.
fn terminated(text: &str, room: &mut [u8]) -> Option<*const c_char> {
    if text.len() >= room.len() || text.as_bytes().contains(&0) {
        return None;
    }
    room[..text.len()].copy_from_slice(text.as_bytes());
    Some(room.as_ptr().cast())
}

/// What a call writes into a buffer, which grows until it fits; None for NOT_FOUND.
fn filled(
    what: &str,
    call: impl Fn(*mut u8, *mut usize) -> Result<i32>,
) -> Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 256];
    loop {
        let mut len = buffer.len();
        match call(buffer.as_mut_ptr(), &mut len)? {
            sys::NOT_FOUND => return Ok(None),
            // A length that is no larger means that the question is too large.
            sys::TOO_LARGE if len > buffer.len() => buffer.resize(len, 0),
            done => {
                check(done, what)?;
                buffer.truncate(len);
                return Ok(Some(buffer));
            }
        }
    }
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}
