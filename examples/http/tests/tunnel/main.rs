//! The ways through proxies, against answers cut up in every way.

mod conversation;
mod http_connect;
mod socks5;
