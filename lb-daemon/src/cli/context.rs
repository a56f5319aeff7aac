//! What every verb needs: the daemon, and how to print.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::Cli;
use super::failure::Failure;
use super::render::style::Style;
use crate::api::client::Client;

/// What every verb needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The daemon.
    pub client: Client,
    /// Print JSON.
    pub json: bool,
    /// How to mark text.
    pub style: Style,
}

impl Context {
    /// As the command line says.
    pub fn new(cli: &Cli) -> Self {
        Self {
            client: Client::new(&cli.socket),
            json: cli.json,
            style: Style::detect(cli.color, &io::stdout()),
        }
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        self.client.socket()
    }

    /// Prints an answer: as JSON if asked for, else as `text` renders it.
    pub fn print<T: Serialize>(
        &self,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            self.print_json(answer)
        } else {
            self.say(&text(answer))
        }
    }

    /// Prints JSON.
    pub fn print_json(&self, answer: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(answer).map_err(io::Error::other)?;
        text.push('\n');
        self.say(&text)
    }

    /// Prints text as it is.
    pub fn say(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }
}

/// The width of the terminal; without one, lines may be as long as they like.
pub fn columns() -> usize {
    use std::io::IsTerminal;
    if !io::stdout().is_terminal() {
        return usize::MAX;
    }
    match std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
    {
        Some(columns) => columns,
        None => terminal_columns().unwrap_or(80),
    }
}

fn terminal_columns() -> Option<usize> {
    let size = terminal_size::terminal_size()?;
    Some(usize::from(size.0.0))
}
