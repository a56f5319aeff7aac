//! `conns`

use std::io::{self, Write};

use clap::Args;

use crate::api::client::{Lines, query};
use crate::api::types::Connection;
use crate::cli::context::columns;
use crate::cli::render::conns::Layout;
use crate::cli::target::{OptionalService, host};
use crate::cli::{Context, Failure};

/// Which connections to list: all that is given must hold.
#[derive(Clone, Debug, Args)]
pub struct Conns {
    #[command(flatten)]
    service: OptionalService,
    /// Those at this real server.
    #[arg(short = 'r', long = "real-server", visible_alias = "real", value_name = "RIP[:PORT]", value_parser = host)]
    real: Option<String>,
    /// Those of this client.
    #[arg(long, value_name = "CIP[:PORT]", value_parser = host)]
    client: Option<String>,
    /// Those in this state, such as ESTABLISHED.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Addresses as numbers (they always are).
    #[arg(short = 'n', long)]
    numeric: bool,
    #[arg(skip)]
    reference: Option<String>,
}

/// How many rows decide the widths of the columns.
const SAMPLE: usize = 1_000;

impl Conns {
    /// The connections of one service, or of all.
    pub(super) fn of_service(reference: Option<String>) -> Self {
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            conns: Conns,
        }
        let defaults: Defaults = clap::Parser::parse_from(["conns"]);
        Self {
            reference,
            ..defaults.conns
        }
    }

    fn path(&self) -> String {
        let fields = [
            (
                "service",
                self.reference.clone().or_else(|| self.service.reference()),
            ),
            ("real", self.real.clone()),
            ("client", self.client.clone()),
            (
                "state",
                self.state.as_ref().map(|state| state.to_uppercase()),
            ),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ];
        format!("/v1/connections{}", query(&fields))
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let lines = context.client.lines(&self.path()).await?;
        if context.json {
            copy(lines).await
        } else {
            table(lines, context).await
        }
    }
}

/// The lines as they come.
async fn copy(mut lines: Lines) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    while let Some(line) = lines.next_line().await? {
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

async fn table(mut lines: Lines, context: &Context) -> Result<(), Failure> {
    let mut first: Vec<Connection> = Vec::new();
    while first.len() < SAMPLE {
        match lines.next().await? {
            Some(connection) => first.push(connection),
            None => break,
        }
    }
    let layout = Layout::fit(&first, columns());
    let mut out = io::BufWriter::new(io::stdout().lock());
    writeln!(out, "{}", layout.heading(context.style))?;
    for connection in &first {
        writeln!(out, "{}", layout.row(connection))?;
    }
    while let Some(connection) = lines.next::<Connection>().await? {
        writeln!(out, "{}", layout.row(&connection))?;
    }
    out.flush()?;
    Ok(())
}
