//! tcpserver
#![forbid(unsafe_code)]
