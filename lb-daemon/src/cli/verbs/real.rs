//! `add-real`, `edit-real`, `del-real`.

use clap::Args;

use crate::api::client::segment;
use crate::api::types::{AddReal, Drained, EditReal, Real};
use crate::cli::render::number::grouped;
use crate::cli::target::{MethodArg, ServiceArg, host, weight};
use crate::cli::{Context, Failure};

/// Which real server of which service.
#[derive(Clone, Debug, Args)]
struct RealArg {
    #[command(flatten)]
    service: ServiceArg,
    /// The real server; without a port, the service's.
    #[arg(short = 'r', long = "real-server", visible_alias = "real", value_name = "RIP[:PORT]", value_parser = host)]
    real: String,
}

impl RealArg {
    fn path(&self) -> String {
        format!("{}/reals/{}", self.service.path(), segment(&self.real))
    }
}

/// What may be said of a real server.
#[derive(Clone, Copy, Debug, Args)]
struct Numbers {
    /// Its share of new connections; 0 gives it none.
    #[arg(short = 'w', long, value_name = "0..65535", value_parser = weight)]
    weight: Option<u32>,
    /// At so many connections it gets no more; 0 is no limit.
    #[arg(short = 'x', long = "u-threshold", value_name = "COUNT")]
    upper: Option<u32>,
    /// Below so many it gets connections again; 0 is three quarters of the upper threshold.
    #[arg(short = 'y', long = "l-threshold", value_name = "COUNT")]
    lower: Option<u32>,
}

/// A real server to add.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "lbctl add-real -t|-u VIP[:PORT] | --service NAME -r RIP[:PORT] [OPTIONS]"
)]
pub struct Add {
    #[command(flatten)]
    real: RealArg,
    #[command(flatten)]
    method: MethodArg,
    #[command(flatten)]
    numbers: Numbers,
}

impl Add {
    /// The service that it is for, as the API names it.
    pub fn service(&self) -> String {
        self.real.service.reference()
    }

    /// The request that it makes.
    pub fn request(&self) -> AddReal {
        AddReal {
            address: self.real.real.clone(),
            method: self.method.method(),
            weight: self.numbers.weight,
            upper: self.numbers.upper,
            lower: self.numbers.lower,
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = format!("{}/reals", self.real.service.path());
        let real: Real = context.client.post(&path, &self.request()).await?;
        context.print(&real, |real| describe("added", real))
    }
}

/// What to change of a real server.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "lbctl edit-real -t|-u VIP[:PORT] | --service NAME -r RIP[:PORT] [OPTIONS]"
)]
pub struct Edit {
    #[command(flatten)]
    real: RealArg,
    #[command(flatten)]
    method: MethodArg,
    #[command(flatten)]
    numbers: Numbers,
}

impl Edit {
    /// The request that it makes.
    pub fn request(&self) -> EditReal {
        let Numbers {
            weight,
            upper,
            lower,
        } = self.numbers;
        EditReal {
            method: self.method.method(),
            weight,
            upper,
            lower,
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let real: Real = context
            .client
            .patch(&self.real.path(), &self.request())
            .await?;
        context.print(&real, |real| describe("changed", real))
    }
}

/// Which real server to remove.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "lbctl del-real -t|-u VIP[:PORT] | --service NAME -r RIP[:PORT] [OPTIONS]"
)]
pub struct Delete {
    #[command(flatten)]
    real: RealArg,
    /// Cut its connections too.
    #[arg(short = 'f', long)]
    force: bool,
}

impl Delete {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = format!(
            "{}{}",
            self.real.path(),
            if self.force { "?force=true" } else { "" }
        );
        let left: Drained = context.client.delete(&path).await?;
        context.print(&left, |left| {
            let conns = u64::from(left.active) + u64::from(left.inactive);
            let rest = if conns == 0 {
                String::new()
            } else {
                format!(
                    "; {} of its connections go on until they end",
                    grouped(conns)
                )
            };
            format!(
                "removed real server {} from {}{rest}\n",
                left.address, left.service
            )
        })
    }
}

fn describe(done: &str, real: &Real) -> String {
    let method = match real.method {
        crate::api::types::MethodName::Dr => "dr",
        crate::api::types::MethodName::Tun => "tun",
        crate::api::types::MethodName::Nat => "nat",
        crate::api::types::MethodName::Local => "local",
    };
    format!(
        "{done} real server {}, method {method}, weight {}\n",
        real.address, real.weight
    )
}
