//! Tests the posts that an erase deletes, and the report on those that it leaves.

use std::sync::Arc;

use time::OffsetDateTime;
use time::macros::datetime;

use super::erase::{Ids, Record, Scope, erase};
use crate::lake::store::Store;
use crate::lake::store::memory::MemoryStore;
use crate::post::Post;

const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
const NOW: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);

fn lake(posts: &[&str]) -> Arc<dyn Store> {
    let store = MemoryStore::default();
    store.put(&format!("{NIGHT}/0000000"), format!("[{}]", posts.join(",")).into()).unwrap();
    Arc::new(store)
}

fn erase_all(store: &Arc<dyn Store>, ids: &Ids) -> Record {
    erase(
        store,
        &Scope { glob: glob::Pattern::new("*").unwrap(), closed_before: Some(NOW) },
        ids,
        NOW,
    )
    .unwrap()
}

fn post(text: &str) -> Post {
    Post::check(text.to_owned().into()).unwrap()
}

#[test]
fn a_list_of_ids_is_read_or_refused_with_its_line_and_never_misread() {
    let ids =
        Ids::parse("\u{feff}17\r\n\"tweet\" \"18\"\n\n# 19\n'20'\ntoot https://a.example/1,2\n")
            .unwrap();
    assert_eq!(ids.len(), 4);
    for id in ["17", "18", "20"] {
        assert!(ids.has(&post(&format!("{{\"tweet\":{{\"id\":\"{id}\"}}}}"))), "{id}");
    }
    let bad = [
        ("1.25E+18", "rounded"),
        ("1.25e18", "rounded"),
        ("905.0", "rounded"),
        ("1E+18", "rounded"),
        ("17,text", "CSV"),
        ("\"17\",\"a\"", "CSV"),
        ("17;a", "CSV"),
        ("[\"17\",\"18\"]", "CSV"),
        ("{\"id\":17}", "CSV"),
        ("17 18", "isn't a kind"),
        ("a b c", "expected"),
        ("\u{200b}17", "visible"),
        ("17\r18", "visible"),
        ("\"\"", "isn't an id"),
    ];
    for (line, why) in bad {
        let error = Ids::parse(&format!("1\n{line}\n")).unwrap_err().chain();
        assert!(error.contains("line 2") && error.contains(why), "{line}: {error}");
    }
}

#[test]
fn ids_that_match_nothing_are_counted_unless_they_were_erased_before() {
    let tweet = |id: u32| format!("{{\"tweet\":{{\"id\":\"{id}\"}}}}");
    let store = lake(&[&tweet(1), &tweet(2)]);
    let ids = Ids::parse("1\ntweet 7").unwrap();
    let first = erase_all(&store, &ids);
    assert_eq!((first.posts_erased, first.ids_not_found), (1, 1));
    let again = erase_all(&store, &ids);
    assert_eq!((again.posts_erased, again.ids_not_found), (0, 1));
}

#[test]
fn notices_of_old_streams_are_deletes_and_what_is_not_understood_is_counted() {
    let store = lake(&[
        r#"{"tweet":{"id":905,"id_str":"905"}}"#,
        r#"{"tweet":{"id":906}}"#,
        r#"{"tweet":{"id":907}}"#,
        r#"{"delete":{"status":{"id":905,"id_str":"905","user_id":1},"timestamp_ms":"1400000000000"}}"#,
        r#"{"delete":{"status":{"id":906}}}"#,
        r#"{"delete":{"status":{"id":9.07e2}}}"#,
        r#"{"delete":{"what":"907"}}"#,
    ]);
    let ids = Ids::from_deletes(&store).unwrap();
    assert_eq!((ids.len(), ids.not_understood), (2, 2));
    let record = erase_all(&store, &ids);
    assert_eq!((record.posts_erased, record.has_left_some()), (2, true));
}

