//! Which XDP program does an interface run, and how is it taken off?

use std::io;
use std::os::fd::AsFd;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::sys;

/// A program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    /// Its id.
    pub program: u32,
    /// Where it runs.
    pub mode: Mode,
}

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// In the kernel's stack.
    Generic,
    /// In the driver.
    Native,
    /// On the network card.
    Offloaded,
}

impl Mode {
    /// `XDP_FLAGS_…_MODE`.
    const fn flags(self) -> u32 {
        match self {
            Self::Generic => 1 << 1,
            Self::Native => 1 << 2,
            Self::Offloaded => 1 << 3,
        }
    }
}

/// The programs on an interface; there can be one in each mode.
pub(super) fn attached(ifindex: u32) -> io::Result<Vec<Attached>> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    let request = RouteNetlinkMessage::GetLink(message);
    let Some(RouteNetlinkMessage::NewLink(link)) = exchange(request, NLM_F_REQUEST)? else {
        return Ok(Vec::new());
    };
    let xdp = link
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            LinkAttribute::Xdp(xdp) => Some(xdp),
            _ => None,
        });
    Ok(xdp.flatten().filter_map(one).collect())
}

fn one(attribute: &LinkXdp) -> Option<Attached> {
    match attribute {
        LinkXdp::DrvProgId(program) => Some(Attached {
            program: *program,
            mode: Mode::Native,
        }),
        LinkXdp::SkbProgId(program) => Some(Attached {
            program: *program,
            mode: Mode::Generic,
        }),
        LinkXdp::HwProgId(program) => Some(Attached {
            program: *program,
            mode: Mode::Offloaded,
        }),
        _ => None,
    }
}

/// The programs on an interface: the id and the name of each, and whether it runs in the driver.
///
/// # Errors
///
/// There is no such interface.
pub fn programs_on(ifindex: u32) -> io::Result<Vec<(u32, String, bool)>> {
    let all = attached(ifindex)?.into_iter();
    Ok(all
        .map(|one| {
            let name = program_name(one.program);
            (one.program, name, one.mode == Mode::Native)
        })
        .collect())
}

/// Takes a program off an interface, whoever put it there and however.
pub(super) fn remove(ifindex: u32, attached: Attached) -> io::Result<()> {
    for link in sys::links() {
        let info = sys::xdp_link_info(link.as_fd())?;
        if info.is_some_and(|l| l.ifindex == ifindex && l.program == attached.program) {
            return sys::link_detach(link.as_fd());
        }
    }
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes.push(LinkAttribute::Xdp(vec![
        LinkXdp::Fd(-1),
        LinkXdp::Flags(attached.mode.flags()),
    ]));
    exchange(
        RouteNetlinkMessage::SetLink(message),
        NLM_F_REQUEST | NLM_F_ACK,
    )
    .map(drop)
}

/// The name of a program.
pub(super) fn program_name(id: u32) -> String {
    let found = aya::programs::loaded_programs()
        .flatten()
        .find(|p| p.id() == id);
    found
        .and_then(|p| p.name_as_str().map(str::to_owned))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "without a name".to_owned())
}

/// Sends one request to the kernel and takes its one answer; an acknowledgement is none.
fn exchange(request: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
        NetlinkPayload::Error(e) if e.code.is_some() => Err(e.to_io()),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_runs_nothing() {
        assert_eq!(attached(1).unwrap(), []);
    }

    #[test]
    fn there_is_an_error_for_an_interface_that_is_not_there() {
        let error = attached(i32::MAX.cast_unsigned()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
