//! The page, as a browser without a script gets it.

use super::world::{Answer, Server, World, capture};

/// Whoever has logged in.
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
