//! The way to the server: TLS as `sslmode` says, and what is said where it doesn't work.

use std::net::TcpListener;

use waterspout::secret::Secret;
use waterspout::warehouse::session::Warehouse;

use crate::support::postgres_server::PostgresServer;

/// Returns true if the server reports an encrypted session for this address, or the error.
fn encrypted(server: &PostgresServer, port: u16, url: &str) -> Result<bool, String> {
    let warehouse = Warehouse::at(&Secret::new(url), "waterspout").map_err(|e| e.chain())?;
    let session = warehouse.connect().map_err(|error| error.chain())?;
    let ssl = "select bool_or(ssl) from pg_stat_ssl join pg_stat_activity using (pid) \
               where application_name = 'waterspout'";
    let asked = server
        .program("psql")
        .args(["-X", "-qAt", "-p", &port.to_string(), "-d", &server.url("postgres"), "-c", ssl])
        .output()
        .unwrap();
    drop(session);
    Ok(String::from_utf8(asked.stdout).unwrap().trim() == "t")
}

#[test]
fn tls_is_what_sslmode_says() {
    let Some(server) = PostgresServer::with_tls() else {
        println!("skipped: Debian's package postgresql isn't installed");
        return;
    };
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    server.tell(&format!("tls {port}"));
    let root = server.authority("root.crt").display().to_string();
    let other = server.authority("other.crt").display().to_string();
    let at = |host: &str, options: &str| {
        let url = format!("postgresql://postgres@{host}:{port}/postgres?{options}");
        encrypted(&server, port, &url)
    };
    for (host, options, expected) in [
        ("localhost", "sslmode=disable".to_owned(), false),
        ("localhost", "sslmode=allow".into(), false),
        ("localhost", "sslmode=prefer".into(), true),
        ("localhost", String::new(), true),
        ("127.0.0.1", "sslmode=require".into(), true),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={root}"), true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={root}"), true),
        ("127.0.0.1", format!("sslmode=prefer&sslrootcert={other}"), true),
    ] {
        assert_eq!(at(host, &options), Ok(expected), "{host} {options}");
    }
    for (host, options, why) in [
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={root}"), "not valid for name"),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={other}"), "certificate"),
        ("localhost", format!("sslmode=require&sslrootcert={other}"), "certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=/nonesuch".into(), "/nonesuch"),
        ("localhost", "sslrootcert=system".into(), "certificate"),
    ] {
        let error = at(host, &options).unwrap_err();
        assert!(error.contains(why), "{host} {options}: {error}");
    }
    server.tell("only-tls");
    assert_eq!(at("localhost", "sslmode=allow"), Ok(true));
    let error = at("localhost", "sslmode=disable").unwrap_err();
    assert!(error.contains("pg_hba.conf"), "{error}");
}
