//! The one loop of the daemon: requests, network events and timers in; changes of the data plane out.

mod edit;
mod find;
