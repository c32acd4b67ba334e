//! Where the host comes in: the tables of a plugin, behind which nothing panics.

use crate::context::{self, caught, told};
use crate::event::{Kind, Run};
use crate::host::Host;
use crate::plugin::{Batch, Flush, Names, Plugin, Reason, Start};
use crate::status::{text_of, Outcome, Result, Status};
use crate::sys;
use std::ffi::{c_char, c_void, CStr, CString};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

type OnBroadcast =
    unsafe extern "C" fn(*mut c_void, *const sys::slipstream_delivery, *const u8, usize) -> i32;
type OnFlush = unsafe extern "C" fn(*mut c_void, u32) -> i32;
type GetExtension = unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void;

/// What `export!` says of a plugin; only functions that the host may call are in it.
#[doc(hidden)]
pub struct Export<P> {
    flags: u32,
    on_broadcast: OnBroadcast,
    flush: Option<OnFlush>,
    get_extension: Option<GetExtension>,
    of: PhantomData<fn() -> P>,
}

impl<P: Plugin> Export<P> {
    pub const fn new() -> Export<P> {
        let (mut flags, mut at) = (0, 0);
        while at < P::FLAGS.len() {
            flags |= P::FLAGS[at] as u32;
            at += 1;
        }
        Export {
            flags,
            on_broadcast: on_broadcast::<P>,
            flush: None,
            get_extension: None,
            of: PhantomData,
        }
    }

    pub const fn batch(mut self) -> Export<P>
    where
        P: Batch,
    {
        self.flags |= sys::FLAG_BATCH;
        self.on_broadcast = on_run::<P>;
        self
    }

    pub const fn flush(mut self) -> Export<P>
    where
        P: Flush,
    {
        self.flags |= sys::FLAG_EXPLICIT_ACK;
        self.flush = Some(flush::<P>);
        self
    }

    pub const fn names(mut self) -> Export<P>
    where
        P: Names,
    {
        self.get_extension = Some(get_extension::<P>);
        self
    }

    pub const fn flags(&self) -> u32 {
        self.flags
    }
}

impl<P: Plugin> Default for Export<P> {
    fn default() -> Export<P> {
        Export::new()
    }
}

/// One instance: the table that the host sees, and the object between on_load and on_unload.
struct Instance<P> {
    table: sys::slipstream_plugin,
    host: Host,
    plugin: Option<P>,
    /// It has panicked: nothing of it is called again.
    is_broken: bool,
    names: Vec<CString>,
}

/// A status, and why.
type Refusal = (Status, String);

impl<P: Plugin> Instance<P> {
    /// # Safety
    /// What the constructor gave the host, which calls with it one by one.
    unsafe fn of<'a>(this: *mut c_void) -> &'a mut Instance<P> {
        &mut *this.cast::<Instance<P>>()
    }

    /// Calls into the plugin: an error becomes its status, a panic PANIC, both with a text.
    fn enter<T>(
        &mut self,
        function: &'static str,
        body: impl FnOnce(&mut P) -> Result<T>,
    ) -> Result<T, Refusal> {
        let Some(plugin) = self.plugin.as_mut().filter(|_| !self.is_broken) else {
            return Err((
                Status::Panic,
                format!("{function}: the plugin has panicked before"),
            ));
        };
        let call =
            || body(plugin).map_err(|error| (Status::of_error(&error), told(&text_of(&error))));
        caught(&self.host, function, call).unwrap_or_else(|text| {
            self.is_broken = true;
            Err((Status::Panic, text))
        })
    }

    /// The host's way to hear of it.
    fn answer(&self, result: Result<i32, Refusal>) -> i32 {
        result.unwrap_or_else(|(status, text)| {
            self.host.set_error(&text);
            status.number()
        })
    }

    /// For functions without a status.
    fn logged<T>(&self, result: Result<T, Refusal>, otherwise: T) -> T {
        result.unwrap_or_else(|(_, text)| {
            self.host.log(log::Level::Error, &text);
            otherwise
        })
    }

