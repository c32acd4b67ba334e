//! tally in Rust: counts events by kind and by mapping, and logs the table when it is unloaded.
#![forbid(unsafe_code)]
mod config;

use slipstream_plugin::{export, Batch, Flag, Host, Kind, Outcome, Plugin, Result, Run, Start, View};
use std::{collections::BTreeMap, time::Duration};

struct Tally {
    host: Host,
    max_mappings: usize,
    kinds: BTreeMap<&'static str, u64>,
    rows: BTreeMap<String, u64>,
    lost: u64,
    other: u64,
}

/// An identifier of Aleo is its length and then its letters: b"\x07credits\x04aleo".
fn name(mut bytes: &[u8]) -> String {
    let mut parts = vec![];
    while let Some((&len, rest)) = bytes.split_first() {
        let (part, rest) = rest.split_at(rest.len().min(len.into()));
        parts.push(String::from_utf8_lossy(part));
        bytes = rest;
    }
    parts.join(".")
}

impl Plugin for Tally {
    type Config = config::Config;
    const KINDS: &'static [Kind] =
        &[Kind::MappingUpdate, Kind::MappingRemoval, Kind::StakingReward, Kind::Block, Kind::Payload];
    const FLAGS: &'static [Flag] = &[Flag::Prompt, Flag::MultiInstance];
    const OPTIONAL: &'static [&'static str] = &["slipstream.metrics/1"];
    const SAMPLE: &'static str = r#"{"max_mappings": 100}"#;

    fn load(config: config::Config, start: &Start) -> Result<Tally> {
        let (host, kinds, rows) = (start.host().clone(), BTreeMap::new(), BTreeMap::new());
        Ok(Tally { host, max_mappings: config.max_mappings, kinds, rows, lost: 0, other: 0 })
    }

    fn on_unload(&mut self, _: Option<Duration>) -> Result {
        log::info!("{} events, {} lost", self.kinds.values().sum::<u64>(), self.lost);
        self.kinds.iter().for_each(|(kind, count)| log::info!("{count} {kind}"));
        self.rows.iter().for_each(|(mapping, count)| log::info!("{count} {mapping}"));
        log::info!("{} of other mappings", self.other);
        Ok(())
    }
}

impl Batch for Tally {
    /// A run is all or nothing: what is malformed shows before anything is counted.
    fn on_run(&mut self, run: &Run) -> Result<Outcome> {
        for view in run.iter().map(|event| event.view()).collect::<Result<Vec<_>>>()? {
            let (kind, mapping) = match view {
                View::MappingUpdate(e) => ("mapping_update", Some((e.program_id, e.mapping_name))),
                View::MappingRemoval(e) => ("mapping_removal", Some((e.program_id, e.mapping_name))),
                View::StakingReward(_) => ("staking_reward", None),
                View::Block(_) => ("block", None),
                View::Payload(_) => ("payload", None),
                View::Gap(gap) => {
                    self.lost += gap.count;
                    continue;
                }
                _ => continue, // of a newer host
            };
            *self.kinds.entry(kind).or_default() += 1;
            self.host.count("events", Some(&format!("kind={kind}")), 1);
            let Some((program, mapping)) = mapping else { continue };
            let row = format!("{}/{}", name(program), name(mapping));
            match self.rows.len() < self.max_mappings || self.rows.contains_key(&row) {
                true => *self.rows.entry(row).or_default() += 1,
                false => self.other += 1, // memory stays bounded, whatever comes
            }
        }
        Ok(Outcome::Done)
    }
}

export!(Tally: batch);
