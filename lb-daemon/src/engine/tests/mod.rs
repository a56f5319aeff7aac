//! The engine over a data plane and a network that only remember what they were told.

mod drain;
mod fakes;
mod foresight;
mod health;
mod life;
mod requests;
mod stations;
