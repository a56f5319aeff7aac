//! What holds for the whole director.

use super::super::model::{Api, Limits, Model};
use super::super::value::{TIMEOUT, group, interface, number, seconds, truth, word};
use super::{Decoder, Map, Subject, keys, part, service, vrrp};
use crate::core::desired::{ConnReuse, Connections, Forwarding, Timeouts, VipDefault, XdpMode};
use lb_common::abi::MAX_REALS;

/// The words of `mode`.
pub(crate) const MODES: &[(&str, XdpMode)] = &[
    ("auto", XdpMode::Auto),
    ("native", XdpMode::Native),
    ("generic", XdpMode::Generic),
];

pub(super) fn top(decoder: &mut Decoder, root: &super::Node<'_>) -> Model {
    let Some(map) = decoder.map(root, &keys::TOP, Subject::Top) else {
        return Model::default();
    };
    let interfaces = decoder
        .list(&map, "interfaces")
        .iter()
        .filter_map(|node| decoder.scalar(node, "interfaces", Subject::Top, interface))
        .collect();
    Model {
        interfaces,
        mode: decoder
            .value(&map, "mode", |text| word(text, MODES))
            .unwrap_or_default(),
        connections: connections(decoder, &map),
        limits: limits(decoder, &map),
        forwarding: forwarding(decoder, &map),
        api: api(decoder, &map),
        vrrp: vrrp::all(decoder, &map),
        services: service::all(decoder, &map),
    }
}

fn connections(decoder: &mut Decoder, top: &Map<'_, '_>) -> Connections {
    let default = Connections::default();
    let Some(map) = part(decoder, top, "connections", &keys::CONNECTIONS) else {
        return default;
    };
    let max = decoder.value(&map, "max", |text| number(text, 1_000..=100_000_000));
    let mut timeout = |key| decoder.value(&map, key, |text| seconds(text, TIMEOUT));
    Connections {
        max: max.unwrap_or(default.max),
        timeouts: Timeouts {
            tcp: timeout("tcp").unwrap_or(default.timeouts.tcp),
            tcp_fin: timeout("tcp_fin").unwrap_or(default.timeouts.tcp_fin),
            udp: timeout("udp").unwrap_or(default.timeouts.udp),
        },
    }
}

fn limits(decoder: &mut Decoder, top: &Map<'_, '_>) -> Limits {
    let default = Limits::default();
    let Some(map) = part(decoder, top, "limits", &keys::LIMITS) else {
        return default;
    };
    let mut limit = |key, most| decoder.value(&map, key, |text| number(text, 1..=most));
    Limits {
        services: limit("services", 65_536).unwrap_or(default.services),
        reals: limit("reals", MAX_REALS).unwrap_or(default.reals),
    }
}

fn forwarding(decoder: &mut Decoder, top: &Map<'_, '_>) -> Forwarding {
    let default = Forwarding::default();
    let Some(map) = part(decoder, top, "forwarding", &keys::FORWARDING) else {
        return default;
    };
    Forwarding {
        sloppy_tcp: decoder
            .value(&map, "sloppy_tcp", truth)
            .unwrap_or(default.sloppy_tcp),
        conn_reuse: decoder
            .value(&map, "conn_reuse_mode", |text| number(text, 0..=3))
            .map_or(default.conn_reuse, ConnReuse::of_mode),
        expire_nodest_conn: decoder
            .value(&map, "expire_nodest_conn", truth)
            .unwrap_or(default.expire_nodest_conn),
        icmp_per_second: decoder
            .value(&map, "icmp_per_second", |text| number(text, 0..=1_000_000))
            .unwrap_or(default.icmp_per_second),
        vip_default: decoder
            .value(&map, "vip_default", |text| word(text, &VipDefault::NAMES))
            .unwrap_or(default.vip_default),
    }
}

fn api(decoder: &mut Decoder, top: &Map<'_, '_>) -> Api {
    let Some(map) = part(decoder, top, "api", &keys::API) else {
        return Api::default();
    };
    Api {
        group: decoder.value(&map, "group", group),
        others_read: decoder.value(&map, "others_read", truth).unwrap_or(false),
    }
}
