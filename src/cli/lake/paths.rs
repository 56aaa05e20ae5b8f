//! `lake paths`: a statement for the tool that you have.

mod python;

use std::collections::BTreeSet;

use super::super::exit::{Code, Failure, Outcome};
use super::super::stdout;
use super::json;
use crate::error::Result;
use crate::lake::form::{Compression, Form, Format};
use crate::lake::view::{self, Selection};

/// Print a statement that reads the lake with another tool
///
/// It fits the forms that files of the lake have now (of one that isn't there yet, plain arrays):
/// print it again when others have come. The columns and ids are the same for every form; ids stay
/// text, with every digit. Where `compact` or `erase` was killed, run it again first: other tools
/// don't know which partitions count. Over a bucket pandas and polars are tested, with the package
/// pyarrow; DuckDB and Spark aren't.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tool
    #[arg(long = "for", value_name = "TOOL")]
    tool: Tool,
    /// The lake
    root: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Tool {
    Duckdb,
    Pandas,
    Spark,
    Polars,
}

/// Prints the statement.
pub(crate) fn run(args: &Args) -> Outcome {
    let root = args.root.trim_end_matches('/');
    let root = if root.contains("://") {
        root.to_owned()
    } else {
        let path = std::path::absolute(if root.is_empty() { "/" } else { root });
        let path = path.map_err(|cause| {
            Failure::new(Code::Runtime, format!("bad root \"{root}\": {cause}"))
        })?;
        path.display().to_string()
    };
    let there = root.contains("://") || std::path::Path::new(&root).exists();
    let mut forms = if there { forms(&root)? } else { BTreeSet::new() };
    if forms.is_empty() {
        forms.insert((Form::ARRAY, Form::ARRAY.extension()));
    }
    let statement = statement(args.tool, &root, &forms);
    let value = serde_json::json!({"for": format!("{:?}", args.tool).to_lowercase(), "statement": statement});
    stdout::print(&if args.json { json(&value) } else { statement })
}

/// The forms of all files, each with its extension.
type Forms = BTreeSet<(Form, &'static str)>;

fn forms(root: &str) -> Result<Forms> {
    let selection = Selection::parse(root)?;
    view::forms(selection.store.as_ref(), &selection.partitions()?)
}

/// Its extension is fetched from a host of its own, which tests don't ask.
const DUCKDB_S3: &str = "\
-- DuckDB reads s3:// with its extension httpfs, and needs a secret: CREATE SECRET (TYPE s3, PROVIDER credential_chain).
-- Nobody has tested this statement over a bucket.
";

fn statement(tool: Tool, root: &str, forms: &Forms) -> String {
    match tool {
        Tool::Duckdb if root.starts_with("s3://") => DUCKDB_S3.to_owned() + &duckdb(root, forms),
        Tool::Duckdb => duckdb(root, forms),
        Tool::Pandas => python::pandas(root, forms),
        Tool::Polars => python::polars(root, forms),
        Tool::Spark => python::spark(root, forms),
    }
}

/// The names of the files of a form. Never `**`, which takes whatever lies beside them, too.
const NUMBER: &str = "2*/[0-9]??????";

/// Each post as JSON text, out of which nothing goes through a float.
fn duckdb(root: &str, forms: &Forms) -> String {
    // What a glob would take for a pattern is escaped, and so is the end of the text.
    let escape =
        |c: char| if matches!(c, '*' | '?' | '[') { format!("[{c}]") } else { c.to_string() };
    let root = root.chars().map(escape).collect::<String>().replace('\'', "''");
    let files = |extension: &str| format!("'{root}/{NUMBER}{extension}'");
    let rows = |(form, extension): &(Form, &str)| match form {
        Form::Parquet => {
            format!("SELECT post::JSON AS json FROM read_parquet({})", files(extension))
        }
        Form::Text(format, compression) => {
            let format = if *format == Format::JsonArray { "array" } else { "newline_delimited" };
            let compression = match compression {
                Compression::None => "none",
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd",
            };
            let files = files(extension);
            format!(
                "SELECT json FROM read_json_objects({files}, format = '{format}', compression = '{compression}', \
                 maximum_object_size = 1073741824)"
            )
        }
    };
    let all = forms.iter().map(rows).collect::<Vec<_>>().join("\n            UNION ALL ");
    format!(
        "\
SELECT kind, CASE kind
         WHEN 'bsky' THEN coalesce('at://' || (json ->> '$.bsky.did') || '/' || (record ->> '$.collection')
                                   || '/' || (record ->> '$.rkey'), json ->> '$.bsky.uri')
         WHEN 'toot' THEN coalesce(json ->> '$.toot.uri', json ->> '$.toot.id')
         ELSE coalesce(json_extract_string(json, '$.' || kind || '.id_str'),
                       json_extract_string(json, '$.' || kind || '.id'))
       END AS id, json
FROM (SELECT json, json_keys(json)[1] AS kind, coalesce(json -> '$.bsky.commit', json -> '$.bsky') AS record
      FROM ({all}));
"
    )
}
