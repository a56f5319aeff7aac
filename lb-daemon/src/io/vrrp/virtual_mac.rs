//! Interfaces with virtual MACs.
//!
//! Such an interface (macvlan) lies on top of the virtual router's. It has the virtual addresses, so the kernel answers for them
//! with the virtual MAC, and it is switched on only while this director is master, so that a backup takes nothing
//! that was sent to that MAC (RFC 9568, section 6.4.2). The XDP program sees such frames on the interface below.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::instance::Instance;
use super::run::Thread;
use super::types::Notice;
use super::view::View;
use crate::core::hop::Mac;
use crate::core::vrrp;

/// What the kernel calls the kind of these interfaces.
const KIND: &str = "macvlan";

/// Of the interface with the virtual MAC: it answers for its own addresses only; it takes what comes by it also where the way back
/// leads over the interface below, and replies of NAT, whose source is an address of the director; and it makes itself no
/// addresses, which would be the same on all directors.
const OWN: [(&str, &str); 7] = [
    ("ipv4/conf/{}/arp_ignore", "1"),
    ("ipv4/conf/{}/rp_filter", "2"),
    ("ipv4/conf/{}/accept_local", "1"),
    ("ipv6/conf/{}/addr_gen_mode", "1"),
    ("ipv6/conf/{}/accept_ra", "0"),
    ("ipv6/conf/{}/autoconf", "0"),
    ("ipv6/conf/{}/disable_ipv6", "0"),
];
/// It forwards what the interface below does.
const COPIED: [&str; 2] = ["ipv4/conf/{}/forwarding", "ipv6/conf/{}/forwarding"];
/// Of the interface below: it neither answers nor asks for addresses at the virtual MAC, which would tell neighbours its own.
const BELOW: [(&str, u8); 2] = [
    ("ipv4/conf/{}/arp_ignore", 1),
    ("ipv4/conf/{}/arp_announce", 2),
];

/// What parameters of interfaces were before they were changed, by interface.
#[derive(Debug, Default)]
pub(super) struct Changed(BTreeMap<String, Vec<(PathBuf, String)>>);

impl Instance {
    /// Its virtual MAC, and the name of the interface that has it.
    pub(super) fn virtual_mac(&self) -> Option<(&str, Mac)> {
        let name = self.config.virtual_mac.as_deref()?;
        let mac = vrrp::virtual_mac(self.config.is_v6(), self.config.vrid)?;
        Some((name, mac))
    }

    /// Where frames for its virtual MAC come in, and that MAC.
    pub(super) fn station(&self) -> Option<(u32, Mac)> {
        self.ifindex.zip(self.virtual_mac().map(|(_, mac)| mac))
    }

    /// Finds the interface that has its virtual MAC.
    pub(super) fn find_virtual_link(&mut self, view: &View) {
        let found = self.virtual_mac().and_then(|(name, mac)| {
            let link = view.link(name)?;
            let is_ours = link.mac == Some(mac) && link.kind.as_deref() == Some(KIND);
            is_ours.then_some(link.ifindex)
        });
        self.virtual_link = found;
    }
}

impl Thread {
    /// Makes the interfaces with virtual MACs that are not there, as far as those below are. Whose virtual router is master
    /// has its addresses on it then.
    pub(super) fn have_virtual_links(&mut self) {
        let missing = self.instances.values().filter_map(|instance| {
            let (name, mac) = instance.virtual_mac()?;
            let below = instance
                .ifindex
                .filter(|_| self.view.link(name).is_none())?;
            Some((instance.config.name.clone(), name.to_owned(), below, mac))
        });
        let missing: Vec<_> = missing.collect();
        for (router, name, below, mac) in missing {
            if let Err(err) = self.make_virtual_link(&router, &name, below, mac) {
                let what = format!("cannot make the interface {name} for its virtual MAC: {err}");
                self.notice(&router, Notice::Failed(what));
                continue;
            }
            if let Some(instance) = self.instances.get_mut(&router) {
                instance.find_virtual_link(&self.view);
            }
            if self.instances.get(&router).is_some_and(|i| i.assumed) {
                self.take_possession(&router);
                self.announce(&router);
            }
        }
    }

    fn make_virtual_link(
        &mut self,
        router: &str,
        name: &str,
        below: u32,
        mac: Mac,
    ) -> io::Result<()> {
        self.requests.add_macvlan(below, name, mac)?;
        // Its own events come later.
        for change in self.requests.links()? {
            self.view.follow(&change);
        }
        for (parameter, value) in OWN {
            let path = path(parameter, name);
            // Without IPv6 in the kernel there is nothing to keep from it.
            if path.exists() {
                fs::write(path, value)?;
            }
        }
        let Some(instance) = self.instances.get(router) else {
            return Ok(());
        };
        let below = &instance.config.interface;
        for parameter in COPIED {
            let from = path(parameter, below);
            if from.exists() {
                fs::write(path(parameter, name), fs::read(from)?)?;
            }
        }
        self.changed.change(below)
    }

    /// Removes the interface with the virtual MAC of a virtual router that was not there before, or is no longer to be.
    pub(super) fn remove_virtual_link(&mut self, router: &str) {
        let Some(instance) = self.instances.get_mut(router) else {
            return;
        };
        instance.find_virtual_link(&self.view);
        let below = instance.config.interface.clone();
        if let Some(ifindex) = instance.virtual_link.take() {
            match self.requests.remove_link(ifindex) {
                Ok(()) => self.view.forget_link(ifindex),
                Err(err) => {
                    let what = format!("cannot remove the interface with its virtual MAC: {err}");
                    self.notice(router, Notice::Failed(what));
                }
            }
        }
        let needs = |i: &&Instance| i.config.interface == below && i.config.virtual_mac.is_some();
        let others = self.instances.values().filter(needs);
        if !others.into_iter().any(|i| i.config.name != router) {
            self.changed.undo(&below);
        }
    }
}

impl Changed {
    /// Has an interface keep quiet about addresses that are on others, also when it was removed and made again meanwhile.
    fn change(&mut self, interface: &str) -> io::Result<()> {
        let before = self.0.entry(interface.to_owned()).or_default();
        for (parameter, least) in BELOW {
            let path = path(parameter, interface);
            let text = fs::read_to_string(&path)?;
            if text.trim().parse::<u8>().is_ok_and(|is| is < least) {
                fs::write(&path, least.to_string())?;
                before.retain(|(known, _)| *known != path);
                before.push((path, text));
            }
        }
        Ok(())
    }

    /// Puts back what an interface had.
    fn undo(&mut self, interface: &str) {
        for (path, text) in self.0.remove(interface).into_iter().flatten() {
            // The interface may have gone, and its parameters with it.
            let _ = fs::write(path, text);
        }
    }
}

fn path(parameter: &str, interface: &str) -> PathBuf {
    // Names of interfaces may have dots, so they are directories and not parts of a name.
    PathBuf::from("/proc/sys/net").join(parameter.replace("{}", interface))
}
