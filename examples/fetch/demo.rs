//! The demonstration: a server of its own, rounds of requests, a hangup.
use crate::args::Options;
use crate::build_cache;
use crate::client::{Client, Config};
use crate::report::Report;
use crate::screen::Screen;
use crate::server::Server;
use crate::url::Url;
use std::io;
use std::time::{Duration, Instant};

pub fn run(options: &Options) -> io::Result<bool> {
    let began = Instant::now();
    let server = Server::start()?;
    let mut client = Client::new(Config::from(options), |registry| build_cache(options, registry))?;
    let mut screen = Screen::new(options.quiet);
    for round in 0..3 {
        let urls = (0..6).map(|k| Url::parse(&format!("http://{}/{round}/{k}", server.address)).unwrap()).collect();
        client.fetch(urls, options.repeat, &mut screen)?;
    }
    server.hang_up();
    client.linger(Duration::from_secs(1), &mut screen)?;
    let report = Report { totals: client.totals(), stats: &client.stats(), time: began.elapsed() };
    println!("{}", if options.json { report.json() } else { report.text() }.trim_end());
    Ok(client.totals().failed == 0)
}
