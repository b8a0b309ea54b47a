//! The JSON schema of the manifest, made from the types.

use serde_json::Value;

use super::Manifest;

/// Returns the JSON schema (draft 2020-12) of the version that this labpack writes, as
/// `manifests/labpack-manifest-v1.schema.json` holds it.
///
/// A schema says less than [`read`](super::read) checks: references and sums are beyond it.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Manifest);
    schema.insert("title".into(), "labpack manifest, version 1".into());
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = include_str!("../../manifests/labpack-manifest-v1.schema.json");

    fn made() -> String {
        format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap())
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "refreshes a file of the sources when asked to"
    )]
    fn the_schema_in_manifests_is_the_one_made_from_the_types() {
        if std::env::var_os("LABPACK_BLESS").is_some() {
            let path = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/manifests/labpack-manifest-v1.schema.json"
            );
            std::fs::write(path, made()).unwrap();
            return;
        }
        assert!(
            STORED.replace("\r\n", "\n") == made(),
            "manifests/labpack-manifest-v1.schema.json is out of date: \
             refresh it with `LABPACK_BLESS=1 cargo test --lib schema`"
        );
    }

    #[test]
    fn the_golden_manifest_and_the_sample_satisfy_the_schema() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        let golden: Value = serde_json::from_slice(super::super::sample::GOLDEN).unwrap();
        assert!(validator.is_valid(&golden));
        let sample = serde_json::to_value(super::super::sample::sample()).unwrap();
        assert!(validator.is_valid(&sample));
    }

    #[test]
    fn the_schema_refuses_another_format_version_or_kind_of_value() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        for (pointer, value) in [
            ("/format", Value::from("zip")),
            ("/version", Value::from(2)),
            ("/totals/files", Value::from("many")),
            ("/vms/0/files/0/digest", Value::from("12")),
            ("/vms/0/files/0/role", Value::from("king")),
        ] {
            let mut bad: Value = serde_json::from_slice(super::super::sample::GOLDEN).unwrap();
            *bad.pointer_mut(pointer).unwrap() = value;
            assert!(!validator.is_valid(&bad), "{pointer}");
        }
    }
}
