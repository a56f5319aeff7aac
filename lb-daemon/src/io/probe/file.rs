//! Reads a weight from a file.

use std::io::Read;
use std::path::Path;

use super::Good;
use super::error::ProbeError;
use super::talk::{Talk, quoted};

/// A number has no more bytes than this.
const LIMIT: u64 = 64;

/// The file has a number: the weight, or one below 0 for down.
pub(super) async fn ask(path: &Path, talk: &Talk) -> Result<Good, ProbeError> {
    talk.begin("reading the file");
    let path = path.to_owned();
    // A file may be on a disk that hangs; the runtime's thread must not.
    let read = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        std::fs::File::open(path)?
            .take(LIMIT)
            .read_to_end(&mut text)?;
        Ok::<_, std::io::Error>(text)
    });
    let text = match read.await {
        Ok(read) => read.map_err(|error| ProbeError::File(error.to_string()))?,
        Err(error) => return Err(ProbeError::Cannot(error.to_string())),
    };
    talk.got(&text);
    judge(&text)
}

fn judge(text: &[u8]) -> Result<Good, ProbeError> {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse::<i64>().ok());
    match number {
        Some(..0) => Err(ProbeError::File("it says down".to_owned())),
        Some(number) => match u16::try_from(number) {
            Ok(weight) => Ok(Good {
                words: format!("weight {weight}"),
                weight: Some(weight),
            }),
            Err(_) => Err(ProbeError::File(format!(
                "{number} is more than the greatest weight, 65535"
            ))),
        },
        None => Err(ProbeError::File(format!(
            "it has {}, not a number",
            quoted(text)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_down_or_a_weight() {
        let weight = |text: &[u8]| judge(text).map(|good| good.weight).ok();
        assert_eq!(weight(b"30\n"), Some(Some(30)));
        assert_eq!(weight(b" 0 "), Some(Some(0)));
        assert_eq!(weight(b"65535"), Some(Some(65535)));
        for bad in [&b"-1"[..], b"65536", b"", b"up", b"\xff", b"3 4"] {
            assert_eq!(weight(bad), None, "{bad:?}");
        }
    }
}
