//! Statements in Python. Each has only what the lake's forms need.

use super::{Forms, NUMBER};
use crate::lake::form::{Compression, Form, Format};

/// A text in Python, which is what it is in JSON.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text can be written as JSON")
}

/// Which forms a lake has, as far as it makes a difference to who reads it.
struct Has {
    lines: bool,
    gzip: bool,
    zstd: bool,
    parquet: bool,
}

impl Has {
    fn of(forms: &Forms) -> Self {
        let any = |wanted: fn(&Form) -> bool| forms.iter().any(|(form, _)| wanted(form));
        Self {
            lines: any(|form| matches!(form, Form::Text(Format::Ndjson, _))),
            gzip: any(|form| matches!(form, Form::Text(_, Compression::Gzip))),
            zstd: any(|form| matches!(form, Form::Text(_, Compression::Zstd))),
            parquet: any(|form| *form == Form::Parquet),
        }
    }
}

/// The paths of all files, and how one is opened: in a folder by Python itself, elsewhere by
/// pyarrow, which takes endpoint and credentials from the environment as this program does.
fn paths(root: &str) -> String {
    let Some((scheme, rest)) = root.split_once("://") else {
        let quoted = quoted(root);
        return format!(
            "opened = open\npaths = sorted(glob.glob(glob.escape({quoted}) + \"/{NUMBER}*\"))\n"
        );
    };
    let bucket = rest.split('/').next().unwrap_or(rest);
    let (bucket, root) = (quoted(&format!("{scheme}://{bucket}")), quoted(rest));
    BUCKET_PATHS.replace("BUCKET", &bucket).replace("ROOT", &root)
}

