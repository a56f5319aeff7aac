//! The rules above the maps, on maps in ordinary memory.

mod applying;
mod fixture;
mod killing;
