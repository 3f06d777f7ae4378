#[path = "../examples/common/http/mod.rs"]
mod http;
