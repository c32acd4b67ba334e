#[derive(serde::Deserialize, schemars::JsonSchema)]
pub struct Config {
    /// The function in which it happens.
    #[serde(default)]
    pub function: String,
    #[serde(default)]
    pub what: String,
    #[serde(default)]
    pub names: Vec<String>,
    #[serde(default)]
    pub level: Option<Level>,
    #[serde(default)]
    pub quotas: std::collections::BTreeMap<String, Limit>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Little.
    Low,
    High,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
pub struct Limit {
    pub most: u8,
}
