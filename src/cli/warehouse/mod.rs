//! `warehouse …`: what can be done with the tables of a warehouse.

mod load;
mod status;

use clap::Subcommand;
use serde::Serialize;

use super::exit::{Code, Failure, Outcome};
use super::stdout;
use crate::secret::Secret;
use crate::warehouse::schema;
use crate::warehouse::session::Warehouse;

/// The variable that names the warehouse where no argument does.
const DATABASE_URL: &str = "DATABASE_URL";

/// Make, fill and show the tables of a warehouse in PostgreSQL
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Init(InitArgs),
    Status(status::Args),
    Load(load::Args),
}

/// Which warehouse.
#[derive(Debug, clap::Args)]
struct Which {
    /// The database: postgres://user@host:5432/name; without it $DATABASE_URL, which no list of
    /// processes shows
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The schema that the tables are in
    #[arg(long, value_name = "NAME", default_value = "waterspout")]
    schema: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Make the tables, or bring them to the version of this program
///
/// It can be repeated, and does nothing then. A topology with a sink `Postgres` does the same at its
/// start.
#[derive(Debug, clap::Args)]
struct InitArgs {
    #[command(flatten)]
    which: Which,
}

/// Does what the arguments say.
pub(crate) fn run(args: &Args) -> Outcome {
    super::tell_what_is_waited_for();
    match &args.what {
        What::Init(args) => init(&args.which),
        What::Status(args) => status::run(args),
        What::Load(args) => load::run(args),
    }
}

impl Which {
    fn warehouse(&self) -> Result<Warehouse, Failure> {
        let given = self.url.clone().or_else(|| std::env::var(DATABASE_URL).ok());
        let url = given.filter(|url| !url.trim().is_empty()).ok_or_else(|| {
            let what = format!(
                "which warehouse? give --url postgres://user@host:5432/name, or set {DATABASE_URL}"
            );
            Failure::new(Code::Usage, what)
        })?;
        schema::check_name(&self.schema).map_err(|what| Failure::new(Code::Usage, what))?;
        if is_redshift(&url) {
            let what = "the address is one of Amazon Redshift, and these commands are for PostgreSQL: a topology \
                        with the sink Redshift makes and fills the tables there, also from a lake (run FILE \
                        --replay GLOB)";
            return Err(Failure::new(Code::Usage, what));
        }
        Warehouse::at(&Secret::new(url), &self.schema)
            .map_err(|error| Failure::new(Code::Usage, error.chain()))
    }
}

/// True if an address names Redshift: by its scheme or its host.
fn is_redshift(url: &str) -> bool {
    let url = url.trim().to_ascii_lowercase();
    url.starts_with("redshift://")
        || [".redshift.amazonaws.com", ".redshift-serverless.amazonaws.com"]
            .iter()
            .any(|domain| url.contains(domain))
}

/// What `init` did.
#[derive(Serialize)]
struct Initialised {
    server: String,
    schema: String,
    from_version: Option<i32>,
    version: i32,
}

fn init(which: &Which) -> Outcome {
    let warehouse = which.warehouse()?;
    let session = warehouse.connect()?;
    let migrated = schema::migrate(&session)?;
    let done = Initialised {
        server: warehouse.name(),
        schema: warehouse.schema().into(),
        from_version: migrated.from,
        version: migrated.to,
    };
    if which.json {
        return stdout::print(&json(&done));
    }
    let Initialised { server, schema, version, .. } = &done;
    let what = match migrated.from {
        None => "was made".to_owned(),
        Some(from) if from == migrated.to => "was there already".into(),
        Some(from) => format!("had version {from} before"),
    };
    stdout::print(&format!(
        "the schema \"{schema}\" at \"{server}\" has version {version}: it {what}\n"
    ))
}

/// A line of JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers can be written as JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_redshift_is_told_by_its_scheme_or_host() {
        for url in [
            "redshift://u:p@h/db",
            "postgres://u@c.x.eu-central-1.redshift.amazonaws.com:5439/db",
            "host=w.1.us-east-1.Redshift-Serverless.amazonaws.com user=u",
        ] {
            assert!(is_redshift(url), "{url}");
        }
        assert!(!is_redshift("postgres://redshift@host:5439/redshift"));
    }
}
