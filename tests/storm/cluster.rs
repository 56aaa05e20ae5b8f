//! Exported topologies on a cluster of Storm on loopback: ZooKeeper, nimbus, a supervisor and two
//! workers, each a process. Only with `tests/run --long`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::local::{export, jars, java, posts};
use super::support::Sandbox;

/// A worker that dies is started again after some ten seconds, on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(600);

const POSTS: usize = 100_000;

/// The daemons of a cluster, which end with the test, and its workers with them.
struct Cluster {
    home: PathBuf,
    daemons: Vec<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        for worker in workers(&self.home) {
            // One that has ended needs no more.
            let _ = Command::new("kill").args(["-9", &worker]).status();
        }
    }
}

/// The process ids of the workers of a cluster.
fn workers(home: &Path) -> Vec<String> {
    let pattern = format!("storm.home={}.*org.apache.storm.daemon.worker.Worker", home.display());
    let found = Command::new("pgrep").args(["-fa", &pattern]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    // Beside each worker is a process that writes its log.
    let found = found.lines().filter(|line| !line.contains("LogWriter"));
    found.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

impl Cluster {
    fn start(sandbox: &Sandbox) -> Self {
        let home = sandbox.path("storm");
        for folder in ["conf", "log4j2", "logs", "bin"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        for folder in ["lib", "lib-worker"] {
            symlink(jars(), home.join(folder)).unwrap();
        }
        let ports: Vec<u16> = free_ports(5);
        let conf = format!(
            "storm.zookeeper.servers: [\"127.0.0.1\"]\nstorm.zookeeper.port: {}\nnimbus.seeds: [\"127.0.0.1\"]\n\
             nimbus.thrift.port: {}\nsupervisor.thrift.port: {}\nstorm.local.dir: {:?}\nstorm.local.hostname: \"127.0.0.1\"\n\
             supervisor.slots.ports: [{}, {}]\nworker.childopts: \"-Xmx256m\"\nstorm.metricstore.class: \
             \"org.apache.storm.metricstore.NoOpMetricStore\"\n",
            ports[0],
            ports[1],
            ports[2],
            sandbox.path("local"),
            ports[3],
            ports[4],
        );
        fs::write(home.join("conf/storm.yaml"), conf).unwrap();
        let log = "<configuration><appenders><Console name=\"A\" target=\"SYSTEM_OUT\"><PatternLayout pattern=\"%d %c{1.} \
                   [%p] %msg%n\"/></Console></appenders><loggers><root level=\"info\"><appender-ref ref=\"A\"/></root>\
                   </loggers></configuration>";
        for name in ["cluster.xml", "worker.xml"] {
            fs::write(home.join("log4j2").join(name), log).unwrap();
        }
        let mut cluster = Self { home, daemons: Vec::new() };
        let data = sandbox.path("zookeeper");
        let port = ports[0].to_string();
        cluster.daemon(
            "org.apache.storm.shade.org.apache.zookeeper.server.ZooKeeperServerMain",
            &[&port, data.to_str().unwrap()],
        );
        wait_for_port(ports[0]);
        cluster.daemon("org.apache.storm.daemon.nimbus.Nimbus", &[]);
        wait_for_port(ports[1]);
        cluster.daemon("org.apache.storm.daemon.supervisor.Supervisor", &[]);
        cluster
    }

    /// A Java with the class path and the options of the cluster.
    fn java(&self) -> Command {
        let (java, home) = (java(), self.home.display());
        let mut command = Command::new(&java);
        let bin = Path::new(&java).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .arg("-Xmx256m")
            .arg(format!("-Dstorm.home={home}"))
            .arg(format!("-Dstorm.log.dir={home}/logs"))
            .arg("-Dstorm.conf.file=storm.yaml")
            .arg(format!("-Dlog4j.configurationFile={home}/log4j2/cluster.xml"))
            .args(["-cp", &format!("{home}/lib/*:{home}/conf")])
            .env("JAVA_HOME", bin.parent().unwrap())
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("XDG_STATE_HOME", self.home.join("state"))
            .current_dir(&self.home)
            .stdin(Stdio::null());
        command
    }

    fn daemon(&mut self, class: &str, arguments: &[&str]) {
        let name = class.rsplit('.').next().unwrap();
        let log = fs::File::create(self.home.join("logs").join(name)).unwrap();
        let mut command = self.java();
        command.arg(class).args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
    }

    fn submit(&self, flux: &Path) {
        // Workers find Flux in the class path of the cluster: any jar may be sent.
        let jar = jars().join("flux-core-2.8.3.jar");
        let mut command = self.java();
        command
            .env("JAVA_TOOL_OPTIONS", format!("-Dstorm.jar={}", jar.display()))
            .arg("org.apache.storm.flux.Flux")
            .arg(flux);
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let logs = self.home.join("logs");
            assert!(begun.elapsed() < PATIENCE, "{what} never came to be: see {}", logs.display());
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held: Vec<_> = (0..count).map(|_| bind()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn wait_for_port(port: u16) {
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < PATIENCE, "nobody listens on {port}");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

#[test]
fn a_cluster_of_two_workers_loses_nothing_when_a_worker_and_a_component_are_killed() {
    if std::env::var_os("WATERSPOUT_LONG").is_none() {
        println!("not run: only with tests/run --long");
        return;
    }
    let sandbox = Sandbox::new();
    let post = |id: usize| format!("{{\"tweet\":{{\"z\":{id},\"a\": \"\\u00e9\"}}}}");
    let lines: String = (0..POSTS).map(|id| post(id) + "\n").collect();
    sandbox.write("in.ndjson", lines);
    let (input, root) = (sandbox.path("in.ndjson"), sandbox.path("lake"));
    sandbox.write(
        "capture.ron",
        format!(
            "Topology(name: \"capture\", \
                spouts: {{ \"in\": Spout(run: Lines(paths: [{input:?}])) }}, \
                bolts: {{ \"lake\": Bolt(run: Local(root: {root:?}), inputs: [LocalOrShuffle(\"in\")], \
                                         parallelism_hint: 2) }}, \
                micro_batch: MicroBatch(posts: 500))"
        ),
    );
    export(&sandbox, "capture.ron", "flux", &["--workers", "2"]);
    let cluster = Cluster::start(&sandbox);
    cluster.submit(&sandbox.path("flux/topology.yaml"));
    let lake = sandbox.path("lake");
    let kill = |pid: &str| {
        assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
    };
    cluster.until("two workers with some posts", || {
        workers(&cluster.home).len() == 2 && !posts(&lake).is_empty()
    });
    kill(&workers(&cluster.home)[0]);
    let before = posts(&lake).len();
    cluster.until("more posts", || posts(&lake).len() > before || before == POSTS);
    let found = Command::new("pgrep").args(["-f", "waterspout storm component lake"]).output();
    let pids = String::from_utf8(found.unwrap().stdout).unwrap();
    if let Some(pid) = pids.lines().next() {
        kill(pid);
    }
    cluster.until("all posts", || posts(&lake).len() >= POSTS);
    let found: BTreeSet<String> = posts(&lake).into_keys().collect();
    assert_eq!(found, (0..POSTS).map(post).collect());
}
