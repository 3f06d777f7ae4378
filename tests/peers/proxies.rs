//! Real proxies, configured.

use crate::servers::Server;
use crate::temp_dir::TempDir;
use std::fs;
use std::process::Command;

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

    /// Starts `program`, which takes a configuration file behind these arguments. `PORT` in it stands for its port,
    /// `DIR` for its directory.
    #[track_caller]
    fn start(name: &str, program: &str, args: &[&str], config: &str) -> Proxy {
        let dir = TempDir::new(name);
        let d = dir.path();
        fs::create_dir(d).unwrap();
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

/// Closes each connection after one response, and doesn't say so. Opens tunnels to these ports alone.
pub fn tinyproxy(name: &str, tunnels: &[u16]) -> Proxy {
    let ports: String = tunnels.iter().map(|port| format!("ConnectPort {port}\n")).collect();
    let config = format!("Port PORT\nListen 127.0.0.1\n{ports}MaxClients 200\nLogLevel Critical\nTimeout 600\n");
    Proxy::start(name, "tinyproxy", &["-d", "-c"], &config)
}

/// Closes connections that were inactive for a second. Knows one user, `user` with the password `secret`, or lets
/// everybody in. Its log has a line per request: the client's port, the status, the method and the target.
pub fn squid(name: &str, with_users: bool) -> Proxy {
    let access = if with_users {
        "auth_param basic program /bin/sh DIR/users\nauth_param basic children 1\n\
         acl users proxy_auth REQUIRED\nhttp_access allow users\n"
    } else {
        "http_access allow localhost\n"
    };
    let users = TempDir::new(&format!("{name}-log"));
    // It gives up being root, and has to be able to write its log.
    fs::create_dir(users.path()).unwrap();
    let d = users.path();
    let check = "while read -r user password; do\n\
                 case \"$user $password\" in \"user secret\") echo OK ;; *) echo ERR ;; esac\ndone\n";
    fs::write(format!("{d}/users"), check).unwrap();
    let _ = Command::new("chown").args(["proxy", d]).status();
    let config = format!(
        "http_port 127.0.0.1:PORT\n{access}http_access deny all\ncache deny all\npid_filename none\n\
         pinger_enable off\nclient_idle_pconn_timeout 1 second\ncache_log {d}/cache.log\n\
         logformat counted %>p %>Hs %rm %ru\naccess_log stdio:{d}/access.log logformat=counted\n\
         buffered_logs off\nshutdown_lifetime 0 seconds\n",
    )
    .replace("DIR", d);
    let Proxy { server, .. } = Proxy::start(name, "squid", &["-N", "-f"], &config);
    Proxy { server, dir: users }
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

/// Goes everywhere but to port 9. With `method` none or username; then the system's users count.
pub fn dante(name: &str, method: &str) -> Proxy {
    let config = format!(
        "errorlog: /dev/null\nlogoutput: /dev/null\ninternal: 127.0.0.1 port = PORT\nexternal: lo\n\
         clientmethod: none\nsocksmethod: {method}\nuser.privileged: root\nuser.unprivileged: nobody\n\
         client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
         socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 port = 9 }}\n\
         socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n"
    );
    Proxy::start(name, "danted", &["-f"], &config)
}
