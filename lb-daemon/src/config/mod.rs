//! The configuration: YAML text to a valid [`Model`](model::Model), and back.

pub mod model;
