//! What is said of a single packet, when an operator asks for it?

use aya_ebpf::bindings::xdp_action::{XDP_REDIRECT, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use aya_log_ebpf::debug;
use lb_common::counter::{Counter, LABELS};
use lb_common::net::{Be32, Be128, Proto};
use lb_common::packet::parse::L3;
use lb_common::packet::wire::{Ethernet, mac_bytes};
use lb_common::packet::{Bytes, Ip, Network, Transport};

use crate::ctx::Frame;

/// A packet as it came.
struct Arrival<A> {
    network: Network<A>,
    /// As they stand in the packet; 0 if it has none.
    ports: u32,
    /// The number of its protocol; 0 if it is none that is balanced.
    proto: u32,
}

/// What is said of packets of a family, whose addresses are shown as `$shown` makes them.
macro_rules! family {
    ($addr:ty: $arrival:ident $arrive:ident $end:ident $say:ident $shown:expr) => {
        /// The packet that is on its way. Of the stack, what the steps leave is too little for it.
        #[btf_map]
        static $arrival: PerCpuArray<Arrival<$addr>, 1> = PerCpuArray::new();

        /// Takes down a packet as it comes. Of the program's stack it takes nothing but while it runs.
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $arrive(ctx: *mut xdp_md) -> u32 {
            let frame = Frame::new(ctx);
            if let Some(arrival) = $arrival.get_ptr_mut(0)
                && let Ok(network) = Network::<$addr>::parse(&frame)
            {
                let (ports, proto) = match Transport::parse::<$addr, _>(&frame) {
                    Ok(transport) => (transport.ports, transport.proto as u32),
                    Err(_) => (0, 0),
                };
                // SAFETY: the element is this CPU's own, and the program is not preempted by another of its kind.
                unsafe {
                    *arrival = Arrival {
                        network,
                        ports,
                        proto,
                    };
                }
            }
            0
        }

        /// Says how the packet ended. What is of no service, which is most of what is not balanced, is passed over in silence:
        /// on a director that is reached by ssh each line would bring about the next.
        #[inline(always)]
        pub(crate) fn $end(ctx: *mut xdp_md, action: u32, counter: Counter) {
            if !matches!(counter, Counter::PassNotIp | Counter::PassNoService) {
                $say(ctx, action, counter as u32);
            }
        }

        /// Logs how the packet ended.
        #[unsafe(no_mangle)]
        extern "C" fn $say(ctx: *mut xdp_md, action: u32, counter: u32) -> u32 {
            // SAFETY: as in the taking down.
            let Some(arrival) = $arrival.get_ptr_mut(0).map(|arrival| unsafe { &*arrival }) else {
                return 0;
            };
            let Some(label) = LABELS.get(counter as usize) else {
                return 0;
            };
            // SAFETY: labels are ASCII.
            let label = unsafe { core::str::from_utf8_unchecked(label) };
            let proto = match arrival.proto {
                tcp if tcp == Proto::Tcp as u32 => "tcp",
                udp if udp == Proto::Udp as u32 => "udp",
                _ => "ip ",
            };
            let [a, b, c, d] = arrival.ports.to_ne_bytes();
            let shown = $shown;
            let (src, dst) = (shown(arrival.network.src), shown(arrival.network.dst));
            let (src_port, dst_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let frame = Frame::new(ctx);
            if matches!(action, XDP_TX | XDP_REDIRECT)
                && let (Some(eth), Some(ip)) = (
                    frame.header::<Ethernet>(0),
                    frame.header::<<$addr as Ip>::Header>(L3),
                )
            {
                let to = shown(<$addr>::addresses(ip).dst);
                let mac = mac_bytes(eth.macs().dst);
                debug!(
                    &ctx, target: "packets", "{} {} {:i}:{} > {:i}:{} leaves for {:i} at {:mac}",
                    label, proto, src, src_port, dst, dst_port, to, mac
                );
            } else {
                debug!(
                    &ctx, target: "packets", "{} {} {:i}:{} > {:i}:{}",
                    label, proto, src, src_port, dst, dst_port
                );
            }
            0
        }
    };
}

family!(Be32: ARRIVAL4 arrive4 end4 say4 Be32::to_host);
family!(Be128: ARRIVAL6 arrive6 end6 say6 Be128::to_bytes);
