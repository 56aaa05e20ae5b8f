//! A session with the warehouse's server: a connection, and the runtime that the connection needs.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use super::address::{TlsMode, WarehouseAddress};
use super::failure::{Done, Failure, error_text};
use super::months::Month;
use super::schema;
use super::tls::WarehouseTls;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// The time for starting a session, including the attempts at each address of the server.
const CONNECT_MAX: Duration = Duration::from_secs(60);

/// The time for one statement at the server. A shorter time would repeatedly cancel the load of a
/// large segment on a slow server.
const STATEMENT_MAX: Duration = Duration::from_secs(120);

/// The time that a statement waits for a lock of another session.
const LOCK_MAX: Duration = Duration::from_secs(30);

/// The time that a transaction waits for this client before the server ends it: a client that is
/// gone must not keep its locks.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The time that the client waits for a whole load. After that, the client gives the connection up
/// and repeats the load over another one.
pub const ANSWER_MAX: Duration = Duration::from_secs(180);

/// The time for ending a session.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// The oldest supported version of the server: earlier ones block writers while a partition is
/// attached.
const SERVER_VERSION_MIN: u32 = 12;

/// The address and the schema of a warehouse.
#[derive(Clone)]
pub struct Warehouse {
    address: WarehouseAddress,
    tls: WarehouseTls,
    schema: String,
}

impl Warehouse {
    /// Returns the warehouse at an address, in a schema of its database.
    ///
    /// # Errors
    /// If the address or the name of the schema can't be used.
    pub fn at(url: &Secret, schema: &str) -> Result<Self> {
        let address = WarehouseAddress::parse(url)?;
        schema::check_name(schema).map_err(Error::fatal)?;
        Self::of(address, schema)
    }

    /// Returns the warehouse for a parsed address and a checked schema name.
    pub(super) fn of(address: WarehouseAddress, schema: &str) -> Result<Self> {
        let tls = WarehouseTls::of(&address)?;
        Ok(Self { address, tls, schema: schema.into() })
    }

    /// Returns the server and the database, for people.
    pub fn name(&self) -> String {
        self.address.name()
    }

    /// Returns the schema's name.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Begins a session. Neither creates nor checks the schema. Blocks.
    ///
    /// # Errors
    /// If the server can't be reached or refuses; transient, since both may change.
    pub fn connect(&self) -> Result<Session> {
        let session = self.begin("Postgres")?;
        let set_up = session.set_up();
        set_up.map_err(|failure| failure.transient(self.connect_failed("Postgres")))?;
        session.check_server_version()?;
        Ok(session)
    }

    fn connect_failed(&self, product: &str) -> String {
        format!("can't connect to {product} at \"{}\"", self.name())
    }

    /// Begins a session with a server of this name, without any settings. Blocks.
    pub(super) fn begin(&self, product: &str) -> Result<Session> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|cause| {
            Error::no_room("can't start the runtime of a database session").because(cause)
        })?;
        let connected = runtime.block_on(async { timeout(CONNECT_MAX, self.connected()).await });
        let failed = || self.connect_failed(product);
        let (client, connection) = match connected {
            Err(_) => return Err(Error::transient(failed()).because("no answer")),
            Ok(Err(error)) => return Err(Error::transient(failed()).because(error_text(&error))),
            Ok(Ok(connected)) => connected,
        };
        Ok(Session {
            runtime,
            client: Some(client),
            connection: Some(connection),
            months: BTreeSet::new(),
            warehouse: self.clone(),
            is_staged: false,
        })
    }

    async fn connected(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let config = &self.address.config;
        let mode = self.address.tls;
        if mode == TlsMode::Disable {
            return self.without_tls().await;
        }
        if mode == TlsMode::Allow {
            match self.without_tls().await {
                Err(refused) if refused.as_db_error().is_some() => {}
                other => return other,
            }
            let mut config = config.clone();
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            let (client, connection) = config.connect(self.tls.clone()).await?;
            return Ok((client, drive(connection)));
        }
        match config.connect(self.tls.clone()).await {
            Ok((client, connection)) => Ok((client, drive(connection))),
            // If TLS with the server fails, the connection is tried without it, as libpq does.
            Err(error) if mode == TlsMode::Prefer && error.as_db_error().is_none() => {
                self.without_tls().await.map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    async fn without_tls(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let mut config = self.address.config.clone();
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) = config.connect(NoTls).await?;
        Ok((client, drive(connection)))
    }
}

fn drive<S, T>(connection: tokio_postgres::Connection<S, T>) -> JoinHandle<()>
where
    tokio_postgres::Connection<S, T>:
        Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    tokio::spawn(async move {
        // A failure of the connection is reported to the caller that waits for an answer.
        let _ = connection.await;
    })
}

