use super::*;
use crate::warehouse::row::DEMANDED;

fn redshift(url: &str) -> Redshift {
    Redshift {
        bucket: "warehouse-loads".into(),
        prefix: default_prefix(),
        endpoint: None,
        region: None,
        path_style: None,
        access_key_id: None,
        secret_access_key: None,
        session_token: None,
        url: Secret::new(url),
        schema: default_schema(),
        iam_role: default_iam_role(),
        load_every: default_load_every(),
        load_bytes: default_load_bytes(),
        raw: RawSuper::default(),
        conditional_put: None,
        outbox: default_outbox(),
        on_full: OnFull::default(),
        left: LeftTasks::default(),
    }
}

#[test]
fn each_problem_names_its_field() {
    let bad = Redshift {
        bucket: "Bad".into(),
        prefix: "it's".into(),
        schema: "pg_toast".into(),
        iam_role: "role/load".into(),
        load_bytes: ByteSize(0),
        outbox: ByteSize(0),
        ..redshift("mysql://h")
    };
    let problems = bad.check(&[Fields::new(["platform", "post"])]).unwrap_err();
    let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
    let wanted =
        ["bucket", "prefix", "iam_role", "url", "schema", "load_bytes", "outbox", "inputs"];
    assert_eq!(fields, wanted);
    let good = redshift("redshift://user:hidden@host/db");
    good.check(&[Fields::of_posts(), Fields::new(DEMANDED)]).unwrap();
    assert!(!format!("{good:?}").contains("hidden"));
}

#[test]
fn a_load_is_never_larger_than_half_of_the_outbox() {
    let small = Redshift { outbox: ByteSize(1_000), ..redshift("redshift://host/db") };
    assert_eq!(small.gathering_bounds().bytes, 500);
    assert_eq!(redshift("redshift://host/db").gathering_bounds().bytes, 64 << 20);
}
