//! The configuration file: what is accepted is written as a file that says the same; what is refused, is in words.

use std::path::Path;

use lb_daemon::config::{Anywhere, Shown, Yaml, parse};

pub(super) fn take(bytes: &[u8]) {
    match parse(bytes, Path::new("lbd.yaml"), &Anywhere) {
        Ok(model) => {
            let written = Yaml(&model).to_string();
            match parse(written.as_bytes(), Path::new("lbd.yaml"), &Anywhere) {
                Ok(again) => assert_eq!(again, model, "as written:\n{written}"),
                Err(refused) => panic!("it refuses what it has written: {refused}\n{written}"),
            }
            let _ = Shown(&model).to_string();
        }
        Err(refused) => {
            assert!(!refused.refusals.is_empty(), "refused for no reason");
            assert!(!refused.to_string().is_empty());
        }
    }
}
