//! For a plugin's build script: the config's schema, from the type that the plugin reads it with.

use schemars::generate::SchemaSettings;
use schemars::JsonSchema;
use serde_json::Value;

/// What hosts take of JSON Schema; see docs/writing-plugins.md.
const KEYWORDS: &[&str] = &[
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "required",
    "additionalProperties",
    "minProperties",
    "maxProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "$defs",
    "$ref",
    "default",
    "title",
    "description",
    "examples",
    "deprecated",
    "$comment",
    "$schema",
];
/// What only tells more of a value than hosts want to know.
const LEFT_OUT: &[&str] = &["format", "readOnly", "writeOnly"];

/// Gives `export!` the schema of the config `C`, as schemars makes it.
///
/// In build.rs, with `#[path = "src/config.rs"] mod config;`:
/// `slipstream_plugin::build::config::<config::Config>()`.
///
/// # Panics
/// The schema has a keyword that hosts do not take, such as `pattern`.
pub fn config<C: JsonSchema>() {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<C>().to_value();
    tidy(&mut schema, "#");
    println!("cargo::rerun-if-changed=build.rs"); // cargo sees to the modules in it
    println!("cargo::rustc-env=SLIPSTREAM_CONFIG_SCHEMA={schema}");
}

fn tidy(schema: &mut Value, at: &str) {
    let Value::Object(keywords) = schema else {
        return;
    };
    keywords.retain(|keyword, _| !LEFT_OUT.contains(&keyword.as_str()));
    for (keyword, value) in keywords {
        let here = format!("{at}/{keyword}");
        assert!(
            KEYWORDS.contains(&keyword.as_str()),
            "{here}: hosts do not take the keyword '{keyword}' in a config's schema; check such a \
             value in `load`"
        );
        match (keyword.as_str(), value) {
            ("properties" | "$defs", Value::Object(named)) => {
                for (name, one) in named {
                    tidy(one, &format!("{here}/{name}"));
                }
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(several)) => {
                for one in several {
                    tidy(one, &here);
                }
            }
            ("items" | "additionalProperties", one) => tidy(one, &here),
            _ => {}
        }
    }
}
