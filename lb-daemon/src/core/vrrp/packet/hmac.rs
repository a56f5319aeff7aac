//! How advertisements are signed so that nobody without the key can make one: a trailer behind the message, as keepalived
//! has it since 2.4 (`auth_hmac`; draft-cassen-vrrp-auth-hmac).
//!
//! ```text
//!  0       1       2       3
//!  type 1 |key id | zero
//!  seconds since 1970
//!  1/65536 second  | counter
//!  HMAC-SHA256, the first 16 bytes
//! ```
//!
//! It is over the family, version, number and source, the message without its checksum, and the trailer.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{CHECKSUM, HEADER, Version};

/// How long the trailer is.
pub(crate) const TRAILER: usize = PREFIX + DIGEST;
/// How much of it is signed.
const PREFIX: usize = 12;
/// The first byte: HMAC-SHA256, of which 128 bits are sent.
const TYPE: u8 = 1;
/// How much of the digest is sent.
const DIGEST: usize = 16;

/// A key that directors share. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: u8,
    /// Padded with zeroes to the block of the digest, which changes nothing.
    block: [u8; 64],
    text: String,
}

impl Key {
    /// The fewest bytes that a key has, and the most.
    pub const BYTES: std::ops::RangeInclusive<usize> = 32..=64;

    /// The key of a text: `hex:` and digits, or the bytes of the text itself. An error is how many bytes it has, where
    /// that is not within [`Key::BYTES`], or none where the digits are no digits.
    pub fn new(id: u8, text: &str) -> Result<Self, Option<usize>> {
        let bytes = match text.strip_prefix("hex:") {
            Some(digits) => from_hex(digits).ok_or(None)?,
            None => text.as_bytes().to_vec(),
        };
        if !Self::BYTES.contains(&bytes.len()) {
            return Err(Some(bytes.len()));
        }
        let mut block = [0; _];
        let places = block.iter_mut().zip(bytes);
        places.for_each(|(to, from)| *to = from);
        Ok(Self {
            id,
            block,
            text: text.to_owned(),
        })
    }

    /// What others know it by.
    pub const fn id(&self) -> u8 {
        self.id
    }

    /// The text, to write it to a configuration.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.block.into());
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ****)", self.id)
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| char::from(*c).to_digit(16);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
    rest.is_empty()
        .then(|| pairs.iter().map(byte).collect())
        .flatten()
}

/// The keys of a virtual router, and what is asked of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// What others may have signed with.
    pub keys: Vec<Key>,
    /// What we sign with: the key of this number.
    pub active: u8,
    /// Who has to sign.
    pub mode: Mode,
    /// How often the same advertisement is believed.
    pub freshness: Freshness,
}

/// How far signing has come: each step can be taken by one director after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// We sign nothing, and check what is signed.
    ReceiveOnly,
    /// We sign, and heed also what is not signed.
    Permissive,
    /// We sign, and heed nothing that is not.
    #[default]
    Enforce,
}

/// What keeps an advertisement from being heeded again when somebody repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is not older than this by our clock, and newer than the last of its sender.
    Window(Duration),
    /// It is newer than the last of its sender.
    Growing,
}

impl Signing {
    /// Whether our advertisements have a trailer.
    pub fn signs(&self) -> bool {
        self.mode != Mode::ReceiveOnly
    }

    fn key(&self, id: u8) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The trailer of a message from `source`; `sequence` is its place among all that were ever sent. Nothing without an
    /// active key.
    pub(super) fn trailer(
        &self,
        version: Version,
        source: IpAddr,
        message: &[u8],
        sequence: u64,
    ) -> Vec<u8> {
        let Some(key) = self.key(self.active) else {
            return Vec::new();
        };
        let mut trailer = vec![TYPE, key.id, 0, 0];
        trailer.extend(sequence.to_be_bytes());
        let digest = mac(key, version, source, message, &trailer).finalize();
        trailer.extend(digest.into_bytes().iter().take(DIGEST));
        trailer
    }
}

/// What stands behind a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    prefix: [u8; PREFIX],
    digest: [u8; DIGEST],
}

impl Trailer {
    /// The trailer that is all of these bytes.
    pub(in crate::core::vrrp) fn of(bytes: &[u8]) -> Option<Self> {
        let (prefix, digest) = bytes.split_first_chunk()?;
        Some(Self {
            prefix: *prefix,
            digest: digest.try_into().ok()?,
        })
    }