/// A session.
pub struct Session {
    runtime: Runtime,
    client: Option<Client>,
    connection: Option<JoinHandle<()>>,
    /// The months whose partitions are known to exist.
    pub(super) months: BTreeSet<Month>,
    warehouse: Warehouse,
    /// True if the session has its temporary tables.
    pub(super) is_staged: bool,
}

impl Session {
    /// Returns the warehouse.
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("a session has its client until it is dropped")
    }

    /// Waits for the server's answer, at most for the time of one load.
    pub(super) fn wait<T>(&self, answer: impl Future<Output = Done<T>>) -> Done<T> {
        self.wait_for(ANSWER_MAX, answer)
    }

    /// Waits for the server's answer, at most for the given time.
    pub(super) fn wait_for<T>(
        &self,
        answer_max: Duration,
        answer: impl Future<Output = Done<T>>,
    ) -> Done<T> {
        match self.runtime.block_on(async { timeout(answer_max, answer).await }) {
            Ok(done) => done,
            Err(_) => Err(Failure::Silent(format!("no answer within {} s", answer_max.as_secs()))),
        }
    }

    fn set_up(&self) -> Done<()> {
        let settings = format!(
            "set search_path to {}, pg_catalog; set timezone to 'UTC'; set client_min_messages to \
                'error'; \
             set statement_timeout to {}; set lock_timeout to {}; \
             set idle_in_transaction_session_timeout to {}; set jit to off; \
             set default_transaction_isolation to 'read committed'",
            schema::quoted(self.warehouse.schema()),
            STATEMENT_MAX.as_millis(),
            LOCK_MAX.as_millis(),
            IDLE_MAX.as_millis()
        );
        self.wait(async { Ok(self.client().batch_execute(&settings).await?) })
    }

    fn check_server_version(&self) -> Result<()> {
        let version = self.server_version()?;
        let major: u32 = version
            .split(|char: char| !char.is_ascii_digit())
            .next()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_default();
        if major >= SERVER_VERSION_MIN {
            return Ok(());
        }
        Err(Error::fatal(format!(
            "the server at \"{}\" is PostgreSQL {version}: expected version {SERVER_VERSION_MIN} \
                or later",
            self.warehouse.name()
        )))
    }

    /// Returns the server's version, such as `18.6`.
    ///
    /// # Errors
    /// If the server doesn't answer.
    pub fn server_version(&self) -> Result<String> {
        let asked = self.wait(async {
            Ok(self.client().query_one("show server_version", &[]).await?.get::<_, String>(0))
        });
        asked.map_err(|failure| failure.transient("can't ask for the server's version"))
    }
}

impl Session {
    /// Checks, without writing anything, that the schema can be created or written to.
    ///
    /// # Errors
    /// If a right is missing; the error names the right and the remedy. Transient if the server
    /// doesn't answer.
    pub fn check_rights(&self, has_schema: bool) -> Result<()> {
        let schema = self.warehouse.schema();
        let question = if has_schema {
            "select not pg_is_in_recovery(), \
             has_schema_privilege($1::text, 'usage') and has_schema_privilege($1::text, 'create') \
             and has_table_privilege(quote_ident($1::text) || '.posts', 'insert') \
             and has_table_privilege(quote_ident($1::text) || '.posts', 'update'), \
             has_database_privilege(current_database(), 'temporary')"
        } else {
            "select not pg_is_in_recovery(), \
             (select case when exists (select from pg_namespace where nspname = $1::text) \
              then has_schema_privilege($1::text, 'create') \
              else has_database_privilege(current_database(), 'create') end), \
             has_database_privilege(current_database(), 'temporary')"
        };
        let asked = self.wait(async { Ok(self.client().query_one(question, &[&schema]).await?) });
        let rights = asked.map_err(|failure| failure.transient("can't ask for rights"))?;
        let name = self.name();
        if !rights.get::<_, bool>(0) {
            return Err(Error::transient(format!(
                "\"{name}\" is a standby, which takes no writes: name the primary server"
            )));
        }
        if !rights.get::<_, bool>(1) {
            return Err(Error::transient(format!(
                "the user of \"{name}\" may not make or write the schema \"{schema}\": grant it, \
                    or run \
                 \"waterspout warehouse init\" as the owner of the tables"
            )));
        }
        if !rights.get::<_, bool>(2) {
            return Err(Error::transient(format!(
                "the user of \"{name}\" may not make temporary tables: grant temporary on the \
                    database"
            )));
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.warehouse.name()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Without its client the connection says goodbye and ends.
        drop(self.client.take());
        if let Some(connection) = self.connection.take() {
            // A server that is gone needs no goodbye.
            let _ = self.runtime.block_on(async { timeout(CLOSE_MAX, connection).await });
        }
    }
}
