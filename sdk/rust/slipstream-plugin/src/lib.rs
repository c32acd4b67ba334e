//! A plugin for slipstream in safe Rust.
//!
//! What slipstream.h says holds here too; this crate takes the work out of it: a plugin is a type
//! with the trait [`Plugin`], made when the host loads it and dropped when it is unloaded. Errors
//! become statuses, panics are caught and reported, the config is read by `serde`, the crate `log`
//! writes to the host's log. Nothing but the constructor and the info is exported.
//!
//! # A whole plugin
//!
//! `slipstream new NAME --lang rust` makes one with a test and a readme.
//!
//! ```
//! use slipstream_plugin::{Block, Event, Kind, NoConfig, Outcome, Plugin, Result, Start};
//!
//! struct Minimal;
//!
//! impl Plugin for Minimal {
//!     type Config = NoConfig;
//!     const KINDS: &'static [Kind] = &[Kind::Block];
//!
//!     fn load(_: NoConfig, _: &Start) -> Result<Minimal> {
//!         Ok(Minimal)
//!     }
//!     fn block(&mut self, _: &Event, block: Block) -> Result<Outcome> {
//!         log::debug!("{} bytes", block.block.len());
//!         Ok(Outcome::Done)
//!     }
//! }
//!
//! slipstream_plugin::export!(Minimal as "minimal");
//! ```

#[cfg(panic = "abort")]
compile_error!(
    "a panic has to unwind to the boundary, where it is caught: take panic = \"abort\" out of the \
     profile (Cargo.toml), or it would end the host"
);

mod boundary;
pub mod build;
mod context;
mod event;
mod host;
mod info;
mod plugin;
mod status;
#[rustfmt::skip]
pub mod sys;
pub mod testing;
mod threads;

pub use boundary::*;
pub use event::*;
pub use host::*;
pub use info::*;
pub use log;
pub use plugin::*;
pub use status::*;

#[doc(hidden)]
pub use context::hook_panics;

/// Exports a plugin: once in a library.
///
/// `export!(Mine)`, or `export!(Mine: batch, flush, names)` with those of the traits [`Batch`],
/// [`Flush`] and [`Names`] that `Mine` has. The plugin's name is the package's; `export!(Mine as
/// "my.plugin")` says another. Licence and url are the package's, too, and the config's schema is what
/// [`build::config`] has made.
#[macro_export]
macro_rules! export {
    ($plugin:ty $(: $($capability:ident),+)?) => {
        $crate::export!(@ $plugin, [$($($capability)+)?], env!("CARGO_PKG_NAME"));
    };
    ($plugin:ty as $name:literal $(: $($capability:ident),+)?) => {
        $crate::export!(@ $plugin, [$($($capability)+)?], $name);
    };
    (@ $plugin:ty, [$($capability:ident)*], $name:expr) => {
        const _: () = {
            const EXPORT: $crate::Export<$plugin> = $crate::Export::new()$(.$capability())*;
            const INFO: $crate::Info<'static> = $crate::Info {
                name: $name,
                version: env!("CARGO_PKG_VERSION"),
                licence: env!("CARGO_PKG_LICENSE"),
                url: env!("CARGO_PKG_REPOSITORY"),
                flags: EXPORT.flags(),
                kinds: <$plugin as $crate::Plugin>::KINDS,
                requires: <$plugin as $crate::Plugin>::REQUIRES,
                optional: <$plugin as $crate::Plugin>::OPTIONAL,
                grants: <$plugin as $crate::Plugin>::GRANTS,
                schema: option_env!("SLIPSTREAM_CONFIG_SCHEMA"),
                sample: <$plugin as $crate::Plugin>::SAMPLE,
            };

            #[no_mangle]
            #[allow(non_upper_case_globals)]
            pub static slipstream_info_v1: [u8; $crate::info_len(&INFO)] = $crate::info(&INFO);

            /// # Safety
            /// As slipstream.h says.
            #[no_mangle]
            pub unsafe extern "C" fn slipstream_create_plugin_v1(
                host: *const $crate::sys::slipstream_host,
            ) -> *const $crate::sys::slipstream_plugin {
                static EXPORTED: $crate::Export<$plugin> = EXPORT;
                $crate::hook_panics();
                $crate::create(
                    host,
                    &EXPORTED,
                    concat!($name, "\0"),
                    concat!(env!("CARGO_PKG_VERSION"), "\0"),
                )
            }
        };
    };
}
