//! `lake paths`: a statement for the tool that you have.

use super::super::exit::{Code, Failure, Outcome};
use super::super::stdout;
use super::json;

/// Print a statement that reads the lake with another tool
///
/// Ids stay text, with every digit. Where `compact` or `erase` was killed, run it again first: other
/// tools don't know which partitions count.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The tool
    #[arg(long = "for", value_name = "TOOL")]
    tool: Tool,
    /// The folder of the lake
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
pub fn run(args: &Args) -> Outcome {
    let root = args.root.trim_end_matches('/');
    let root = if root.contains("://") {
        root.to_owned()
    } else {
        let path = std::path::absolute(if root.is_empty() { "/" } else { root });
        let path = path.map_err(|cause| Failure::new(Code::Runtime, format!("bad root \"{root}\": {cause}")))?;
        path.display().to_string()
    };
    let statement = statement(args.tool, &root);
    let value = serde_json::json!({"for": format!("{:?}", args.tool).to_lowercase(), "statement": statement});
    stdout::print(&if args.json { json(&value) } else { statement })
}

fn statement(tool: Tool, root: &str) -> String {
    // A JSON string is a Python string.
    let python = serde_json::to_string(root).expect("text can be written as JSON");
    match tool {
        Tool::Duckdb => DUCKDB.replace("ROOT", &glob(root).replace('\'', "''")),
        Tool::Pandas => PANDAS.replace("ROOT", &python),
        Tool::Polars => POLARS.replace("ROOT", &python),
        Tool::Spark => SPARK.replace("ROOT", &python),
    }
}

/// Escapes what a glob would take for a pattern.
fn glob(root: &str) -> String {
    let escape = |c: char| if matches!(c, '*' | '?' | '[') { format!("[{c}]") } else { c.to_string() };
    root.chars().map(escape).collect()
}

/// Each post as JSON text, out of which nothing goes through a float.
const DUCKDB: &str = "\
SELECT kind, coalesce(json_extract_string(json, '$.' || kind || '.id_str'),
                      json_extract_string(json, '$.' || kind || '.id')) AS id, json
FROM (SELECT json, json_keys(json)[1] AS kind
      FROM read_json_objects('ROOT/2*/0*', format = 'array', maximum_object_size = 1073741824));
";

/// Whole numbers are read as text: pandas would make floats of them beside missing ones.
const PANDAS: &str = "\
import glob, json
import pandas as pd

paths = sorted(glob.glob(glob.escape(ROOT) + \"/2*/0*\"))
posts = (post for path in paths for post in json.load(open(path, encoding=\"utf-8\"), parse_int=str))
frame = pd.json_normalize(list(posts))
";

/// The posts' own fields differ from file to file, so each post stays JSON text.
const POLARS: &str = "\
import glob, json
import polars as pl

paths = sorted(glob.glob(glob.escape(ROOT) + \"/2*/0*\"))
posts = (post for path in paths for post in json.load(open(path, encoding=\"utf-8\"), parse_int=str))
rows = [(kind, body.get(\"id_str\") or body.get(\"id\") if isinstance(body, dict) else None, json.dumps(body, ensure_ascii=False))
        for post in posts for kind, body in post.items()]
frame = pl.DataFrame(rows, schema={\"kind\": pl.String, \"id\": pl.String, \"post\": pl.String}, orient=\"row\", strict=False)
";

/// Folders are listed one by one, since Spark's globs can't take the colons in their names.
const SPARK: &str = "\
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
root = spark._jvm.org.apache.hadoop.fs.Path(ROOT.replace(\"s3://\", \"s3a://\"))
folders = root.getFileSystem(spark._jsc.hadoopConfiguration()).listStatus(root)
paths = [f.getPath().toString() for f in folders if f.isDirectory() and f.getPath().getName().startswith(\"2\")]
frame = spark.read.option(\"__globPaths__\", \"false\").option(\"primitivesAsString\", \"true\").json(paths)
";
