//! What a plugin writes.

use crate::context;
use crate::event::{
    App, Block, Event, Gap, Kind, MappingRemoval, MappingUpdate, Payload, PeerForgotten, PeerSeen,
    Run, StakingReward, View,
};
use crate::host::Host;
use crate::status::{Outcome, Result};
use crate::sys;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// A flag of a plugin; `BATCH` and `EXPLICIT_ACK` come from what [`export!`](crate::export) is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Flag {
    /// The library is never unmapped.
    Resident = sys::FLAG_RESIDENT,
    /// Events are taken without blocking or running long.
    Prompt = sys::FLAG_PROMPT,
    /// Several instances may be there at once.
    MultiInstance = sys::FLAG_MULTI_INSTANCE,
}

/// Why a plugin is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The host starts, or loads the plugin for the first time.
    Start,
    /// This instance takes over from another one.
    Reload,
    /// The one before it crashed.
    Restart,
}

/// What [`Plugin::load`] gets beside its config.
#[derive(Debug)]
pub struct Start<'a> {
    pub(crate) host: &'a Host,
    pub(crate) name: String,
    pub(crate) json: &'a str,
    pub(crate) reason: Reason,
}

impl Start<'_> {
    /// The host; keep a clone of it.
    pub fn host(&self) -> &Host {
        self.host
    }

    /// The instance's name, which the config may give.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole config, as JSON.
    pub fn json(&self) -> &str {
        self.json
    }

    /// Why it is loaded.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The folder of the config file, where relative paths start. Name `"slipstream.config/1"` in
    /// [`Plugin::REQUIRES`].
    pub fn config_dir(&self) -> Result<PathBuf> {
        self.host.folder(false)
    }

    /// The plugin's own folder, which is kept over restarts; as `config_dir`.
    pub fn data_dir(&self) -> Result<PathBuf> {
        self.host.folder(true)
    }
}

/// A plugin. The object is made when it is loaded and dropped after `on_unload`.
///
/// A panic in any function is caught: the host gets `PANIC`, the function's name and the text, and
/// ends this instance.
pub trait Plugin: Sized + Send + 'static {
    /// The plugin's own keys; [`NoConfig`] takes none.
    type Config: DeserializeOwned;

    /// The kinds that it may subscribe to.
    const KINDS: &'static [Kind];
    /// What the host may rely on.
    const FLAGS: &'static [Flag] = &[];
    /// Extensions of the host without which `load` fails.
    const REQUIRES: &'static [&'static str] = &[];
    /// Extensions that are used where they are there.
    const OPTIONAL: &'static [&'static str] = &[];
    /// What the operator has to allow: "send", "peers", "identity.sign", "identity.open".
    const GRANTS: &'static [&'static str] = &[];
    /// A config, as JSON, that the plugin accepts.
    const SAMPLE: &'static str = "";

    /// Starts the plugin. After an error nothing of it may be left.
    fn load(config: Self::Config, start: &Start<'_>) -> Result<Self>;

    /// The kinds that this instance wants, of `KINDS`; asked once, after `load`.
    fn subscribed_events(&self) -> Vec<Kind> {
        Self::KINDS.to_vec()
    }

    /// One event; hands it to the function of its kind, unless you write this one instead.
    fn on_event(&mut self, event: &Event<'_>) -> Result<Outcome> {
        hand(self, event)
    }

    /// A mapping got a value.
    fn mapping_update(&mut self, _: &Event<'_>, _: MappingUpdate<'_>) -> Result<Outcome> {
        Ok(Outcome::Ignored)
    }
    /// A mapping lost a key, or all.
    fn mapping_removal(&mut self, _: &Event<'_>, _: MappingRemoval<'_>) -> Result<Outcome> {
        Ok(Outcome::Ignored)
    }
    /// A staker got a reward.
    fn staking_reward(&mut self, _: &Event<'_>, _: StakingReward<'_>) -> Result<Outcome> {
        Ok(Outcome::Ignored)
    }
    /// A block.
    fn block(&mut self, _: &Event<'_>, _: Block<'_>) -> Result<Outcome> {
        Ok(Outcome::Ignored)
    }
    /// A named payload.
    fn payload(&mut self, _: &Event<'_>, _: Payload<'_>) -> Result<Outcome> {
        Ok(Outcome::Ignored)
    }
    /// Events were lost.
    fn gap(&mut self, _: &Event<'_>, _: Gap) -> Result<Outcome> {
        Ok(Outcome::Ignored)
    }
    /// A peer came.
    fn peer_seen(&mut self, _: &Event<'_>, _: PeerSeen<'_>) -> Result<Outcome> {
        Ok(Outcome::Ignored)
    }
    /// Wipe what you keep of this peer.
    fn peer_forgotten(&mut self, _: &Event<'_>, _: PeerForgotten<'_>) -> Result<Outcome> {
        Ok(Outcome::Ignored)
    }
    /// An event of the application's own kind.
    fn app(&mut self, _: &Event<'_>, _: App<'_>) -> Result<Outcome> {
        Ok(Outcome::Ignored)
    }

    /// The last call before the object is dropped: make all durable, join threads. `timeout` is how
    /// long the host is going to wait.
    fn on_unload(&mut self, _timeout: Option<Duration>) -> Result {
        Ok(())
    }
}

/// Takes runs of events: `export!(Mine: batch)`.
pub trait Batch: Plugin {
    /// A run is all or nothing: after an error all of it must be undone. Single events are refused
    /// by [`Host::reject`].
    fn on_run(&mut self, run: &Run<'_>) -> Result<Outcome>;
}

/// Acknowledges events itself, by [`Host::ack`] and `flush`: `export!(Mine: flush)`.
pub trait Flush: Plugin {
    /// Makes all that came durable, which acknowledges it.
    fn flush(&mut self, timeout: Option<Duration>) -> Result;
}

/// Claims names of payloads: `export!(Mine: names)`.
pub trait Names: Plugin {
    /// The names, asked once.
    fn payload_names(&self) -> Vec<String>;
}

/// Hands an event to the function of its kind.
pub fn hand<P: Plugin>(plugin: &mut P, event: &Event<'_>) -> Result<Outcome> {
    macro_rules! call {
        ($function:ident, $view:expr) => {{
            context::function(stringify!($function));
            plugin.$function(event, $view)
        }};
    }
    match event.view()? {
        View::MappingUpdate(view) => call!(mapping_update, view),
        View::MappingRemoval(view) => call!(mapping_removal, view),
        View::StakingReward(view) => call!(staking_reward, view),
        View::Block(view) => call!(block, view),
        View::Payload(view) => call!(payload, view),
        View::Gap(view) => call!(gap, view),
        View::PeerSeen(view) => call!(peer_seen, view),
        View::PeerForgotten(view) => call!(peer_forgotten, view),
        View::App(view) => call!(app, view),
        View::Unknown => Ok(Outcome::Ignored),
    }
}

/// The config of a plugin that has no keys of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoConfig;

impl<'de> serde::Deserialize<'de> for NoConfig {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<NoConfig, D::Error> {
        use serde::de::Error;
        let keys = serde_json::Map::<String, serde_json::Value>::deserialize(from)?;
        match keys.keys().next() {
            None => Ok(NoConfig),
            Some(key) => Err(D::Error::custom(format_args!("unknown field `{key}`"))),
        }
    }
}
