//! Whose call runs on this thread: where log lines go, and what a panic is told as.
//!
//! The thread-locals have no destructor: glibc would keep the library mapped for as long as the
//! host's thread lives.

use crate::host::Host;
use std::any::Any;
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe, PanicHookInfo};
use std::ptr;
use std::sync::{Mutex, Once, PoisonError};

#[derive(Clone, Copy)]
struct Current {
    /// NULL, or a host that lives as long as it stands here.
    host: *const Host,
    /// The function that the plugin's author wrote; "" on the plugin's own threads.
    function: &'static str,
}

const NOBODY: Current = Current {
    host: ptr::null(),
    function: "",
};
const PLACE: usize = 256;

thread_local! {
    static CURRENT: Cell<Current> = const { Cell::new(NOBODY) };
    /// Where the panic that is on its way began.
    static AT: Cell<([u8; PLACE], usize)> = const { Cell::new(([0; PLACE], 0)) };
}

/// The hosts of the instances that are there, for the lines of threads that `spawn` has not started.
static LIVE: Mutex<Vec<Host>> = Mutex::new(Vec::new());

fn live<T>(body: impl FnOnce(&mut Vec<Host>) -> T) -> T {
    body(&mut LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) fn begin(host: &Host) {
    live(|hosts| hosts.push(host.clone()));
}

pub(crate) fn end(host: &Host) {
    live(|hosts| {
        hosts.retain(|one| !one.is(host));
        hosts.shrink_to_fit(); // a library that is unmapped leaves nothing
    });
}

/// Runs a thread of the plugin, whose lines go to this host.
pub(crate) fn of_thread<T>(host: &Host, body: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.set(NOBODY); // what thread-locals log after the host is dropped
        }
    }
    let _leave = Leave;
    CURRENT.set(Current { host, function: "" });
    body()
}

/// The author's function that runs now, more precisely than the contract's.
pub(crate) fn function(name: &'static str) {
    let host = CURRENT.get().host;
    CURRENT.set(Current {
        host,
        function: name,
    });
}

/// Calls `body` as `function`; a panic is its text.
pub(crate) fn caught<T>(
    host: &Host,
    function: &'static str,
    body: impl FnOnce() -> T,
) -> Result<T, String> {
    let before = CURRENT.replace(Current { host, function });
    let result = catch_unwind(AssertUnwindSafe(body));
    let function = CURRENT.get().function;
    let result = result.map_err(|payload| {
        let text = text_of(&*payload).to_owned();
        // A payload may panic when it is dropped, and what it panics with, too.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        let (place, len) = AT.replace(([0; PLACE], 0));
        let place = std::str::from_utf8(&place[..len]).unwrap_or_default();
        format!("{function}: panic{place}: {text}")
    });
    CURRENT.set(before);
    result
}

/// What failed, with the function that the author wrote.
pub(crate) fn told(text: &str) -> String {
    format!("{}: {text}", CURRENT.get().function)
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return text;
    }
    payload
        .downcast_ref::<String>()
        .map_or("its payload is not text", String::as_str)
}

fn with_host<T>(body: impl FnOnce(&Host) -> T) -> Option<T> {
    let host = CURRENT.get().host;
    if !host.is_null() {
        // SAFETY: it lives as long as it stands there.
        return Some(body(unsafe { &*host }));
    }
    // Which one it works for nobody knows: the latest is right where there is one.
    let host = live(|hosts| hosts.last().cloned());
    host.as_ref().map(body)
}

/// The standard hook writes to the host's standard error, by a thread-local with a destructor.
fn hook(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    if CURRENT.get().function.is_empty() {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name").to_owned();
        let text = format!(
            "thread {name}: panic at {place}: {}",
            text_of(info.payload())
        );
        with_host(|host| host.log(log::Level::Error, &text));
        return;
    }
    let mut room = [0; PLACE];
    let text = format!(" at {place}");
    let cut = (0..=text.len().min(PLACE))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    let len = cut.unwrap_or(0);
    room[..len].copy_from_slice(&text.as_bytes()[..len]);
    AT.set((room, len));
}

struct Bridge;

impl log::Log for Bridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        with_host(|host| host.log_enabled(metadata.level())).unwrap_or(false)
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Before the host is taken: what is written may log, too.
        let text = record.args().to_string();
        with_host(|host| host.log(record.level(), &text));
    }

    fn flush(&self) {}
}

/// The crate `log` writes to the host. A logger that the plugin has set itself stays.
pub(crate) fn bridge() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if log::set_logger(&Bridge).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    });
}

/// The hook is that of this library alone, as its standard library is.
#[doc(hidden)]
pub fn hook_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(hook)));
}
