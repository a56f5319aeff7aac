//! Which frames are for this host?

/// How many places `OWNMACS` has.
pub const OWN_MACS: u32 = 64;

/// The place in `OWNMACS` of an interface, by its index.
#[inline(always)]
pub const fn own_macs_place(ifindex: u32) -> u32 {
    ifindex & (OWN_MACS - 1)
}

/// Instead of a MAC: what no frame can be for.
pub const NO_MAC: u64 = u64::MAX;

/// The MACs by which this host is reached through an interface: a value of `OWNMACS`.
///
/// The kernel calls any other frame `PACKET_OTHERHOST` and drops it before IPVS sees it. Each word changes by one store: a MAC comes
/// and goes by itself.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct OwnMacs {
    /// Index of the interface. What comes in by any other that has the same place is taken to be for this host, so a record of
    /// zeros lets everything through.
    pub ifindex: u64,
    /// In the low 48 bits of each a MAC, its first byte lowest; else [`NO_MAC`].
    pub macs: [u64; Self::MOST],
}

impl OwnMacs {
    /// How many MACs there is room for.
    pub const MOST: usize = 7;

    /// Whether a frame that came in by an interface is for this host, by the MAC that it is for.
    #[inline(always)]
    pub const fn has(&self, ingress: u32, mac: u64) -> bool {
        // Nearly all frames are for the first of them. Written out, as a loop would be one to the verifier.
        let [a, b, c, d, e, f, g] = &self.macs;
        mac == *a
            || mac == *b
            || mac == *c
            || mac == *d
            || mac == *e
            || mac == *f
            || mac == *g
            || self.ifindex != ingress as u64
    }
}

const _: () = assert!(size_of::<OwnMacs>() == 64 && OWN_MACS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_for_each_of_the_macs_and_for_no_other() {
        let mut record = OwnMacs {
            ifindex: 70,
            macs: [NO_MAC; OwnMacs::MOST],
        };
        assert!(!record.has(70, 3));
        for place in 0..OwnMacs::MOST {
            record.macs = [NO_MAC; OwnMacs::MOST];
            record.macs[place] = 3;
            assert!(record.has(70, 3));
            assert!(!record.has(70, 4) && !record.has(70, 0));
        }
        assert!(record.has(6, 4), "another interface of the same place");
        assert_eq!(own_macs_place(70), own_macs_place(6));
        assert!(OwnMacs::default().has(1, 4), "nothing is known");
    }
}
