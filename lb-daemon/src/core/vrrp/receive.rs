//! Is an advertisement for us to heed?

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use super::packet::{Auth, Datagram, Packet, Reject, Trailer, Version, multicast_group};
use super::seal::Signed;
use super::{Heard, Seal, Settings};

/// What is known of a datagram's way besides its header.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The address that we send from on the interface where it arrived.
    pub own: IpAddr,
    /// The master that was heard last: its list of addresses is known to be right.
    pub known_master: Option<IpAddr>,
    /// The time of day, since 1970.
    pub wall: Duration,
}

/// What a virtual router hears in a datagram.
///
/// `seal` is what was heeded before, where advertisements are signed. The order of the checks is the RFCs': what comes from beyond the link or is damaged is not looked at further.
pub fn admit(
    settings: &Settings,
    arrival: &Arrival,
    seal: &mut Seal,
    datagram: &Datagram<'_>,
) -> Result<Heard, Reject> {
    let unicast = !settings.peers.is_empty();
    if !unicast && datagram.ttl != 255 {
        return Err(Reject::Ttl);
    }
    let to = if unicast {
        arrival.own
    } else {
        multicast_group(datagram.source)
    };
    if datagram.destination != to {
        return Err(Reject::Destination);
    }
    if datagram.source == arrival.own {
        return Err(Reject::OwnSource);
    }
    if unicast && !settings.peers.contains(&datagram.source) {
        return Err(Reject::Peer);
    }
    let (packet, trailer) = match settings.signing {
        Some(_) => Packet::decode_signed(datagram)?,
        None => (Packet::decode(datagram)?, None),
    };
    if packet.vrid != settings.vrid {
        return Err(Reject::Vrid);
    }
    if packet.version != settings.version {
        return Err(Reject::Version);
    }
    if let Some(signing) = &settings.signing {
        let signed = Signed {
            version: packet.version,
            source: datagram.source,
            message: match trailer {
                Some(_) => Trailer::strip(datagram.payload),
                None => datagram.payload,
            },
            trailer,
        };
        seal.check(signing, &signed, arrival.wall)?;
    }
    signed(&settings.auth, &packet.auth)?;
    // Version 3 learns the interval from the master.
    if packet.version == Version::V2 && packet.interval != settings.interval {
        return Err(Reject::Interval);
    }
    let known = arrival.known_master == Some(datagram.source);
    if settings.check_addresses && !known && !same(&settings.addresses, &packet.addresses) {
        return Err(Reject::Addresses);
    }
    Ok(Heard {
        source: datagram.source,
        claim: packet.claim,
        interval: packet.interval,
    })
}

fn signed(ours: &Auth, theirs: &Auth) -> Result<(), Reject> {
    match (ours, theirs) {
        (Auth::None, Auth::None) => Ok(()),
        (Auth::Pass(ours), Auth::Pass(theirs)) if ours == theirs => Ok(()),
        (Auth::Pass(_), Auth::Pass(_)) => Err(Reject::AuthPass),
        (Auth::None, Auth::Pass(_)) | (Auth::Pass(_), Auth::None) => Err(Reject::AuthType),
    }
}

/// Whether two lists have the same addresses, in any order.
fn same(ours: &[IpAddr], theirs: &[IpAddr]) -> bool {
    ours.len() == theirs.len() && ours.iter().all(|a| theirs.contains(a))
}
