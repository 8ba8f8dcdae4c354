//! The race on virtual time, with addresses that do as they are told.

mod race;
mod scene;
mod timeout;