    /// What is before the trailer in a payload that has one.
    pub(in crate::core::vrrp) fn strip(payload: &[u8]) -> &[u8] {
        let message = payload.len().saturating_sub(TRAILER);
        payload.get(..message).unwrap_or_default()
    }

    /// Whether it has the form that we know.
    pub(in crate::core::vrrp) const fn is_known(&self) -> bool {
        matches!(self.prefix, [TYPE, _, 0, 0, ..])
    }

    /// Its place among all that its sender has ever sent.
    pub(in crate::core::vrrp) const fn sequence(&self) -> u64 {
        let [_, _, _, _, a, b, c, d, e, f, g, h] = self.prefix;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Whether somebody with the key has made it; nothing if we do not have that key.
    pub(in crate::core::vrrp) fn is_right(
        &self,
        signing: &Signing,
        version: Version,
        source: IpAddr,
        message: &[u8],
    ) -> Option<bool> {
        let [_, id, ..] = self.prefix;
        let mac = mac(signing.key(id)?, version, source, message, &self.prefix);
        Some(mac.verify_truncated_left(&self.digest).is_ok())
    }
}

fn mac(key: &Key, version: Version, source: IpAddr, message: &[u8], prefix: &[u8]) -> Hmac<Sha256> {
    let version = match version {
        Version::V2 => 2,
        Version::V3 => 3,
    };
    let vrid = message.get(1).copied().unwrap_or(0);
    let mut pseudo = [0; 20];
    let address = match source {
        IpAddr::V4(addr) => [addr.octets().as_slice(), &[0; 12]].concat(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    };
    let family = if source.is_ipv4() { 4 } else { 6 };
    let all = [family, version, vrid, 0].into_iter().chain(address);
    pseudo.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    let before = message.get(..CHECKSUM).unwrap_or_default();
    let behind = message.get(HEADER..).unwrap_or_default();
    key.mac(&[&pseudo, before, &[0; 2], behind, prefix, &[0; DIGEST]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signing() -> Signing {
        let key = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        Signing {
            keys: vec![Key::new(1, key).unwrap()],
            active: 1,
            mode: Mode::Enforce,
            freshness: Freshness::Growing,
        }
    }

    /// The examples of the draft: source, message, trailer.
    const EXAMPLES: [(&str, &str, &str); 2] = [
        (
            "198.51.100.10",
            "3133c80100644402c0000264",
            "0101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265",
        ),
        (
            "fe80::10",
            "3133c8010064a2e9fe800000000000000000000000000100",
            "010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78",
        ),
    ];

    #[test]
    fn the_examples_of_the_draft_are_made_and_understood() {
        for (source, message, trailer) in EXAMPLES {
            let source: IpAddr = source.parse().unwrap();
            let [message, trailer] = [message, trailer].map(|hex| from_hex(hex).unwrap());
            let made = signing().trailer(Version::V3, source, &message, 0x6800_0000_8000_0000);
            assert_eq!(made, trailer);
            let read = Trailer::of(&trailer).unwrap();
            assert!(read.is_known());
            assert_eq!(read.sequence(), 0x6800_0000_8000_0000);
            let right =
                |message: &[u8], source| read.is_right(&signing(), Version::V3, source, message);
            assert_eq!(right(&message, source), Some(true));
            for at in 0..message.len() {
                let mut other = message.clone();
                other[at] ^= 1;
                let is_checksum = (CHECKSUM..HEADER).contains(&at);
                assert_eq!(right(&other, source), Some(is_checksum), "{at}");
            }
            assert_eq!(right(&message, "10.0.0.1".parse().unwrap()), Some(false));
            for at in 0..TRAILER {
                let mut other = trailer.clone();
                other[at] ^= 1;
                let other = Trailer::of(&other).unwrap();
                let heeded = other.is_known()
                    && other.is_right(&signing(), Version::V3, source, &message) == Some(true);
                assert!(!heeded, "{at}");
            }
        }
    }

    #[test]
    fn a_key_has_32_to_64_bytes_and_is_not_shown() {
        assert_eq!(Key::new(1, "short"), Err(Some(5)));
        assert_eq!(Key::new(1, &"x".repeat(65)), Err(Some(65)));
        assert_eq!(Key::new(1, "hex:00"), Err(Some(1)));
        assert_eq!(Key::new(1, "hex:0"), Err(None));
        assert_eq!(Key::new(1, "hex:xy"), Err(None));
        let key = Key::new(7, &"x".repeat(32)).unwrap();
        assert_eq!(format!("{key:?}"), "Key(7, ****)");
    }
}