    fn load(&mut self, json: &[u8], reason: u32) -> Result<(), Refusal> {
        let host = self.host.clone();
        let call = || {
            let made = start::<P>(&host, json, reason);
            made.map_err(|error| (Status::of_error(&error), told(&text_of(&error))))
        };
        let made = caught(&host, "load", call);
        self.plugin = Some(made.unwrap_or_else(|text| Err((Status::Panic, text)))?);
        Ok(())
    }

    /// Drops the object, which may panic as well.
    fn drop_plugin(&mut self) -> Result<(), Refusal> {
        let plugin = self.plugin.take();
        caught(&self.host, "drop", || drop(plugin)).map_err(|text| (Status::Panic, text))
    }
}

fn start<P: Plugin>(host: &Host, json: &[u8], reason: u32) -> Result<P> {
    let invalid = |text: String| Status::InvalidConfig.because(text);
    let json = std::str::from_utf8(json).map_err(|e| invalid(format!("the config: {e}")))?;
    let mut keys: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|e| invalid(format!("the config: {e}")))?;
    let name = match keys.remove("name") {
        Some(serde_json::Value::String(name)) => name,
        _ => String::new(),
    };
    keys.remove("libpath");
    let config = serde_path_to_error::deserialize(serde_json::Value::Object(keys));
    let config = config.map_err(|error: serde_path_to_error::Error<serde_json::Error>| {
        let path = error.path().to_string();
        invalid(match path.as_str() {
            "." => format!("config: {}", error.inner()),
            key => format!("config key '{key}': {}", error.inner()),
        })
    })?;
    let reason = match reason {
        sys::LOAD_RELOAD => Reason::Reload,
        sys::LOAD_RESTART => Reason::Restart,
        _ => Reason::Start,
    };
    let start = Start {
        host,
        name,
        json,
        reason,
    };
    P::load(config, &start)
}

fn outcome(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Done => sys::OK,
        Outcome::Ignored => sys::IGNORED,
    }
}

fn timeout(ms: u32) -> Option<Duration> {
    (ms != sys::NO_TIMEOUT).then(|| Duration::from_millis(ms.into()))
}

/// # Safety
/// As slipstream.h says of the constructor; `name` and `version` end with NUL.
#[doc(hidden)]
pub unsafe fn create<P: Plugin>(
    host: *const sys::slipstream_host,
    export: &Export<P>,
    name: &'static str,
    version: &'static str,
) -> *const sys::slipstream_plugin {
    context::bridge();
    let host = Host::new(host);
    context::begin(&host);
    let instance = Box::into_raw(Box::new(Instance::<P> {
        table: sys::slipstream_plugin {
            struct_size: size_of::<sys::slipstream_plugin>() as u32,
            abi_minor: sys::ABI_MINOR,
            min_host_minor: 0,
            flags: export.flags,
            instance: ptr::null_mut(),
            name: name.as_ptr().cast(),
            version: version.as_ptr().cast(),
            destroy: Some(destroy::<P>),
            on_load: Some(on_load::<P>),
            on_unload: Some(on_unload::<P>),
            subscribed_events: Some(subscribed_events::<P>),
            on_broadcast: Some(export.on_broadcast),
            flush: export.flush,
            get_extension: export.get_extension,
        },
        host,
        plugin: None,
        is_broken: false,
        names: Vec::new(),
    }));
    (*instance).table.instance = instance.cast();
    &(*instance).table
}

unsafe extern "C" fn destroy<P: Plugin>(this: *mut c_void) {
    let mut instance = Box::from_raw(this.cast::<Instance<P>>());
    let dropped = instance.drop_plugin();
    instance.logged(dropped, ());
    context::end(&instance.host);
    instance.host.close();
}

unsafe extern "C" fn on_load<P: Plugin>(
    this: *mut c_void,
    json: *const c_char,
    len: usize,
    reason: u32,
) -> i32 {
    let instance = Instance::<P>::of(this);
    let json = bytes(json.cast(), len);
    let loaded = instance.load(json, reason);
    instance.answer(loaded.map(|()| sys::OK))
}

