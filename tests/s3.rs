//! A lake in S3, against a server that nobody here wrote: see `support/s3_server.rs`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::collections::BTreeSet;

use bytes::Bytes;
use support::Sandbox;
use support::proxy::Proxy;
use support::s3_server::{ID, KEY, S3Server};
use support::sign::escape;
use waterspout::error::Kind;
use waterspout::lake::store::conformance::conformance;
use waterspout::lake::store::s3::{ConditionalPut, S3, S3Store};
use waterspout::lake::store::{Put, Store};
use waterspout::secret::Secret;

fn config(server: &S3Server, prefix: &str) -> S3 {
    S3 {
        bucket: "lake".into(),
        prefix: prefix.into(),
        endpoint: Some(server.endpoint()),
        region: Some("us-east-1".into()),
        access_key_id: Some(Secret::new(ID)),
        secret_access_key: Some(Secret::new(KEY)),
        ..S3::default()
    }
}

fn store(server: &S3Server, prefix: &str) -> S3Store {
    S3Store::open(&config(server, prefix)).unwrap()
}

/// One of each client that was built in.
fn clients(config: &S3) -> Vec<Box<dyn Store>> {
    vec![
        Box::new(S3Store::open(config).unwrap()),
        #[cfg(feature = "rusoto")]
        Box::new(waterspout::lake::store::s3::rusoto::RusotoStore::open(config).unwrap()),
    ]
}

fn keys(store: &dyn Store, prefix: &str, after: Option<&str>, max: usize) -> Vec<String> {
    store.list(prefix, after, max).unwrap().into_iter().map(|object| object.key).collect()
}

