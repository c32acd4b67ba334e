//! Does in the function that the config names what the config names: panics, fails, logs.
#![forbid(unsafe_code)]
mod config;

use config::Config;
use slipstream_plugin::*;
use std::io;
use std::time::Duration;

struct Panicker {
    host: Host,
    config: Config,
    seen: u64,
}

/// A payload that panics with itself when it is dropped.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            std::panic::panic_any(Bomb(self.0 - 1));
        }
    }
}

fn pass(config: &Config, function: &str) -> Result {
    if config.function != function {
        return Ok(());
    }
    match config.what.as_str() {
        "text" => panic!("a thing of {function}"),
        "number" => std::panic::panic_any(42),
        "bomb" => std::panic::panic_any(Bomb(3)),
        "index" => assert_eq!(vec![1, 2][config.what.len()], 3),
        "huge" => panic!("{}", "ä".repeat(1 << 20)),
        "nul" => panic!("a\0b\x1b[31mc"),
        "io" => Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"))?,
        "retry" => Err("not now").or_status(Status::Retry)?,
        "denied" => return Err(Status::Denied.because("you may not")),
        "cause" => Err(io::Error::other("the cause of it"))?,
        "panic-status" => return Err(Status::Panic.because("no panic at all")),
        _ => {}
    }
    Ok(())
}

impl Plugin for Panicker {
    type Config = Config;
    const KINDS: &'static [Kind] = &[
        Kind::MappingUpdate, Kind::MappingRemoval, Kind::StakingReward, Kind::Block, Kind::Payload,
        Kind::PeerSeen, Kind::PeerForgotten, Kind::App(40),
    ];
    const FLAGS: &'static [Flag] = &[Flag::MultiInstance];
    const OPTIONAL: &'static [&'static str] = &["slipstream.config/1", "slipstream.metrics/1"];
    const SAMPLE: &'static str = r#"{"function": "", "what": "text"}"#;

    fn load(config: Config, start: &Start) -> Result<Panicker> {
        pass(&config, "load")?;
        let host = start.host().clone();
        if config.what == "thread" {
            let told = start.host().spawn("writer", || {
                log::info!("the thread runs");
                panic!("a thing of the thread")
            })?;
            let _ = told.join() as std::thread::Result<()>;
            let plain = std::thread::Builder::new().name("plain".into());
            let _ = plain.spawn(|| panic!("a thing of a plain thread"))?.join() as std::thread::Result<()>;
        }
        if config.what == "metrics" {
            log::info!("{}", host.count("events", Some("kind=a"), 2));
            log::info!("{}", host.gauge("wrong name", None, 1.0));
            log::info!("{}", host.count("nul\0", None, 1));
            log::info!("{}", host.count(&"long".repeat(100), None, 1));
            log::info!("{}", start.data_dir()?.is_dir());
            log::info!("{:?} {}", start.reason(), start.name());
            log::info!("{}", host.sign(b"x").unwrap_err());
            log::info!("{}", host.reject(7, "why").unwrap_err());
        }
        Ok(Panicker { host, config, seen: 0 })
    }

    fn subscribed_events(&self) -> Vec<Kind> {
        pass(&self.config, "subscribed_events").expect("no error");
        Self::KINDS.to_vec()
    }

    fn block(&mut self, event: &Event, block: Block) -> Result<Outcome> {
        self.seen += 1;
        if self.seen == 2 {
            pass(&self.config, "block")?;
        }
        log::info!("took {:?} at {:?}", block.block, event.height);
        if self.config.function != "flush" {
            self.host.ack(event.ordinal)?;
        }
        Ok(Outcome::Done)
    }

    fn mapping_update(&mut self, e: &Event, view: MappingUpdate) -> Result<Outcome> {
        log::info!("{:?} {:?} {} {}", view, e.height, e.time_ns, e.flags);
        Ok(Outcome::Done)
    }
    fn mapping_removal(&mut self, _: &Event, view: MappingRemoval) -> Result<Outcome> {
        log::info!("{view:?}");
        Ok(Outcome::Done)
    }
    fn staking_reward(&mut self, _: &Event, view: StakingReward) -> Result<Outcome> {
        log::info!("{view:?}");
        Ok(Outcome::Done)
    }
    fn payload(&mut self, _: &Event, view: Payload) -> Result<Outcome> {
        log::info!("{view:?}");
        Ok(Outcome::Done)
    }
    fn gap(&mut self, _: &Event, view: Gap) -> Result<Outcome> {
        log::info!("{view:?}");
        Ok(Outcome::Done)
    }
    fn peer_seen(&mut self, _: &Event, view: PeerSeen) -> Result<Outcome> {
        log::info!("{view:?}");
        Ok(Outcome::Done)
    }
    fn peer_forgotten(&mut self, _: &Event, view: PeerForgotten) -> Result<Outcome> {
        log::info!("{view:?}");
        Ok(Outcome::Done)
    }
    fn app(&mut self, _: &Event, view: App) -> Result<Outcome> {
        log::info!("{view:?}");
        Ok(Outcome::Done)
    }

    fn on_unload(&mut self, _: Option<Duration>) -> Result {
        pass(&self.config, "on_unload")
    }
}

impl Flush for Panicker {
    fn flush(&mut self, _: Option<Duration>) -> Result {
        pass(&self.config, "flush")
    }
}

impl Names for Panicker {
    fn payload_names(&self) -> Vec<String> {
        pass(&self.config, "payload_names").expect("no error");
        self.config.names.clone()
    }
}

impl Drop for Panicker {
    fn drop(&mut self) {
        let _ = pass(&self.config, "drop");
    }
}

export!(Panicker as "panicker": flush, names);
