use super::*;
use crate::bolt::BoltConfig;
use crate::bolt::trends::Trends;
use crate::registry::ron_options;
use crate::warehouse::row::DEMANDED;
use crate::warehouse::trend::trend_columns;

fn postgres(url: &str) -> Postgres {
    Postgres {
        url: Secret::new(url),
        schema: default_schema(),
        raw: Raw::default(),
        retention: None,
        outbox: default_outbox(),
        on_full: OnFull::default(),
        left: LeftTasks::default(),
    }
}

#[test]
fn each_problem_names_its_field() {
    let bad = Postgres {
        schema: "pg_toast".into(),
        retention: Some(Interval(Duration::from_secs(1))),
        outbox: ByteSize(0),
        ..postgres("mysql://h")
    };
    let problems = bad.check(&[Fields::new(["platform", "post"])]).unwrap_err();
    let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["url", "schema", "outbox", "inputs", "retention"]);
    let inputs = &problems[3];
    assert!(inputs.what.contains("no \"kind\" and no \"post_id\""), "{}", inputs.what);
    let good = postgres("postgres://user:hidden@host/db");
    good.check(&[Fields::of_posts(), Fields::new(DEMANDED)]).unwrap();
    assert!(!format!("{good:?}").contains("hidden"));
}

#[test]
fn trends_are_rows_and_provisional_ones_are_refused() {
    let trends: Trends = ron_options().from_str("()").unwrap();
    let keys = Fields::new(["key_type", "key", "post_id", "author_id"]);
    let streams = trends.streams(&[keys, Fields::of_posts()]).unwrap();
    let fields = |name: &str| streams.fields(streams.id(name).unwrap()).clone();
    assert_eq!(fields("default"), Fields::new(trend_columns()));
    let sink = postgres("postgres://host/db");
    sink.check(&[Fields::new(DEMANDED), fields("default")]).unwrap();
    assert_eq!(sink.destination(&fields("default")), Some("table trends"));
    for (stream, what) in
        [("provisional", "wire the stream \"default\""), ("late", "no \"started_at\"")]
    {
        let problems = sink.check(&[fields(stream)]).unwrap_err();
        assert!(problems[0].what.contains(what), "{stream}: {}", problems[0].what);
        assert_eq!(sink.destination(&fields(stream)), None);
    }
}
