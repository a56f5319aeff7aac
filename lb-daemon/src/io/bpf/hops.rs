//! How does a real server's record say where packets go next?

use std::net::IpAddr;

use lb_common::abi::{Method, Real};

use super::error::{ApplyError, MapError};
use super::family::{address_of, set_tunnel_source};
use super::maps::RealWord;
use super::options::{Hop, NextHop};
use super::state::State;

impl State {
    /// Writes how an address is reached into each slot that has it. Returns how many slots changed.
    ///
    /// While anything but the next hop's MAC changes, the word that holds the MAC is zero, and packets are left to the
    /// kernel's stack. So no packet goes out with one hop's MAC on another hop's interface.
    pub(super) fn set_next_hop(&mut self, addr: IpAddr, hop: Hop) -> Result<usize, ApplyError> {
        let slots: Vec<u32> = self
            .reals
            .iter()
            .filter(|(_, r)| address_of(&r.record) == addr)
            .map(|(slot, _)| *slot)
            .collect();
        let mut changed = 0;
        for slot in slots {
            changed += usize::from(self.set_slot_hop(slot, hop)?);
        }
        Ok(changed)
    }

    fn set_slot_hop(&mut self, slot: u32, hop: Hop) -> Result<bool, MapError> {
        let Some(server) = self.reals.get(&slot) else {
            return Ok(false);
        };
        // Until the neighbour has answered this daemon too, what the last one knew is the best there is.
        if server.inherited_hop && hop == Hop::Unresolved {
            return Ok(false);
        }
        let (old, method) = (server.record, server.method);
        let mut new = old;
        self.point(&mut new, method, hop)?;
        if new == old {
            self.set_known_hop(slot, new);
            return Ok(false);
        }
        let moved = Real {
            dst: old.dst,
            ..new
        } != old;
        if moved && old.dst != 0 {
            self.maps
                .set_real_word(slot, RealWord::Destination, &Real { dst: 0, ..new })?;
        }
        for word in [
            RealWord::Source,
            RealWord::Egress,
            RealWord::Tunnel,
            RealWord::Tunnel6High,
            RealWord::Tunnel6Low,
            RealWord::Identity,
            RealWord::Destination,
        ] {
            self.maps.set_real_word(slot, word, &new)?;
        }
        self.set_known_hop(slot, new);
        self.sync_nat_keys()?;
        Ok(true)
    }

    fn set_known_hop(&mut self, slot: u32, record: Real) {
        if let Some(server) = self.reals.get_mut(&slot) {
            server.record = record;
            server.inherited_hop = false;
        }
    }

    /// Sets the fields of a record that say how it is reached.
    pub(super) fn point(
        &mut self,
        record: &mut Real,
        method: Method,
        hop: Hop,
    ) -> Result<(), MapError> {
        match hop {
            Hop::Unresolved => {
                record.method = method as u8;
                record.dst = 0;
            }
            Hop::Local => {
                record.method = Method::Local as u8;
                record.dst = 0;
            }
            Hop::Via(NextHop {
                ifindex,
                mac,
                src_mac,
                mtu,
                src,
            }) => {
                let egress = self.egress_slot(ifindex)?;
                record.method = method as u8;
                record.dst = word(mac, egress);
                record.src = word(src_mac, u16::try_from(mtu).unwrap_or(u16::MAX));
                record.ifindex = ifindex;
                set_tunnel_source(record, src);
            }
        }
        Ok(())
    }

    /// The slot of an interface in `EGRESS`; a new one takes the place of one that no real server uses.
    fn egress_slot(&mut self, ifindex: u32) -> Result<u16, MapError> {
        let at = |egress: &[u32], wanted: u32| egress.iter().position(|i| *i == wanted);
        if let Some(slot) = at(&self.egress, ifindex) {
            return Ok(slot as u16);
        }
        let unused = |i: &u32| {
            self.reals
                .values()
                .all(|r| r.record.ifindex != *i || r.record.dst == 0)
        };
        let free = at(&self.egress, 0).or_else(|| self.egress.iter().position(unused));
        let slot = free.ok_or(MapError {
            action: "find a free slot in",
            map: lb_common::abi::map::EGRESS,
            source: std::io::ErrorKind::StorageFull.into(),
        })?;
        self.maps.set_egress(slot as u32, ifindex)?;
        if let Some(entry) = self.egress.get_mut(slot) {
            *entry = ifindex;
        }
        Ok(slot as u16)
    }

    /// The addresses of all real servers in use, with those that are being drained.
    pub(super) fn real_addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = self.reals.values().map(|r| r.addr().ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

/// A MAC in the low 48 bits, its first byte lowest, and something in the high 16.
fn word([a, b, c, d, e, f]: [u8; 6], high: u16) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) | u64::from(high) << 48
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_stands_lowest_byte_first() {
        assert_eq!(word([2, 0, 0x5e, 0x10, 0, 1], 3), 0x0003_0100_105e_0002);
        assert_eq!(word([0xff; 6], 0xffff), u64::MAX);
    }
}
