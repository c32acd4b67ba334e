//! The config's keys: a host learns them from here before any code runs.

/// Counts events by kind and by mapping.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Mappings that are counted one by one; the rest count as "other".
    #[serde(default = "some")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_mappings: usize,
}

fn some() -> usize {
    256
}
