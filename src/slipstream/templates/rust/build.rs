// The library says which config keys it takes: a host and its users see them before it runs.
#[path = "src/config.rs"]
#[allow(dead_code)]
mod config;

fn main() {
    slipstream_plugin::build::config::<config::Config>();
}
