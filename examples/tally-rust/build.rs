#[path = "src/config.rs"]
#[allow(dead_code)]
mod config;

fn main() {
    slipstream_plugin::build::config::<config::Config>();
}
