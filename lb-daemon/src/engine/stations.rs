//! Telling the data plane which frames are for this host.

use super::Engine;
use crate::config::Model;
use crate::core::station::stations;
use crate::io::bpf::Crowd;

/// The alarm about interfaces where all frames are taken.
const CROWDS: &str = "crowds";

impl Engine {
    /// Tells the data plane by which MACs this host is reached where its program runs, with the virtual routers of a model.
    pub(super) fn take_own_frames(&mut self, model: &Model) {
        self.set_stations(model);
        self.tell_crowds();
    }

    /// The same after interfaces have changed.
    pub(super) fn take_own_frames_again(&mut self) {
        self.set_stations(&self.model);
        self.tell_crowds();
    }

    fn set_stations(&self, model: &Model) {
        let (Some(plane), Some((attached, _))) = (self.plane.as_deref(), &self.attached) else {
            return;
        };
        let routers = model.vrrp.iter();
        let ours: Vec<&str> = routers.filter_map(|r| r.virtual_mac.as_deref()).collect();
        let stations = stations(&self.network.links(), attached, &ours);
        plane.gate().own_macs().set_stations(stations);
    }

    /// Says where frames are taken whomever they are for, and why.
    pub(super) fn tell_crowds(&mut self) {
        let Some(plane) = self.plane.as_deref() else {
            return;
        };
        let links = self.network.links();
        let name = |ifindex: u32| match links.iter().find(|link| link.ifindex == ifindex) {
            Some(link) => link.name.to_string(),
            None => format!("interface {ifindex}"),
        };
        let crowds = plane.gate().own_macs().crowds();
        let tell = |(ifindex, crowd): &(u32, Crowd)| {
            let on = name(*ifindex);
            match crowd {
                Crowd::Macs(macs) => {
                    format!("this host has {macs} MACs on {on}, more than the program compares")
                }
                Crowd::Place(other) => format!(
                    "the indexes of {on} and {} are such that the program cannot tell their MACs apart",
                    name(*other)
                ),
            }
        };
        let told: Vec<String> = crowds.iter().map(tell).collect();
        if told.is_empty() {
            self.alarms.clear(CROWDS);
        } else {
            let text = format!(
                "{}: frames that a switch floods are taken there although they are for other hosts",
                told.join("; ")
            );
            self.alarms.set(CROWDS, text);
        }
    }
}
