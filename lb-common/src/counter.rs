//! How a packet can end: one counter for each way, each drop with its reason.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal;)+) => {
        /// How a packet ended. The discriminant is the index in the `COUNTERS` map.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Counter {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Counter {
            /// Every counter, in the order of the map.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name that `lbctl stats`, the API and metrics show.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }

            /// One sentence that says what happened to the packet.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)+),)+
                }
            }
        }
    };
}

counters! {
    /// Sent to a real server by MAC rewrite (DR).
    ForwardedDr = "forwarded_dr";
    /// Sent to a real server in an IP-in-IP tunnel (TUN).
    ForwardedTun = "forwarded_tun";
    /// Sent to a real server with destination address and port rewritten (NAT).
    ForwardedNat = "forwarded_nat";
    /// A real server's NAT reply, sent on to the client from the VIP.
    ForwardedReply = "forwarded_reply";
    /// Handed to the director's own stack for a real server that is the director itself.
    DeliveredLocal = "delivered_local";
    /// Forwarded by consistent hash, without an entry, because the connection table had no place.
    ForwardedStateless = "forwarded_stateless";
    /// Opened a persistent client's connection without keeping the client there, because there was no room for its template.
    ForwardedUnkept = "forwarded_unkept";
    /// Neither IPv4 nor IPv6: left to the stack.
    PassNotIp = "pass_not_ip";
    /// An address or a port of no service: left to the stack.
    PassNoService = "pass_no_service";
    /// A protocol that is not balanced: left to the stack.
    PassProtocol = "pass_protocol";
    /// A segment of no connection that opens none: left to the stack.
    PassNoConnection = "pass_no_connection";
    /// A new connection to an address whose master is another director: left to the stack.
    PassStandby = "pass_standby";
    /// Sent to the MAC of another host, as when a switch has forgotten where that is: left to the stack, which drops it.
    PassOtherHost = "pass_other_host";
    /// A fragment whose datagram's first one was not seen before it: left to the stack, because its ports are not known.
    PassFragment = "pass_fragment";
    /// The next hop is not resolved yet (NAT, either way): rewritten and left to the stack, which resolves it.
    PassUnresolved = "pass_unresolved";
    /// Too short, or lengths that contradict each other: left to the stack, which counts and drops it.
    PassMalformed = "pass_malformed";
    /// No real server could be chosen: ICMP port unreachable sent to the client.
    RejectNoReal = "reject_no_real";
    /// To a port of no service on a VIP whose other ports are closed: reset (TCP) or ICMP port unreachable (UDP) sent to the client.
    RejectNoPort = "reject_no_port";
    /// TTL 1: ICMP time exceeded sent to the sender.
    RejectTtl = "reject_ttl";
    /// Too big for its way to the real server, or back and not to be fragmented: ICMP fragmentation needed sent to the sender.
    RejectTooBig = "reject_too_big";
    /// A router's ICMP error about a tunnel to a real server: one like it sent to the client whose packet was in the tunnel.
    RejectTunnel = "reject_tunnel";
    /// To a port of no service on a VIP whose other ports are closed: dropped silently.
    DropNoPort = "drop_no_port";
    /// An ICMP error or a reset was due but over the rate limit: the packet was dropped silently.
    DropIcmpRate = "drop_icmp_rate";
    /// The real server's next hop is not resolved yet (DR, TUN): dropped, because the stack holds the VIP and would reset the connection.
    DropUnresolved = "drop_unresolved";
    /// Its source is no host's address, or its frame was sent to many: dropped, as the stack would.
    DropMartian = "drop_martian";
    /// A fragment that ends or begins within the transport header: dropped (RFC 1858).
    DropTinyFragment = "drop_tiny_fragment";
    /// A later fragment too big for its way, or whose TTL ran out: dropped without an answer, which only a first one gets (RFC 1122 3.2.2).
    DropLaterFragment = "drop_later_fragment";
    /// The packet could not be grown or cut to its new size.
    DropResize = "drop_resize";
    /// A map that must have an entry had none.
    DropInternal = "drop_internal";
}

impl Counter {
    /// Whether its sender is told that the packet goes no further, by the stack where the packet is left to it.
    #[inline(always)]
    pub const fn is_answer(self) -> bool {
        matches!(
            self,
            Self::RejectNoReal
                | Self::RejectNoPort
                | Self::RejectTtl
                | Self::RejectTooBig
                | Self::RejectTunnel
        )
    }

    /// Whether the packet was dropped without an answer.
    #[inline(always)]
    pub const fn is_drop(self) -> bool {
        matches!(
            self,
            Self::DropNoPort
                | Self::DropIcmpRate
                | Self::DropUnresolved
                | Self::DropMartian
                | Self::DropTinyFragment
                | Self::DropLaterFragment
                | Self::DropResize
                | Self::DropInternal
        )
    }
}

/// The number of counters: the size of the `COUNTERS` map.
pub const COUNTERS: u32 = Counter::ALL.len() as u32;

/// The length of the longest label.
const LABEL_LEN: usize = longest();

/// The labels in the order of the map, all of one length: the data plane's log is to know it beforehand.
pub static LABELS: [[u8; LABEL_LEN]; COUNTERS as usize] = padded();

const fn longest() -> usize {
    let (mut longest, mut i) = (0, 0);
    while i < Counter::ALL.len() {
        let len = Counter::ALL[i].label().len();
        if len > longest {
            longest = len;
        }
        i += 1;
    }
    longest
}

const fn padded() -> [[u8; LABEL_LEN]; COUNTERS as usize] {
    let (mut labels, mut i) = ([[b' '; LABEL_LEN]; COUNTERS as usize], 0);
    while i < Counter::ALL.len() {
        let label = Counter::ALL[i].label().as_bytes();
        let (to, _) = labels[i].split_at_mut(label.len());
        to.copy_from_slice(label);
        i += 1;
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_is_called_one() {
        for c in Counter::ALL {
            assert_eq!(c.is_drop(), c.label().starts_with("drop_"));
        }
    }

    #[test]
    fn a_counters_place_is_its_discriminant() {
        for (i, c) in Counter::ALL.iter().enumerate() {
            assert_eq!(*c as usize, i);
        }
    }
}
