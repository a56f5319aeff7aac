//! Does systemd understand the units?

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::real::{LBD, said};

/// systemd understands the units, and nothing in them is wrong.
#[test]
fn the_units_are_clean() {
    let folder = tempfile::tempdir().unwrap();
    for unit in ["lbd.service", "lbd-backend.service"] {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../configs")
            .join(unit);
        let text = fs::read_to_string(shipped).unwrap();
        let path = folder.path().join(unit);
        let built = Path::new(LBD).parent().unwrap().display().to_string();
        fs::write(&path, text.replace("/usr/local/sbin", &built)).unwrap();
        let verify = Command::new("systemd-analyze")
            .arg("verify")
            .arg(path)
            .output();
        match verify {
            Ok(output) => assert!(
                output.status.success() && output.stderr.is_empty(),
                "{unit}: {}",
                said(&output)
            ),
            Err(_) => println!("SKIP: systemd-analyze is not installed"),
        }
    }
}
