//! A plugin's own threads. They block all signals: those are the host's.

use crate::context;
use crate::host::Host;
use crate::status::Result;
use std::thread::{Builder, JoinHandle};

impl Host {
    /// Starts a thread as the contract wants it: it takes no signals, its log lines go to this host,
    /// and so does its panic. Join it before `on_unload` returns. What other threads log (a runtime's, say)
    /// goes to the instance that was made last.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let host = self.clone();
        let start = move || context::of_thread(&host, body);
        let blocked = block_all();
        let started = Builder::new().name(name.to_owned()).spawn(start);
        drop(blocked);
        Ok(started?)
    }
}

#[cfg(unix)]
mod unix {
    use std::ffi::c_int;

    /// As large as the sigset_t of any system.
    #[repr(C, align(16))]
    #[derive(Clone, Copy)]
    struct Set([u64; 16]);

    extern "C" {
        fn sigfillset(set: *mut Set) -> c_int;
        fn pthread_sigmask(how: c_int, set: *const Set, old: *mut Set) -> c_int;
    }

    const SIG_SETMASK: c_int = if cfg!(target_os = "linux") { 2 } else { 3 };

    /// Until it is dropped, this thread takes no signal; a thread that is started inherits that.
    pub struct Blocked(Set);

    pub fn block_all() -> Blocked {
        let (mut all, mut old) = (Set([0; 16]), Set([0; 16]));
        // SAFETY: both sets have room for the system's own.
        unsafe {
            sigfillset(&mut all);
            pthread_sigmask(SIG_SETMASK, &all, &mut old);
        }
        Blocked(old)
    }

    impl Drop for Blocked {
        fn drop(&mut self) {
            // SAFETY: the set that pthread_sigmask gave.
            unsafe { pthread_sigmask(SIG_SETMASK, &self.0, std::ptr::null_mut()) };
        }
    }
}

#[cfg(unix)]
use unix::block_all;

#[cfg(not(unix))]
fn block_all() {}
