//! Real proxies, configured.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use testing::servers::{PATIENCE, Server};
use testing::temp_dir::TempDir;

/// A proxy and what it needs. `dir` holds its log, if it writes one.
pub struct Proxy {
    pub server: Server,
    pub dir: TempDir,
}

impl Proxy {
    /// What the options of `fetch` expect.
    pub fn at(&self) -> String {
        self.server.address.to_string()
    }

    /// What squid wrote down, once that are so many requests. Less if that takes too long.
    pub fn squid_log(&self, requests: usize) -> Vec<Line> {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(format!("{}/access.log", self.dir.path())).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            // Connections without a request have a line, too.
            let lines: Vec<Line> = whole.lines().map(Line::parse).filter(|line| line.status > 0).collect();
            if lines.len() >= requests || Instant::now() > end {
                return lines;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts `program`, which takes a configuration file behind these arguments. `PORT` in it stands for its port,
    /// `DIR` for its directory.
    #[track_caller]
    fn start(name: &str, program: &str, args: &[&str], config: &str) -> Proxy {
        Proxy::start_with(name, program, args, config, &[])
    }

    /// The same with some files in its directory.
    #[track_caller]
    fn start_with(name: &str, program: &str, args: &[&str], config: &str, files: &[(&str, &str)]) -> Proxy {
        let dir = TempDir::new(name);
        let d = dir.path();
        fs::create_dir(d).unwrap();
        for (file, content) in files {
            fs::write(format!("{d}/{file}"), content).unwrap();
        }
        // Started by root, some go on as somebody else, and write their log there.
        fs::set_permissions(d, Permissions::from_mode(0o777)).unwrap();
        let server = Server::start(|address| {
            let config = config.replace("PORT", &address.port().to_string()).replace("DIR", d);
            fs::write(format!("{d}/config"), config).unwrap();
            let mut command = Command::new(program);
            command.args(args).arg(format!("{d}/config")).env("TMPDIR", d);
            command
        });
        Proxy { server, dir }
    }
}

/// A request in squid's log.
pub struct Line {
    /// The client's.
    pub port: u16,
    pub user: String,
    pub status: u16,
}

impl Line {
    fn parse(text: &str) -> Line {
        let mut fields = text.split_whitespace();
        let mut field = || fields.next().unwrap();
        Line { port: field().parse().unwrap(), user: field().to_owned(), status: field().parse().unwrap() }
    }
}

/// Closes each connection after one response, and doesn't say so. Opens tunnels to these ports alone.
pub fn tinyproxy(name: &str, tunnels: &[u16]) -> Proxy {
    let ports: String = tunnels.iter().map(|port| format!("ConnectPort {port}\n")).collect();
    let config = format!("Port PORT\nListen 127.0.0.1\n{ports}MaxClients 200\nLogLevel Critical\nTimeout 600\n");
    Proxy::start(name, "tinyproxy", &["-d", "-c"], &config)
}

/// Closes connections that were inactive for a second. Lets in `user` and `other`, whose password is `secret`, or
/// everybody.
pub fn squid(name: &str, with_users: bool) -> Proxy {
    let access = if with_users {
        "auth_param basic program /bin/sh DIR/users\nauth_param basic children 1\n\
         acl users proxy_auth REQUIRED\nhttp_access allow users\n"
    } else {
        "http_access allow localhost\n"
    };
    let config = format!(
        "http_port 127.0.0.1:PORT\n{access}http_access deny all\ncache deny all\npid_filename none\n\
         pinger_enable off\nclient_idle_pconn_timeout 1 second\ncache_log DIR/cache.log\n\
         logformat counted %>p %un %>Hs\naccess_log stdio:DIR/access.log logformat=counted\n\
         buffered_logs off\nshutdown_lifetime 0 seconds\n",
    );
    let users = "while read -r user password; do\n\
                 case \"$user $password\" in \"user secret\" | \"other secret\") echo OK ;; *) echo ERR ;; esac\ndone\n";
    Proxy::start_with(name, "squid", &["-N", "-f"], &config, &[("users", users)])
}

/// Lets in everybody, or `user` with the password `secret` alone.
pub fn microsocks(with_users: bool) -> Server {
    Server::start(|address| {
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &address.port().to_string()]);
        if with_users {
            command.args(["-u", "user", "-P", "secret"]);
        }
        command
    })
}

/// Goes everywhere but to port 9. Lets in everybody, or `user` with the password `secret` alone: it asks the system for
/// its users, and sees another list of them, in a mount namespace of its own. That needs root.
pub fn dante(name: &str, with_users: bool) -> Proxy {
    const SECRET: &str = "$5$conncache$yUPSoOGRKTW5a9wAgv5Fxv0ox0pycmVdqT2cAXLE69.";
    let config = format!(
        "errorlog: /dev/null\nlogoutput: /dev/null\ninternal: 127.0.0.1 port = PORT\nexternal: lo\n\
         clientmethod: none\nsocksmethod: {}\nuser.privileged: root\nuser.unprivileged: nobody\n\
         client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
         socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 port = 9 }}\n\
         socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n",
        if with_users { "username" } else { "none" }
    );
    if !with_users {
        return Proxy::start(name, "danted", &["-f"], &config);
    }
    let script =
        "cd \"${0%/*}\" && mount --bind passwd /etc/passwd && mount --bind shadow /etc/shadow && exec danted -f config";
    let others = "root:x:0:0::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n";
    let files = [
        ("passwd", &*format!("{others}user:x:64123:65534::/:/bin/false\n")),
        ("shadow", &format!("user:{SECRET}:19000:0:99999:7:::\n")),
    ];
    Proxy::start_with(name, "unshare", &["--mount", "sh", "-c", script], &config, &files)
}
