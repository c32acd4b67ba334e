#[derive(serde::Deserialize, schemars::JsonSchema)]
pub struct Config {
    /// The file of lines.
    pub out: String,
}
