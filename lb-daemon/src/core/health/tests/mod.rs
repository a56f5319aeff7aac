//! The machine as a whole, on virtual time.

mod changes;
mod pace;
mod pool;
mod property;
mod verdicts;
mod world;
