//! A real PostgreSQL server for the tests: made in a directory of its own, on a free port of this machine, and stopped
//! when the test process ends, however that ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Password of the owner `bankfeed`.
pub const PASSWORD: &str = "se/cret";

/// A running server.
pub struct Postgres {
    dir: tempfile::TempDir,
    bin: PathBuf,
    pub port: u16,
    options: String,
    /// Ends the server when its pipe closes.
    keeper: Option<(Child, ChildStdin)>,
}

static SHARED: OnceLock<Postgres> = OnceLock::new();
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// The server that all tests of this process share; each uses a schema of its own.
pub fn shared() -> &'static Postgres {
    SHARED.get_or_init(|| {
        // What a killed server keeps is another test's matter.
        let server = Postgres::start("-c fsync=off -c synchronous_commit=off -c max_connections=300");
        server.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'; CREATE ROLE reader LOGIN PASSWORD 'reader'");
        server
    })
}

/// Tries to start a server before the failure counts.
const LAUNCHES: u32 = 30;

/// The name of a schema that no other test has.
pub fn fresh_schema() -> String {
    format!("s{}", SCHEMAS.fetch_add(1, Ordering::Relaxed))
}

/// The folder of the newest server on this machine.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("apt-get install postgresql");
    let number = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.map(|entry| entry.unwrap().path()).max_by_key(|path| number(path));
    newest.expect("apt-get install postgresql").join("bin")
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A command of the server's, which refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
}

impl Postgres {
    /// Makes a server and starts it.
    pub fn start(options: &str) -> Postgres {
        let dir = match Path::new("/dev/shm").is_dir() {
            true => tempfile::tempdir_in("/dev/shm").unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        Postgres::start_in(dir, options)
    }

    fn start_in(dir: tempfile::TempDir, options: &str) -> Postgres {
        let bin = binaries();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()));
        }
        std::fs::write(dir.path().join("password"), PASSWORD).unwrap();
        let mut made = as_postgres(&bin.join("initdb"));
        made.arg("-D").arg(dir.path().join("data"));
        made.args(["-U", "bankfeed", "--auth-host=scram-sha-256", "--auth-local=trust", "-E", "UTF8"]);
        made.args(["--locale=C.UTF-8", "--no-sync"]);
        made.arg(format!("--pwfile={}", dir.path().join("password").display()));
        run(&mut made);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Postgres { dir, bin, port, options: options.to_owned(), keeper: None };
        server.launch();
        server.keep();
        server.sql_in("postgres", "CREATE DATABASE money");
        server
    }

    /// Starts it, and waits until it takes connections. A server refuses to start while processes of a killed one are
    /// there; on a busy machine these take their time to notice.
    pub fn launch(&self) {
        let (dir, port) = (self.dir.path().display(), self.port);
        let options = format!("-p {port} -k {dir} -c listen_addresses=127.0.0.1 {}", self.options);
        let start = || {
            let mut start = self.control();
            start.arg("-l").arg(self.dir.path().join("log")).args(["-w", "-o", &options, "start"]);
            start
        };
        for _ in 0..LAUNCHES {
            if start().stdin(Stdio::null()).output().unwrap().status.success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        run(&mut start());
    }

    /// Stops it as a lost supply of power would, as far as a program can.
    pub fn stop_at_once(&self) {
        run(self.control().args(["-m", "immediate", "stop"]));
    }

    /// `kill -9` of its first process; the others end with it.
    pub fn kill(&self) {
        let text = std::fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap();
        let pid = text.lines().next().unwrap().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    fn control(&self) -> Command {
        let mut command = as_postgres(&self.bin.join("pg_ctl"));
        command.arg("-D").arg(self.dir.path().join("data"));
        command
    }

    /// Starts the process that stops the server once this one has ended.
    fn keep(&mut self) {
        let stop = format!("{:?} >/dev/null 2>&1", self.control().args(["-m", "immediate", "stop"]));
        let script = format!("trap '' INT; cat >/dev/null; {stop}; rm -rf '{}'", self.dir.path().display());
        let mut keeper = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        let pipe = keeper.stdin.take().unwrap();
        self.keeper = Some((keeper, pipe));
    }

    /// The address for the owner of everything, through this port.
    pub fn url(&self, port: u16) -> String {
        format!("postgres://bankfeed:{}@127.0.0.1:{port}/money", PASSWORD.replace('/', "%2F"))
    }

    /// Runs SQL over the socket, by the server's own client.
    pub fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        self.sql_in("money", sql)
    }

    fn sql_in(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-F", "\u{1f}", "-R", "\u{1e}"]);
        psql.args(["-h", self.dir.path().to_str().unwrap(), "-p", &self.port.to_string(), "-U", "bankfeed"]);
        let mut psql = psql.args(["-d", database, "-f", "-"]);
        psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = psql.spawn().unwrap();
        running.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = running.wait_with_output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text.trim_end_matches('\n');
        let rows = text.split('\u{1e}').filter(|row| !row.is_empty());
        rows.map(|row| row.split('\u{1f}').map(str::to_owned).collect()).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some((mut keeper, pipe)) = self.keeper.take() {
            drop(pipe);
            let _ = keeper.wait();
        }
    }
}
