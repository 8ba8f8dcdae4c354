//! iostream
#![forbid(unsafe_code)]
