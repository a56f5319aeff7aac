//! `set-timeout`

use clap::Args;

use crate::api::client::segment;
use crate::api::types::{EditService, Service, Timeouts, TimeoutsPatch};
use crate::cli::target::{OptionalService, seconds};
use crate::cli::{Context, Failure};

/// Which timeouts, of what.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Without any timeout, shows those that hold. Running timers are not touched: a connection's next packet sets its own anew."
)]
pub struct SetTimeout {
    #[command(flatten)]
    service: OptionalService,
    /// All three, as `ipvsadm --set` takes them; 0 keeps one as it is.
    #[arg(value_names = ["TCP", "TCP_FIN", "UDP"], num_args = 3, value_parser = seconds, conflicts_with_all = ["tcp", "tcp_fin", "udp", "default"])]
    all: Vec<u64>,
    /// An established TCP connection.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    tcp: Option<u64>,
    /// A TCP connection after a FIN.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    tcp_fin: Option<u64>,
    /// A UDP flow.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    udp: Option<u64>,
    /// Give the service no timeouts of its own.
    #[arg(long, requires = "which service", conflicts_with_all = ["tcp", "tcp_fin", "udp"])]
    default: bool,
}

impl SetTimeout {
    /// Only shows the timeouts, of a service or of the director.
    pub(super) fn shown(service: OptionalService) -> Self {
        Self {
            service,
            all: Vec::new(),
            tcp: None,
            tcp_fin: None,
            udp: None,
            default: false,
        }
    }

    /// What it changes.
    pub fn patch(&self) -> TimeoutsPatch {
        let kept = |seconds: &u64| Some(*seconds).filter(|seconds| *seconds > 0);
        match self.all.as_slice() {
            [tcp, tcp_fin, udp] => TimeoutsPatch {
                tcp: kept(tcp),
                tcp_fin: kept(tcp_fin),
                udp: kept(udp),
            },
            _ => TimeoutsPatch {
                tcp: self.tcp,
                tcp_fin: self.tcp_fin,
                udp: self.udp,
            },
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let patch = self.patch();
        let timeouts: Timeouts = match self.service.reference() {
            None if patch.is_empty() => context.client.get("/v1/timeouts").await?,
            None => context.client.patch("/v1/timeouts", &patch).await?,
            Some(service) => {
                let path = format!("/v1/services/{}", segment(&service));
                let service: Service = if self.default {
                    context
                        .client
                        .patch(
                            &path,
                            &EditService {
                                timeouts: Some(None),
                                ..Default::default()
                            },
                        )
                        .await?
                } else if patch.is_empty() {
                    context.client.get(&path).await?
                } else {
                    context
                        .client
                        .patch(
                            &path,
                            &EditService {
                                timeouts: Some(Some(patch)),
                                ..Default::default()
                            },
                        )
                        .await?
                };
                service.timeouts
            }
        };
        context.print(&timeouts, |t| {
            format!(
                "Timeout (tcp tcpfin udp): {} {} {}\n",
                t.tcp, t.tcp_fin, t.udp
            )
        })
    }
}
