//! What is known of a persistent client: its real server, and until when it keeps it, in one word.
//!
//! A template is made by a client's first connection to a persistent service and leads its later ones to the same real
//! server. Its time runs anew with each connection opened under it. It does not end while one of them lasts;
//! whoever puts ended templates away sees to that, so a program that finds one need not look at the time.

use crate::abi::{MAX_REALS, TemplateKey};
use crate::conn::Tick;
use crate::net::Address;

const REAL: u32 = 32;
const GENERATION: u32 = 49;
const GENERATIONS: u32 = 4;

/// The word of a template.
///
/// ```text
///  63      51  50      49  48  32  31     0
/// |  zero   | generation | real | expires |
/// ```
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Template(pub u64);

impl Template {
    /// A client's template. Connections bear its generation, so that those of an earlier template under the same key are
    /// told apart.
    #[inline(always)]
    pub const fn new(real: u32, generation: u32, expires: Tick) -> Self {
        Self(
            ((real & MAX_REALS) as u64) << REAL
                | ((generation % GENERATIONS) as u64) << GENERATION
                | expires.0 as u64,
        )
    }

    /// The real server's slot.
    #[inline(always)]
    pub const fn real(self) -> u32 {
        (self.0 >> REAL) as u32 & MAX_REALS
    }

    /// Which of the templates that this client had, modulo four.
    #[inline(always)]
    pub const fn generation(self) -> u32 {
        (self.0 >> GENERATION) as u32 % GENERATIONS
    }

    /// When it ends if no connection is opened under it, and none lasts.
    #[inline(always)]
    pub const fn expires(self) -> Tick {
        Tick(self.0 as u32)
    }

    /// The same with its time running anew.
    #[inline(always)]
    #[must_use]
    pub const fn rearmed(self, expires: Tick) -> Self {
        Self::new(self.real(), self.generation(), expires)
    }

    /// The client's next one, when its real server is no longer to be had.
    #[inline(always)]
    #[must_use]
    pub const fn succeeded(self, real: u32, expires: Tick) -> Self {
        Self::new(real, self.generation() + 1, expires)
    }
}

impl<A: Address> TemplateKey<A> {
    /// The template that a client's connections are opened under; `mask` is [`Plan::mask`](crate::abi::Plan::mask).
    #[inline(always)]
    pub fn current(service: u32, client: A, mask: u32) -> Self {
        Self {
            service,
            client: client.masked(mask),
            orphan: 0,
        }
    }

    /// A template of the same client that was succeeded, and waits for its connections to end.
    #[inline(always)]
    #[must_use]
    pub fn orphan(self, template: Template) -> Self {
        Self {
            orphan: 1 + template.generation(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::TemplateKey4;
    use crate::net::Be32;

    #[test]
    fn a_word_keeps_its_parts() {
        let template = Template::new(MAX_REALS, 3, Tick(u32::MAX));
        assert_eq!(
            (template.real(), template.generation(), template.expires()),
            (MAX_REALS, 3, Tick(u32::MAX))
        );
        let next = template.succeeded(7, Tick(5));
        assert_eq!(
            (next.real(), next.generation(), next.expires()),
            (7, 0, Tick(5))
        );
        assert_eq!(next.rearmed(Tick(6)), Template::new(7, 0, Tick(6)));
    }

    #[test]
    fn the_mask_makes_clients_one() {
        let key = |last| {
            let client = Be32::from_bytes([192, 0, 2, last]);
            TemplateKey4::current(1, client, Be32::from_bytes([255, 255, 255, 240]).0)
        };
        assert_eq!(key(17), key(30));
        assert_ne!(key(17), key(32));
        assert_ne!(key(17).orphan(Template::new(1, 0, Tick(0))), key(17));
    }
}