#[test]
fn what_is_put_is_there_once_and_whole() {
    let server = S3Server::with_bucket("lake");
    let store = store(&server, "a/b");
    assert_eq!(store.put("key", Bytes::from_static(b"0123456789")).unwrap(), Put::Stored);
    assert_eq!(store.put("key", Bytes::from_static(b"other")).unwrap(), Put::Exists);
    assert_eq!(store.get("key").unwrap().unwrap(), "0123456789");
    for (range, wanted) in [(2..4, "23"), (8..99, "89"), (10..12, ""), (99..100, ""), (3..3, "")] {
        assert_eq!(store.get_range("key", range.clone()).unwrap().unwrap(), wanted, "{range:?}");
    }
    store.replace("key", Bytes::from_static(b"new")).unwrap();
    assert_eq!(store.get("key").unwrap().unwrap(), "new");
    store.delete("key").unwrap();
    store.delete("key").unwrap();
    assert_eq!(store.get("key").unwrap(), None);
    assert_eq!(store.get_range("key", 0..1).unwrap(), None);
    assert_eq!(store.get_range("key", 0..0).unwrap(), None);
    let large = Bytes::from((0..20_000_000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    assert_eq!(store.put("large", large.clone()).unwrap(), Put::Stored);
    assert!(store.get("large").unwrap().unwrap() == large);
    assert_eq!(
        store.get_range("large", 19_999_990..u64::MAX).unwrap().unwrap(),
        large[19_999_990..]
    );
    assert_eq!(store.put("empty", Bytes::new()).unwrap(), Put::Stored);
    assert_eq!(store.get("empty").unwrap().unwrap(), "");
}

/// Whoever puts has to know that the answer to the first request was lost: by the second its object
/// may be replaced.
#[test]
fn a_put_with_a_condition_is_sent_once() {
    for way in [ConditionalPut::IfNoneMatch, ConditionalPut::HeadThenPut] {
        let server = S3Server::with_bucket("lake");
        let proxy = Proxy::losing_the_first_answer(server.port);
        let config = S3 {
            endpoint: Some(proxy.endpoint()),
            conditional_put: Some(way),
            ..config(&server, "")
        };
        let store = S3Store::open(&config).unwrap();
        if way == ConditionalPut::IfNoneMatch {
            assert_eq!(
                store.put("key", Bytes::from_static(b"1")).unwrap_err().kind(),
                Kind::Transient
            );
            assert_eq!(proxy.refused(), 1, "it isn't repeated by itself");
            assert_eq!(store.put("key", Bytes::from_static(b"1")).unwrap(), Put::Exists);
        } else {
            assert_eq!(store.put("key", Bytes::from_static(b"1")).unwrap(), Put::Stored);
            assert_eq!(store.put("key", Bytes::from_static(b"2")).unwrap(), Put::Exists);
            assert_eq!(proxy.refused(), 0);
        }
    }
}

#[test]
fn it_does_what_every_store_does() {
    let server = S3Server::with_bucket("lake");
    for prefix in ["", "a/b"] {
        clients(&config(&server, prefix)).iter().for_each(|store| conformance(&**store));
    }
}

#[test]
fn keys_are_listed_in_order_beyond_a_page() {
    let server = S3Server::with_bucket("lake");
    for number in 0..1_100 {
        assert_eq!(server.request("PUT", &format!("/lake/root/p/{number:07}"), b"[]").0, 200);
    }
    assert_eq!(server.request("PUT", "/lake/rooted/p/0", b"[]").0, 200);
    let store = store(&server, "/root/");
    let odd = ["2015-12-18T00:00:00-a/0000000", "a b+c&d=e/%41%", "q/ü漢", "q#~", "_dead/*?[x]"];
    for key in odd {
        assert_eq!(store.put(key, Bytes::from_static(b"x")).unwrap(), Put::Stored, "{key}");
        assert_eq!(store.get(key).unwrap().unwrap(), "x", "{key}");
    }
    let all = keys(&store, "", None, usize::MAX);
    assert_eq!(all.len(), 1_105);
    assert!(all.is_sorted());
    assert!(odd.iter().all(|key| all.iter().any(|found| found == key)), "{odd:?}");
    assert_eq!(keys(&store, "p/", None, 1_050).len(), 1_050);
    assert_eq!(keys(&store, "p/", Some("p/0001097"), 10), ["p/0001098", "p/0001099"]);
    assert_eq!(keys(&store, "p/00000", Some("p/0000098"), 10), ["p/0000099"]);
    assert_eq!(keys(&store, "none", None, 10), Vec::<String>::new());
    assert_eq!(
        store.names("").unwrap(),
        ["2015-12-18T00:00:00-a/", "_dead/", "a b+c&d=e/", "p/", "q#~", "q/"]
    );
    assert_eq!(store.names("q/").unwrap(), ["ü漢"]);
    assert_eq!(store.names("p/").unwrap().len(), 1_100);
    for bad in ["/a", "a/", "a//b", "../a", "a/./b", ""] {
        let error = self::store(&server, "").put(bad, Bytes::new()).unwrap_err();
        assert_eq!(error.kind(), Kind::Fatal, "{bad:?}");
    }
}

#[test]
fn errors_say_what_happened_where_and_keep_secrets() {
    let server = S3Server::with_bucket("lake");
    for missing in clients(&S3 { bucket: "missing".into(), ..config(&server, "") }) {
        for error in
            [missing.put("key", Bytes::new()).unwrap_err(), missing.get("key").unwrap_err()]
        {
            assert_eq!(error.kind(), Kind::Fatal);
            assert!(error.chain().contains("\"s3://missing/key\": 404 NoSuchBucket"), "{error:?}");
        }
    }
    let gone = clients(&config(&server, ""));
    drop(server);
    for error in gone.iter().map(|gone| gone.put("key", Bytes::new()).unwrap_err()) {
        assert_eq!(error.kind(), Kind::Transient);
        assert!(error.chain().contains("can't put \"s3://lake/key\": "), "{error:?}");
        let secrets = BTreeSet::from([KEY, "secret", "Authorization", "Signature"]);
        assert!(secrets.iter().all(|secret| !error.chain().contains(secret)), "{error:?}");
    }
}

/// A sandbox with the shared files of AWS, whose profile `work` gets into the server's bucket.
fn with_profile(server: &S3Server) -> Sandbox {
    let sandbox = Sandbox::new();
    let key = format!("[work]\naws_access_key_id = {ID}\naws_secret_access_key = {KEY}\n");
    sandbox.write(
        "credentials",
        format!("[default]\naws_access_key_id = other\naws_secret_access_key = x\n{key}"),
    );
    let endpoint = server.endpoint();
    let place = format!("region = us-east-1\nendpoint_url = {endpoint}\n");
    let printed = format!(r#"{{"Version": 1, "AccessKeyId": "{ID}", "SecretAccessKey": "{KEY}"}}"#);
    let process = format!("[profile process]\n{place}credential_process = echo '{printed}'\n");
    sandbox.write("config", format!("[profile work]\n{place}{process}"));
    sandbox
}

const SHARED: [(&str, &str); 2] =
    [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")];

#[test]
fn the_shared_files_of_aws_say_how_to_get_in() {
    let server = S3Server::with_bucket("lake");
    let sandbox = with_profile(&server);
    let name = "root/2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000000";
    assert_eq!(
        server.request("PUT", &format!("/lake/{}", escape(name, "/")), b"[{\"tweet\":1}]").0,
        200
    );
    let cat = |more: &[(&str, &str)]| {
        sandbox.run_with(&["lake", "cat", "s3://lake/root"], &[&SHARED, more].concat())
    };
    for client in ["object_store", "rusoto"] {
        let more = [("AWS_PROFILE", "work"), ("WATERSPOUT_S3_CLIENT", client)];
        if client == "rusoto" && cfg!(not(feature = "rusoto")) {
            cat(&more).with(1).says(&["build it with --features rusoto"]);
            continue;
        }
        assert_eq!(cat(&more).with(0).out, "{\"tweet\":1}\n");
    }
    assert_eq!(cat(&[("AWS_PROFILE", "process")]).with(0).out, "{\"tweet\":1}\n");
    let missing = cat(&[("AWS_PROFILE", "nobody")]).with(1);
    assert!(!missing.err.contains(KEY), "a secret is printed");
    missing.says(&[
        "the profile \"nobody\" of AWS_PROFILE is neither in \"credentials\" nor in \"config\"",
    ]);
}
