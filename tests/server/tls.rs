//! A server with TLS, asked by curl.

use std::process::{Command, Output};

use super::world::World;

/// Makes a certificate for this machine's own address that is its own authority.
fn make_certificate(world: &World) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(world.sandbox.path("."))
        .output()
        .expect("openssl is missing: install Debian's package openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn curl(world: &World, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments)
        .current_dir(world.sandbox.path("."))
        .output()
        .expect("curl is missing: install Debian's package curl")
}

/// Returns the status and the body that curl gets.
fn answer(world: &World, arguments: &[&str]) -> (String, String) {
    let ended = curl(world, &[&["--write-out", "\n%{http_code}"], arguments].concat());
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let said = String::from_utf8(ended.stdout).unwrap();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[test]
fn curl_reaches_a_server_with_tls_only_by_its_certificate_and_its_token() {
    let world = World::new();
    make_certificate(&world);
    let server = world.serve(&["--tls-cert", "certificate.pem", "--tls-key", "key.pem"]);
    let list = format!("{}/api/v1/topologies", server.url);
    assert!(list.starts_with("https://"), "{list}");
    let trusted = ["--cacert", "certificate.pem"];
    let token = format!("Authorization: Bearer {}", server.token());
    let (status, body) = answer(&world, &[&trusted[..], &["--header", &token, &list]].concat());
    assert_eq!((status.as_str(), body.as_str()), ("200", "{\"topologies\":[]}"));
    let wrong = "Authorization: Bearer wrong";
    let (status, body) = answer(&world, &[&trusted[..], &["--header", wrong, &list]].concat());
    assert_eq!(status, "401");
    assert!(body.contains("the token is wrong"), "{body}");
    let (status, _) = answer(&world, &[&trusted[..], &[&list]].concat());
    assert_eq!(status, "401");
    // The session's cookie never leaves the encrypted connection.
    let login = format!("{}/login", server.url);
    let form = format!("token={}", server.token());
    let entered = curl(&world, &[&trusted[..], &["--include", "--data", &form, &login]].concat());
    let entered = String::from_utf8_lossy(&entered.stdout).to_lowercase();
    assert!(entered.contains("secure") && entered.contains("httponly"), "{entered}");
    // Without the certificate curl refuses the server, and plain HTTP gets no answer.
    let refused = curl(&world, &["--header", &token, &list]);
    assert_eq!(refused.status.code(), Some(60), "{}", String::from_utf8_lossy(&refused.stderr));
    let plain = list.replace("https://", "http://");
    assert!(!curl(&world, &["--header", &token, &plain]).status.success());
    server.stop().with(0);
}

#[test]
fn a_wrong_certificate_is_named_at_the_start() {
    let world = World::new();
    make_certificate(&world);
    world.sandbox.write("empty.pem", "");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", "empty.pem"];
    let ended = world.sandbox.run(&[&serve[..], &["--tls-key", "key.pem"]].concat());
    ended.with(1).says(&["empty.pem"]);
}