unsafe extern "C" fn on_unload<P: Plugin>(this: *mut c_void, timeout_ms: u32) -> i32 {
    let instance = Instance::<P>::of(this);
    let unloaded = instance.enter("on_unload", |plugin| plugin.on_unload(timeout(timeout_ms)));
    // Whatever it said: its threads must be joined when this returns.
    let dropped = instance.drop_plugin();
    if unloaded.is_err() {
        instance.logged(dropped, ());
        return instance.answer(unloaded.map(|()| sys::OK));
    }
    instance.answer(dropped.map(|()| sys::OK))
}

unsafe extern "C" fn subscribed_events<P: Plugin>(this: *mut c_void) -> u64 {
    let instance = Instance::<P>::of(this);
    let kinds = instance.enter("subscribed_events", |plugin| {
        Ok(Kind::set(&plugin.subscribed_events()))
    });
    instance.logged(kinds, 0)
}

unsafe fn take<P: Plugin>(
    this: *mut c_void,
    delivery: *const sys::slipstream_delivery,
    frames: *const u8,
    len: usize,
    body: impl FnOnce(&mut P, Run<'_>) -> Result<Outcome>,
) -> i32 {
    let instance = Instance::<P>::of(this);
    let (ordinal, attempt) = ((*delivery).first_ordinal, (*delivery).attempt);
    let frames = bytes(frames, len);
    let taken = instance.enter("on_broadcast", |plugin| {
        body(plugin, Run::new(frames, ordinal, attempt)?)
    });
    instance.answer(taken.map(outcome))
}

unsafe extern "C" fn on_broadcast<P: Plugin>(
    this: *mut c_void,
    delivery: *const sys::slipstream_delivery,
    frames: *const u8,
    len: usize,
) -> i32 {
    take::<P>(this, delivery, frames, len, |plugin, run| {
        context::function("on_event");
        match run.iter().next() {
            Some(event) => plugin.on_event(&event),
            None => Ok(Outcome::Ignored), // a run has one
        }
    })
}

unsafe extern "C" fn on_run<P: Batch>(
    this: *mut c_void,
    delivery: *const sys::slipstream_delivery,
    frames: *const u8,
    len: usize,
) -> i32 {
    take::<P>(this, delivery, frames, len, |plugin, run| {
        context::function("on_run");
        plugin.on_run(&run)
    })
}

unsafe extern "C" fn flush<P: Flush>(this: *mut c_void, timeout_ms: u32) -> i32 {
    let instance = Instance::<P>::of(this);
    let flushed = instance.enter("flush", |plugin| plugin.flush(timeout(timeout_ms)));
    instance.answer(flushed.map(|()| sys::OK))
}

unsafe extern "C" fn get_extension<P: Names>(_: *mut c_void, id: *const c_char) -> *const c_void {
    let table: &'static sys::slipstream_payload_v1 = &sys::slipstream_payload_v1 {
        struct_size: size_of::<sys::slipstream_payload_v1>() as u32,
        reserved: 0,
        name_at: name_at::<P>,
    };
    if CStr::from_ptr(id) == sys::EXT_PAYLOAD {
        ptr::from_ref(table).cast()
    } else {
        ptr::null()
    }
}

unsafe extern "C" fn name_at<P: Names>(this: *mut c_void, index: u32) -> *const c_char {
    let instance = Instance::<P>::of(this);
    if index == 0 {
        let names = instance.enter("payload_names", |plugin| {
            let names = plugin.payload_names().into_iter().map(CString::new);
            Ok(names.collect::<Result<_, _>>()?)
        });
        instance.names = instance.logged(names, Vec::new());
    }
    let name = instance.names.get(index as usize);
    name.map_or(ptr::null(), |name| name.as_ptr())
}

/// # Safety
/// Readable for `len` bytes while the call lasts; with 0 it may be NULL.
unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    std::slice::from_raw_parts(data, len)
}
