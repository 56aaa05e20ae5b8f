//! The page, as a browser without a script gets it.

use super::support::s3_server::{ID, KEY, S3Server};
use super::world::{Answer, Server, World, capture};

/// A user who has logged in.
struct Visitor<'s> {
    server: &'s Server,
    cookie: String,
}

impl Visitor<'_> {
    fn get(&self, path: &str) -> Answer {
        self.server.raw("GET", path, &[("Cookie", &self.cookie)], "")
    }

    fn send(&self, path: &str, form: &str) -> Answer {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        self.server.raw("POST", path, &[("Cookie", &self.cookie), kind], form)
    }
}

fn log_in(server: &Server) -> Visitor<'_> {
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let form = format!("token={}", server.token());
    let entered = server.raw("POST", "/login", &[kind], &form).with(303);
    assert_eq!(entered.header("location"), Some("/"));
    let cookie = entered.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    Visitor { server, cookie: cookie.split(';').next().unwrap().to_owned() }
}

#[test]
fn the_page_asks_for_the_token_once_and_shows_topologies() {
    let world = World::new();
    let server = world.serve(&[]);
    let name = "a <script>alert(1)<script> & b";
    server.submit(&capture(name, &world.path("lake"), 1_000_000, 100)).with(201);
    let asked = server.raw("GET", "/", &[], "").with(303);
    assert_eq!(asked.header("location"), Some("/login"));
    let login = server.raw("GET", "/login", &[], "").with(200);
    // With "no-referrer" a browser sends `Origin: null` with the form, which is refused.
    assert_eq!(login.header("referrer-policy"), Some("same-origin"));
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let wrong = server.raw("POST", "/login", &[kind], "token=x").with(401);
    assert!(wrong.body.contains("the token is wrong"), "{}", wrong.body);
    let visitor = log_in(&server);
    let escaped = "a &lt;script&gt;alert(1)&lt;script&gt; &amp; b";
    let address = "/topology/a%20%3Cscript%3Ealert%281%29%3Cscript%3E%20%26%20b";
    let mut bytes = 0;
    for path in ["/", "/live", "/new"] {
        let page = visitor.get(path).with(200);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
        assert!(!page.body.contains("<script>alert") && !page.body.contains("http://"), "{path}");
        bytes += page.body.len();
    }
    for path in ["/static/page.css", "/static/page.js", "/static/sign.svg"] {
        bytes += server.raw("GET", path, &[], "").with(200).body.len();
    }
    assert!(bytes < 150_000, "{bytes}");
    assert!(visitor.get("/").body.contains(escaped));
    assert!(visitor.get("/").body.contains(address), "{}", visitor.get("/").body);
    server.stop().with(0);
}

#[test]
fn one_topology_is_shown_and_changed_with_a_question_before_each_change() {
    let world = World::new();
    let server = world.serve(&[]);
    server.submit(&capture("one", &world.path("lake"), 1_000_000, 100)).with(201);
    let visitor = log_in(&server);
    let page = visitor.get("/topology/one").with(200).body;
    for part in ["<svg", "posts sends", "Checkpoints", "Messages", "Deactivate…"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    visitor.get("/topology/nonesuch").with(404);
    visitor.get("/topology/one/nonesuch").with(404);
    assert!(visitor.get("/topology/one/deactivate").with(200).body.contains("Cancel"));
    visitor.send("/topology/one/deactivate", "").with(303);
    server.wait_for_state("one", "inactive");
    visitor.send("/topology/one/activate", "").with(303);
    assert!(visitor.get("/topology/one/rebalance").with(200).body.contains("Tasks of lake"));
    visitor.send("/topology/one/rebalance", "lake=2&posts=1").with(303);
    server.wait_for_count("one", "lake", "tasks", 2);
    let refused = visitor.send("/topology/one/rebalance", "lake=x").with(409).body;
    assert!(refused.contains("expected a number"), "{refused}");
    visitor.send("/topology/one/kill", "purge=yes").with(303);
    server.wait("it is gone", || server.summary("one").is_null().then_some(()));
    visitor.send("/logout", "").with(303);
    server.stop().with(0);
}

/// Returns the targets of all links in a page that begin with a prefix.
fn links(page: &str, prefix: &str) -> Vec<String> {
    let targets = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    targets.filter(|target| target.starts_with(prefix)).map(str::to_owned).collect()
}

#[test]
fn a_lake_in_s3_is_browsed_down_to_its_posts() {
    let s3 = S3Server::with_bucket("lake");
    let world = World::new();
    let environment = [("TEST_S3_ID", ID), ("TEST_S3_KEY", KEY)];
    let server = world.serve_with(&["--allow-env", "TEST_S3_*"], &environment);
    let topology = format!(
        r#"Topology(
            name: "s3",
            spouts: {{"posts": Spout(run: Generate(posts: 45))}},
            bolts: {{"bucket": Bolt(
                run: S3(bucket: "lake", prefix: "root", endpoint: "{}", region: "us-east-1",
                        access_key_id: Env("TEST_S3_ID"), secret_access_key: Env("TEST_S3_KEY")),
                inputs: [Shuffle("posts")])}},
            checkpoint: Checkpoint(every: "50ms"),
        )"#,
        s3.endpoint()
    );
    server.submit(&topology).with(201);
    server.wait_for_state("s3", "finished");
    let visitor = log_in(&server);
    let data = visitor.get("/topology/s3/data").with(200).body;
    assert!(data.contains("Lake of bucket") && data.contains("s3://lake/root"), "{data}");
    let lake = visitor.get("/topology/s3/lake/bucket").with(200).body;
    let partitions = links(&lake, "/topology/s3/lake/bucket/");
    assert_eq!(partitions.len(), 1, "{lake}");
    let partition = visitor.get(&partitions[0]).with(200).body;
    let files = links(&partition, &format!("{}/", partitions[0]));
    assert_eq!(files.len(), 1, "{partition}");
    for (from, posts) in [(0, 20), (20, 20), (40, 5)] {
        let page = visitor.get(&format!("{}?from={from}", files[0])).with(200).body;
        assert_eq!(page.matches("<article class=\"post\">").count(), posts, "{page}");
    }
    for page in [data, lake, partition] {
        assert!(!page.contains(KEY), "a secret is shown: {page}");
    }
    // Without its server the page says what doesn't work.
    drop(s3);
    let gone = visitor.get("/topology/s3/data").with(200).body;
    assert!(gone.contains("class=\"message\"") && !gone.contains(KEY), "{gone}");
    server.stop().with(0);
}
