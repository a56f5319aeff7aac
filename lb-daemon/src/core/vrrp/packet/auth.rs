//! How advertisements of version 2 are signed: with a password in clear text, which keeps a neighbour from joining
//! by mistake, and nobody else out.

use std::fmt;
use std::hint::black_box;

/// A password of up to eight bytes. Never shown.
#[derive(Clone, Copy)]
pub struct Password([u8; 8]);

impl Password {
    /// The password of a text, if it is neither empty nor too long.
    pub fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > 8 {
            return None;
        }
        let mut padded = [0; 8];
        for (to, from) in padded.iter_mut().zip(bytes) {
            *to = *from;
        }
        Some(Self(padded))
    }

    /// The text, to write it to a configuration.
    pub fn reveal(&self) -> String {
        let text: Vec<u8> = self.0.iter().copied().take_while(|b| *b != 0).collect();
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// In a time that does not tell how much of it is right.
impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        let differ = self.0.iter().zip(other.0).fold(0, |d, (a, b)| d | (a ^ b));
        black_box(differ) == 0
    }
}

impl Eq for Password {}

impl Password {
    /// As it is sent, padded with zeroes.
    pub(crate) const fn bytes(&self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(****)")
    }
}

/// How an advertisement is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// It is not.
    #[default]
    None,
    /// With a password in clear text.
    Pass(Password),
}

impl Auth {
    /// The type as it is written.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Pass(_) => 1,
        }
    }

    /// The eight bytes after the addresses.
    pub(crate) const fn bytes(self) -> [u8; 8] {
        match self {
            Self::None => [0; 8],
            Self::Pass(Password(bytes)) => bytes,
        }
    }

    /// Of what is written; without a password the eight bytes mean nothing.
    pub(super) fn decode(number: u8, bytes: &[u8]) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Pass(Password(*bytes.first_chunk()?))),
            _ => None,
        }
    }
}
