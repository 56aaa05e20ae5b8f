use super::*;

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
    assert_eq!(fields, ["url", "schema", "retention", "outbox", "inputs"]);
    let inputs = problems.last().unwrap();
    assert!(inputs.what.contains("no \"kind\" and no \"post_id\""), "{}", inputs.what);
    let good = postgres("postgres://user:hidden@host/db");
    good.check(&[Fields::of_posts(), Fields::new(DEMANDED)]).unwrap();
    assert!(!format!("{good:?}").contains("hidden"));
}