#[test]
fn a_delete_of_a_server_takes_no_toot_of_another() {
    let toot = |host: &str, acct: &str| {
        let [uri, account] = ["s/5", "@u"].map(|path| format!("https://{host}/{path}"));
        format!(
            r#"{{"toot":{{"id":"5","uri":"{uri}","account":{{"acct":"{acct}","url":"{account}"}}}}}}"#
        )
    };
    let erased = |toots: &[String], delete: &str| {
        let posts: Vec<_> = toots.iter().map(String::as_str).chain([delete]).collect();
        let store = lake(&posts);
        let record = erase_all(&store, &Ids::from_deletes(&store).unwrap());
        (record.posts_erased, record.doubtful)
    };
    let of_a = r#"{"delete":{"kind":"toot","id":"5","instance":"a.example","raw":"5"}}"#;
    assert_eq!(erased(&[toot("a.example", "u"), toot("b.example", "u")], of_a), (1, 0));
    assert_eq!(erased(&[toot("A.Example", "u")], of_a), (1, 0));
    assert_eq!(erased(&[toot("xa.example", "u")], of_a), (0, 0));
    assert_eq!(
        erased(&[toot("b.example", "u@b.example")], of_a),
        (0, 1),
        "whose number that is, nothing tells"
    );
    assert_eq!(erased(&[toot("a.example", "u")], r#"{"delete":{"kind":"toot","id":"5"}}"#), (0, 1));
    let by_uri = r#"{"delete":{"kind":"toot","id":"https://a.example/s/5"}}"#;
    assert_eq!(erased(&[toot("a.example", "u"), toot("b.example", "u")], by_uri), (1, 0));
}

#[test]
fn a_record_that_was_made_again_after_its_deletion_stays() {
    let made = |rev: &str, micros: u32| {
        format!(
            r#"{{"bsky":{{"did":"did:a","time_us":{micros},"commit":{{"rev":"{rev}","operation":"create","collection":"c","rkey":"r"}}}}}}"#
        )
    };
    let gone = |id: &str, event: &str| {
        format!(r#"{{"delete":{{"kind":"bsky","id":"{id}","raw":{event}}}}}"#)
    };
    let left = |delete: &str| {
        let store = lake(&[&made("3a", 10), &made("3c", 30), delete]);
        2 - erase_all(&store, &Ids::from_deletes(&store).unwrap()).posts_erased
    };
    assert_eq!(left(&gone("at://did:a/c/r", r#"{"time_us":20,"commit":{"rev":"3b"}}"#)), 1);
    assert_eq!(left(&gone("at://did:a/c/r", r#"{"time_us":20}"#)), 1);
    assert_eq!(left(&gone("at://did:a/c/r", r#"{"time_us":40,"commit":{"rev":"3d"}}"#)), 0);
    assert_eq!(left(&gone("did:a", r#"{"time_us":20}"#)), 1, "an account may come back too");
    assert_eq!(left(&gone("at://did:a/c/r", "null")), 0);
}

#[test]
fn copies_that_no_reader_sees_are_named() {
    let store = lake(&[r#"{"tweet":{"id":"4711"}}"#]);
    let put = |key: &str, text: &'static str| _ = store.put(key, text.into()).unwrap();
    let letter = r#"[{"dead":{"component":"in","error":"two keys","raw":"{\"tweet\":{\"id\":\"4711\"},\"x\":1}"}}]"#;
    let dead = format!("_dead/{NIGHT}/0000000");
    put(&dead, letter);
    put(
        &format!("_dead/{NIGHT}/0000001"),
        r#"[{"dead":{"component":"in","error":"e","raw":"47110"}}]"#,
    );
    let staged = [format!("_staging/run/lake-0/{NIGHT}/0000003"), "_staging/put-host-1".into()];
    // The open file isn't finished; the others have other posts.
    put(&staged[0], r#"[{"tweet":{"id":"1"}},{"tweet":{"id":"4711""#);
    put(&staged[1], r#"[{"tweet":{"id":"2"}}]"#);
    put("_staging/run/lake-0/other", r#"[{"tweet":{"id":"47110"}}"#);
    put("_index/writers/1.json", r#"{"state":"/states/t"}"#);
    let record = erase_all(&store, &Ids::parse("4711").unwrap());
    assert_eq!(record.posts_erased, 1);
    assert_eq!(record.dead_letters.iter().collect::<Vec<_>>(), [&dead]);
    assert_eq!(record.states.iter().collect::<Vec<_>>(), ["/states/t"]);
    assert!(record.staged.contains(&staged[0]) && record.staged.len() == 1, "{:?}", record.staged);
    assert!(record.has_left_some());
}