const BUCKET_PATHS: &str = "\
files, root = fs.FileSystem.from_uri(BUCKET)[0], ROOT
found = [file.path for file in files.get_file_info(fs.FileSelector(root, recursive=True)) if file.is_file]
paths = sorted(path for path in found if re.fullmatch(\"/2[^/]*/[0-9][^/]{6}[^/]*\", path[len(root):]))

def opened(path, mode):
    return io.BytesIO(files.open_input_file(path).read())
";

fn imports(root: &str, has: &Has, tool: &str) -> String {
    let in_bucket = root.contains("://");
    let mut modules = if in_bucket { vec!["io", "re"] } else { vec!["glob"] };
    modules.extend(["io", "json"]);
    modules.extend(has.gzip.then_some("gzip"));
    modules.sort_unstable();
    modules.dedup();
    let pyarrow = if in_bucket { "from pyarrow import fs\n" } else { "" };
    let zstandard = if has.zstd { "import zstandard\n" } else { "" };
    format!("import {}\n{zstandard}{pyarrow}import {tool}\n", modules.join(", "))
}

/// A generator of all posts. Whole numbers are read as text, since most tools make floats of them.
fn posts(has: &Has, read_parquet: &str) -> String {
    let mut text = String::from("def texts(path):\n    file = opened(path, \"rb\")\n");
    if has.parquet {
        text += &format!(
            "    if path.endswith(\".parquet\"):\n        yield from {read_parquet}(file, columns=[\"post\"])[\"post\"]\n        return\n"
        );
    }
    if has.gzip {
        text += "    if path.endswith(\".gz\"):\n        file = gzip.open(file)\n";
    }
    if has.zstd {
        text += "    if path.endswith(\".zst\"):\n        file = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)\n";
    }
    text += "    file = io.TextIOWrapper(file, encoding=\"utf-8\")\n";
    text += if has.lines {
        "    yield from file if \".ndjson\" in path else [file.read()]\n"
    } else {
        "    yield file.read()\n"
    };
    text + "\ndef posts():\n    for path in paths:\n        for text in texts(path):\n            found = json.loads(text, parse_int=str)\n            \
            yield from found if isinstance(found, list) else [found]\n"
}

/// Each post as a row of its fields.
pub(crate) fn pandas(root: &str, forms: &Forms) -> String {
    let has = Has::of(forms);
    let head = imports(root, &has, "pandas as pd") + "\n" + &paths(root);
    head + "\n" + &posts(&has, "pd.read_parquet") + ID_OF + PANDAS_FRAME
}

/// The posts' own fields differ from file to file, so each post stays JSON text.
pub(crate) fn polars(root: &str, forms: &Forms) -> String {
    let has = Has::of(forms);
    let head = imports(root, &has, "polars as pl") + "\n" + &paths(root);
    head + "\n" + &posts(&has, "pl.read_parquet") + ID_OF + POLARS_ROWS
}

/// The id of a post, as the lake's tools and its Parquet files have it.
const ID_OF: &str = "
def id_of(kind, body):
    if kind == \"bsky\":
        record = body.get(\"commit\", body)
        address = [body.get(\"did\"), record.get(\"collection\"), record.get(\"rkey\")]
        return \"at://\" + \"/\".join(address) if all(address) else body.get(\"uri\")
    if kind == \"toot\":
        return body.get(\"uri\") or body.get(\"id\")
    return body.get(\"id_str\") or body.get(\"id\")
";

const PANDAS_FRAME: &str = "
found = [(kind, body) for post in posts() for kind, body in post.items()]
frame = pd.json_normalize([{kind: body} for kind, body in found])
frame.insert(0, \"kind\", [kind for kind, body in found])
frame.insert(1, \"id\", [id_of(kind, body) if isinstance(body, dict) else None for kind, body in found])
";

const POLARS_ROWS: &str = "
rows = [(kind, id_of(kind, body) if isinstance(body, dict) else None, json.dumps(body, ensure_ascii=False))
        for post in posts() for kind, body in post.items()]
frame = pl.DataFrame(rows, schema={\"kind\": pl.String, \"id\": pl.String, \"post\": pl.String}, orient=\"row\", strict=False)
";

/// Folders are listed one by one, since Spark's globs can't take the colons in their names (`names:
/// Basic` has none).
pub(crate) fn spark(root: &str, forms: &Forms) -> String {
    let has = Has::of(forms);
    let note = if root.starts_with("s3://") { SPARK_S3 } else { "" };
    let root = quoted(&root.replacen("s3://", "s3a://", 1));
    let head = note.to_owned() + &SPARK_FOLDERS.replace("ROOT", &root);
    if !has.parquet && !has.zstd {
        return head
            + "frame = read(\"*\").option(\"primitivesAsString\", \"true\").json(folders)\n";
    }
    let (mut parts, mut text) = (Vec::new(), head);
    if forms
        .iter()
        .any(|(form, _)| matches!(form, Form::Text(_, Compression::None | Compression::Gzip)))
    {
        text += "texts = read(\"{[0-9]??????,*.json,*.ndjson,*.gz}\").text(folders)\n";
        parts.push("texts.rdd.map(lambda row: row[0])");
    }
    if has.zstd {
        text += SPARK_ZSTD;
        parts.push("packed.rdd.flatMap(unpack)");
    }
    if has.parquet {
        text += "columns = read(\"*.parquet\").parquet(*folders)\n";
        parts.push("columns.select(\"post\").rdd.map(lambda row: row[0])");
    }
    let all = match parts[..] {
        [one] => one.to_owned(),
        _ => format!("spark.sparkContext.union([{}])", parts.join(", ")),
    };
    text + &format!("frame = spark.read.option(\"primitivesAsString\", \"true\").json({all})\n")
}

/// The package is 280 MB with what it needs, so no test of ours loads it.
const SPARK_S3: &str = "\
# Spark reads s3a:// with the package org.apache.hadoop:hadoop-aws of its own version of Hadoop. Nobody has tested
# this statement over a bucket.
";

/// Without `recursiveFileLookup` it reads a folder several times if there is a bracket in its path.
const SPARK_FOLDERS: &str = "\
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
root = spark._jvm.org.apache.hadoop.fs.Path(ROOT)
files = root.getFileSystem(spark._jsc.hadoopConfiguration()).listStatus(root)
folders = [f.getPath().toString() for f in files if f.isDirectory() and f.getPath().getName().startswith(\"2\")]

def read(names):
    return spark.read.options(__globPaths__=\"false\", recursiveFileLookup=\"true\", pathGlobFilter=names)

";

/// Hadoop's own reader of Zstandard needs native libraries, which PySpark comes without.
const SPARK_ZSTD: &str = "
def unpack(row):
    import io, zstandard
    text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(row.content), read_across_frames=True).read()
    return text.decode(\"utf-8\").split(\"\\n\")

packed = read(\"*.zst\").format(\"binaryFile\").load(folders)
";
