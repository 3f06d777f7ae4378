//! pingora-proxy as plainly as it comes, on one thread: the peer that `tests/bench/proxy/run.sh` measures.
//!
//! Arguments: the address to listen on, the upstream's address.

use async_trait::async_trait;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct ToOne(String);

#[async_trait]
impl ProxyHttp for ToOne {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&self.0, false, String::new())))
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (args.next(), args.next()) else {
        return Error::e_explain(ErrorType::InternalError, "arguments: LISTEN UPSTREAM");
    };
    let conf = ServerConf { threads: 1, work_stealing: false, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, ToOne(upstream));
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever()
}
