//! Exported topologies on a cluster of Storm on loopback: ZooKeeper, nimbus, a supervisor and two
//! workers for each topology, each a process. Only with `tests/run --long`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::local::{
    WORDS, capture, export, jars, java, post, posts, quickstarts, quickstarts_are_equal,
    word_counts,
};
use super::support::Sandbox;

/// A worker that dies is started again after some ten seconds on an idle machine.
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
        for worker in self.workers("") {
            // A worker that has ended already is no failure.
            let _ = Command::new("kill").args(["-9", &worker]).status();
        }
    }
}

/// The number of topologies that a cluster runs at the same time, with two workers each.
const TOPOLOGIES: usize = 3;

impl Cluster {
    fn start(sandbox: &Sandbox) -> Self {
        let home = sandbox.path("storm");
        for folder in ["conf", "log4j2", "logs", "bin"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        for folder in ["lib", "lib-worker"] {
            symlink(jars(), home.join(folder)).unwrap();
        }
        let ports: Vec<u16> = free_ports(3 + 2 * TOPOLOGIES);
        let conf = format!(
            "storm.zookeeper.servers: [\"127.0.0.1\"]\nstorm.zookeeper.port: {}\n\
             nimbus.seeds: [\"127.0.0.1\"]\nnimbus.thrift.port: {}\nsupervisor.thrift.port: {}\n\
             storm.local.dir: {:?}\nstorm.local.hostname: \"127.0.0.1\"\n\
             supervisor.slots.ports: {:?}\nworker.childopts: \"-Xmx256m\"\n\
             storm.metricstore.class: \"org.apache.storm.metricstore.NoOpMetricStore\"\n",
            ports[0],
            ports[1],
            ports[2],
            sandbox.path("local"),
            &ports[3..],
        );
        fs::write(home.join("conf/storm.yaml"), conf).unwrap();
        let log = "<configuration>\
                   <appenders><Console name=\"A\" target=\"SYSTEM_OUT\">\
                   <PatternLayout pattern=\"%d %c{1.} [%p] %msg%n\"/></Console></appenders>\
                   <loggers><root level=\"info\"><appender-ref ref=\"A\"/></root></loggers>\
                   </configuration>";
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

    /// The process ids of the workers of a topology, or of all.
    fn workers(&self, topology: &str) -> Vec<String> {
        let (home, class) = (self.home.display(), "org.apache.storm.daemon.worker.Worker");
        // The id of a topology on Storm is its name with a number and a time behind it.
        let pattern = format!("storm.home={home}.*{class} {topology}");
        let found = Command::new("pgrep").args(["-fa", &pattern]).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        // Beside each worker is a process that writes its log.
        let found = found.lines().filter(|line| !line.contains("LogWriter"));
        found.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
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

fn kill_9(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

#[test]
fn exported_topologies_give_the_same_on_a_cluster_and_lose_nothing_when_it_is_killed() {
    if std::env::var_os("WATERSPOUT_LONG").is_none() {
        println!("not run: only with tests/run --long");
        return;
    }
    let sandbox = Sandbox::new();
    let cluster = Cluster::start(&sandbox);
    let begun = Instant::now();
    let tell = |what: &str| println!("{:>4} s: {what}", begun.elapsed().as_secs());
    counts_are_the_same(&cluster);
    tell("the word count has the same counts");
    nothing_is_lost_by_kills(&cluster);
    tell("the capture has the same posts, after the ends of a worker and of a shell process");
    // The spout of the quickstart never rests, so it comes last.
    the_quickstart_is_the_same(&cluster);
    tell("the quickstart has the same counts");
}

fn counts_are_the_same(cluster: &Cluster) {
    let sandbox = Sandbox::new();
    let expected = word_counts(&sandbox);
    export(&sandbox, "there.ron", "flux", &["--workers", "2"]);
    cluster.submit(&sandbox.path("flux/topology.yaml"));
    let lake = sandbox.path("there");
    cluster.until("all counts", || posts(&lake).len() >= expected.len());
    assert_eq!(posts(&lake), expected);
    assert_eq!(cluster.workers("words-").len(), 2);
}

fn nothing_is_lost_by_kills(cluster: &Cluster) {
    let sandbox = Sandbox::new();
    sandbox.write("in.ndjson", (0..POSTS).map(|id| post(id) + "\n").collect::<String>());
    capture(&sandbox);
    export(&sandbox, "capture.ron", "flux", &["--workers", "2"]);
    cluster.submit(&sandbox.path("flux/topology.yaml"));
    let lake = sandbox.path("lake");
    cluster.until("two workers with some posts", || {
        cluster.workers("capture-").len() == 2 && !posts(&lake).is_empty()
    });
    kill_9(&cluster.workers("capture-")[0]);
    let before = posts(&lake).len();
    println!("a worker is killed when {before} of {POSTS} posts are there");
    assert!(before < POSTS, "the worker is killed in the middle");
    cluster.until("more posts", || posts(&lake).len() > before);
    // The word count, which has ended, has a component of that name too.
    let workers = cluster.workers("capture-").join(",");
    let found = Command::new("pgrep")
        .args(["-P", &workers, "-f", "waterspout storm component lake"])
        .output();
    let pids = String::from_utf8(found.unwrap().stdout).unwrap();
    kill_9(pids.lines().next().expect("a component that writes the lake"));
    let before = posts(&lake).len();
    println!("a shell process is killed when {before} of {POSTS} posts are there");
    assert!(before < POSTS, "the shell process is killed in the middle");
    cluster.until("all posts", || posts(&lake).len() >= POSTS);
    let found: BTreeSet<String> = posts(&lake).into_keys().collect();
    assert_eq!(found, (0..POSTS).map(post).collect());
}

fn the_quickstart_is_the_same(cluster: &Cluster) {
    let sandbox = Sandbox::new();
    quickstarts(&sandbox);
    export(&sandbox, "there.ron", "flux", &["--workers", "2"]);
    cluster.submit(&sandbox.path("flux/topology.yaml"));
    let lake = sandbox.path("there");
    cluster.until("some words", || posts(&lake).len() > WORDS);
    quickstarts_are_equal(&sandbox);
    assert_eq!(cluster.workers("quickstart-").len(), 2);
}
