//! `explain`

use clap::{Args, ValueEnum};

use crate::api::client::query;
use crate::api::types::{Explanation, Protocol};
use crate::cli::render::foresight::explanation;
use crate::cli::target::endpoint;
use crate::cli::{Context, Failure};

/// Which flow.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// The transport protocol.
    #[arg(value_enum)]
    protocol: Transport,
    /// The client's address and port.
    #[arg(value_name = "CIP:PORT", value_parser = endpoint)]
    client: String,
    /// The virtual address and port.
    #[arg(value_name = "VIP:PORT", value_parser = endpoint)]
    vip: String,
}

/// A protocol on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Explain {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let protocol = match self.protocol {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        };
        let fields = [
            ("protocol", Some(protocol.name().to_owned())),
            ("client", Some(self.client)),
            ("vip", Some(self.vip)),
        ];
        let answer: Explanation = context
            .client
            .get(&format!("/v1/explain{}", query(&fields)))
            .await?;
        context.print(&answer, |answer| explanation(answer, context.style))
    }
}
