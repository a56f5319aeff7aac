//! `add-service`, `edit-service`, `del-service`.

use clap::Args;

use crate::api::types::{AddService, EditService, Persistence, Service};
use crate::cli::target::{Listeners, MethodArg, SchedulerArg, ServiceArg, netmask, seconds};
use crate::cli::{Context, Failure};
use crate::config::value::{Wrong, wrong};

/// How a new service is scheduled.
#[derive(Clone, Debug, Args)]
#[command(override_usage = "lbctl add-service -t|-u VIP[:PORT] [OPTIONS]")]
pub struct Add {
    #[command(flatten)]
    listeners: Listeners,
    /// The scheduler.
    #[arg(short = 's', long, value_name = "NAME")]
    scheduler: Option<String>,
    /// Options of the scheduler: sh-port, sh-fallback, mh-port, mh-fallback.
    #[arg(
        short = 'b',
        long = "sched-flags",
        value_name = "FLAGS",
        value_delimiter = ','
    )]
    scheduler_flags: Vec<String>,
    /// Clients stay with their real server for this long [360 without a value].
    #[arg(short = 'p', long = "persistent", value_name = "SECONDS", num_args = 0..=1, default_missing_value = "360", value_parser = seconds)]
    persistent: Option<u64>,
    /// How many bits of its address make a persistent client: a prefix length or a mask.
    #[arg(short = 'M', long, value_name = "MASK", value_parser = netmask, requires = "persistent")]
    netmask: Option<u8>,
    /// Persistent clients leave a real server once its weight is 0.
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes", value_parser = yes_or_no, requires = "persistent")]
    leave_quiesced: Option<bool>,
    /// Schedule every datagram by itself (UDP).
    #[arg(short = 'o', long = "ops")]
    one_packet: bool,
    #[command(flatten)]
    method: MethodArg,
    /// The service's name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Add {
    /// The request that it makes.
    pub fn request(&self) -> AddService {
        let mut listeners = self.listeners.all().into_iter();
        // The command line has at least one.
        let (protocol, address) = listeners
            .next()
            .map_or((crate::api::types::Protocol::Tcp, String::new()), |first| {
                (first.protocol, first.address)
            });
        AddService {
            protocol,
            address,
            also: listeners.collect(),
            name: self.name.clone(),
            scheduler: self.scheduler.clone(),
            scheduler_flags: self.scheduler_flags.clone(),
            persistence: self.persistent.map(|timeout| Persistence {
                timeout,
                mask: self.netmask,
                leave_quiesced: self.leave_quiesced,
            }),
            one_packet: self.one_packet,
            timeouts: Default::default(),
            method: self.method.method(),
            reals: Vec::new(),
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let service: Service = context.client.post("/v1/services", &self.request()).await?;
        context.print(&service, |s| {
            format!(
                "added service {} ({}), scheduler {}\n",
                s.listener, s.name, s.scheduler
            )
        })
    }
}

/// What to change of a service.
#[derive(Clone, Debug, Args)]
#[command(override_usage = "lbctl edit-service -t|-u VIP[:PORT] | --service NAME [OPTIONS]")]
pub struct Edit {
    #[command(flatten)]
    service: ServiceArg,
    #[command(flatten)]
    scheduler: SchedulerArg,
    /// Clients stay with their real server for this long [360 without a value]; 0 ends persistence.
    #[arg(short = 'p', long = "persistent", value_name = "SECONDS", num_args = 0..=1, default_missing_value = "360", value_parser = seconds)]
    persistent: Option<u64>,
    /// How many bits of its address make a persistent client: a prefix length or a mask.
    #[arg(short = 'M', long, value_name = "MASK", value_parser = netmask, requires = "persistent")]
    netmask: Option<u8>,
    /// Persistent clients leave a real server once its weight is 0.
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes", value_parser = yes_or_no, requires = "persistent")]
    leave_quiesced: Option<bool>,
    /// Schedule every datagram by itself (UDP), or no longer.
    #[arg(short = 'o', long = "ops", value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes", value_parser = yes_or_no)]
    one_packet: Option<bool>,
    #[command(flatten)]
    method: MethodArg,
    /// Another name.
    #[arg(long = "rename", value_name = "NAME")]
    name: Option<String>,
}

impl Edit {
    /// The request that it makes.
    pub fn request(&self) -> EditService {
        EditService {
            name: self.name.clone(),
            scheduler: self.scheduler.scheduler.clone(),
            scheduler_flags: self.scheduler.flags(),
            persistence: self.persistent.map(|timeout| {
                (timeout > 0).then_some(Persistence {
                    timeout,
                    mask: self.netmask,
                    leave_quiesced: self.leave_quiesced,
                })
            }),
            one_packet: self.one_packet,
            timeouts: None,
            method: self.method.method(),
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let service: Service = context
            .client
            .patch(&self.service.path(), &self.request())
            .await?;
        context.print(&service, |s| {
            format!("changed service {} ({})\n", s.listener, s.name)
        })
    }
}

/// Which service to delete.
#[derive(Clone, Debug, Args)]
#[command(override_usage = "lbctl del-service -t|-u VIP[:PORT] | --service NAME [OPTIONS]")]
pub struct Delete {
    #[command(flatten)]
    service: ServiceArg,
    /// Cut its connections too.
    #[arg(short = 'f', long)]
    force: bool,
}

impl Delete {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = format!(
            "{}{}",
            self.service.path(),
            if self.force { "?force=true" } else { "" }
        );
        let service: Service = context.client.delete(&path).await?;
        context.print(&service, |s| {
            format!("deleted service {} ({})\n", s.listener, s.name)
        })
    }
}

fn yes_or_no(text: &str) -> Result<bool, Wrong> {
    match text {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err(wrong("it takes a yes or a no", "write `yes` or `no`")),
    }
}
