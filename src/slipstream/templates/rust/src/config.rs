//! The keys of the config. `slipstream inspect` shows them, with what the comments say.

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A log line after every so many blocks.
    #[serde(default = "often")]
    #[schemars(range(min = 1))]
    pub every: u64,
}

fn often() -> u64 {
    1000
}
