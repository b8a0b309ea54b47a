//! Gives labpack.exe its version resource and its manifest; for every other target it does
//! nothing.
//!
//! The program works without them, so a machine that has no resource compiler (`windres` of
//! MinGW, `rc` of the Windows SDK, `llvm-rc`) gets a warning and an exe without them.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cli")]
    windows::add_resources();
}

#[cfg(feature = "cli")]
mod windows {
    #![expect(
        clippy::disallowed_methods,
        reason = "a build script writes into its own folder"
    )]

    use std::{env, fs, path::PathBuf};

    const MANIFEST: &str = "src/bin/labpack/labpack.exe.manifest";
    /// What `VERSIONINFO` calls a program of its own (`VOS_NT_WINDOWS32`, `VFT_APP`), the language
    /// US English, and texts in UTF-16.
    const TEMPLATE: &str = r#"#pragma code_page(65001)
1 24 "@MANIFEST@"
1 VERSIONINFO
FILEVERSION @NUMBERS@
PRODUCTVERSION @NUMBERS@
FILEOS 0x40004
FILETYPE 0x1
BEGIN
  BLOCK "StringFileInfo"
  BEGIN
    BLOCK "040904B0"
    BEGIN
      VALUE "FileDescription", "@DESCRIPTION@"
      VALUE "FileVersion", "@VERSION@"
      VALUE "InternalName", "labpack"
      VALUE "LegalCopyright", "@LICENSE@"
      VALUE "OriginalFilename", "labpack.exe"
      VALUE "ProductName", "labpack"
      VALUE "ProductVersion", "@VERSION@"
    END
  END
  BLOCK "VarFileInfo"
  BEGIN
    VALUE "Translation", 0x409, 1200
  END
END
"#;

    pub(super) fn add_resources() {
        println!("cargo::rerun-if-changed={MANIFEST}");
        if env::var_os("CARGO_CFG_WINDOWS").is_none() {
            return;
        }
        let script = PathBuf::from(var("OUT_DIR")).join("labpack.rc");
        fs::write(&script, text()).expect("cargo's own folder can be written to");
        let done = embed_resource::compile_for(&script, ["labpack"], embed_resource::NONE);
        if let Err(why) = done.manifest_required() {
            println!("cargo::warning=labpack.exe gets no version and no manifest: {why}");
        }
    }

    fn text() -> String {
        let manifest = PathBuf::from(var("CARGO_MANIFEST_DIR")).join(MANIFEST);
        let manifest = manifest.display().to_string().replace('\\', "\\\\");
        let part = |name: &str| var(&format!("CARGO_PKG_VERSION_{name}"));
        let numbers = [part("MAJOR"), part("MINOR"), part("PATCH"), "0".to_owned()];
        TEMPLATE
            .replace("@MANIFEST@", &manifest)
            .replace("@NUMBERS@", &numbers.join(","))
            .replace("@DESCRIPTION@", &var("CARGO_PKG_DESCRIPTION"))
            .replace("@VERSION@", &var("CARGO_PKG_VERSION"))
            .replace("@LICENSE@", &var("CARGO_PKG_LICENSE"))
    }

    fn var(name: &str) -> String {
        env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
    }
}
