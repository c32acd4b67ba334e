//! @NAME@ - counts blocks, and logs a line for every so many of them. Put your own work here.
//!
//! The crate slipstream-plugin says how a plugin becomes a type with a trait, slipstream.h which
//! rules it keeps; `slipstream check ./@NAME@@SUFFIX@` tries them.
#![forbid(unsafe_code)]

mod config;

use config::Config;
use slipstream_plugin::{
    export, Block, Event, Flag, Gap, Kind, Outcome, Plugin, Result, Start, Status,
};
use std::time::Duration;

struct Counter {
    every: u64,
    blocks: u64,
    lost: u64,
}

impl Plugin for Counter {
    type Config = Config;
    const KINDS: &'static [Kind] = &[Kind::Block];
    const FLAGS: &'static [Flag] = &[Flag::MultiInstance];
    const SAMPLE: &'static str = r#"{"every": 2}"#;

    // After an error the load is refused, and nothing may be left.
    fn load(config: Config, _: &Start) -> Result<Counter> {
        if config.every == 0 {
            let text = "config key 'every' must be a whole number, 1 or more";
            return Err(Status::InvalidConfig.because(text));
        }
        Ok(Counter {
            every: config.every,
            blocks: 0,
            lost: 0,
        })
    }

    fn block(&mut self, _: &Event, block: Block) -> Result<Outcome> {
        self.blocks += 1;
        if self.blocks % self.every == 0 {
            let bytes = block.block.len();
            log::info!("{} blocks; the last has {bytes} bytes", self.blocks);
        }
        Ok(Outcome::Done)
    }

    // Events that were lost.
    fn gap(&mut self, _: &Event, gap: Gap) -> Result<Outcome> {
        self.lost += gap.count;
        Ok(Outcome::Done)
    }

    fn on_unload(&mut self, _: Option<Duration>) -> Result {
        log::info!("{} blocks in all, {} lost", self.blocks, self.lost);
        Ok(())
    }
}

export!(Counter as "@NAME@");

#[cfg(test)]
mod tests {
    use super::*;
    use slipstream_plugin::testing::{block, gap, json, Export, Harness, Refused};

    #[test]
    fn it_counts() -> Result<(), Refused> {
        let mut host = Harness::load(&Export::<Counter>::new(), json!({"every": 2}))?;
        host.deliver(&[block(1, b"one")])?;
        host.deliver(&[gap(2, 4)])?;
        host.deliver(&[block(5, b"four")])?;
        host.unload()?;
        let texts = ["2 blocks; the last has 4 bytes", "2 blocks in all, 3 lost"];
        assert_eq!(host.logs(), texts);
        Ok(())
    }

    #[test]
    fn it_names_the_key_that_is_wrong() {
        let refused = Harness::load(&Export::<Counter>::new(), json!({"every": "often"}));
        let text = refused.err().expect("it is refused").text;
        assert!(text.contains("config key 'every'"), "{text}");
    }
}
