//! The schema that all stores of a database share.

use mxcrypt_postgres_client::Parameter;

use super::{
    BEGIN,
    columns::another_schema,
    failures::{gone, refusal},
    pool::Pooled,
};
use crate::error::{Error, Kind, Result};

/// The numbered steps to the schema of this version, oldest first.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/postgres/0001_initial.sql"),
    include_str!("../migrations/postgres/0002_last_commit.sql"),
];
/// Keeps two processes from bringing the schema up to date at once: any number that nobody else uses.
const MIGRATION_LOCK: i64 = 0x6d78_6372_7970_7400;

/// The version that this mxcrypt knows.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Makes the schema when it is not there, and brings it up to date.
pub(super) fn migrate(pooled: &Pooled) -> Result<()> {
    let connection = &pooled.connection;
    // Most often there is nothing to do, and no lock is needed to see that.
    if version(pooled)? == VERSION {
        return Ok(());
    }
    let begun =
        format!("{BEGIN}; {}SELECT pg_advisory_xact_lock({MIGRATION_LOCK})", pooled.settings);
    connection.run(&begun).map_err(refusal)?;
    let version = version(pooled)?;
    if version > VERSION {
        let _ = connection.run("ROLLBACK");
        return Err(newer(version));
    }
    let steps = MIGRATIONS.iter().skip(version).copied().collect::<String>();
    let first = if version == 0 {
        "CREATE TABLE mxcrypt.version (number bigint NOT NULL); \
         INSERT INTO mxcrypt.version (number) VALUES (0);"
    } else {
        ""
    };
    // Not IF NOT EXISTS: PostgreSQL asks for the right to make a schema also if there is one.
    let there = "SELECT coalesce(to_regnamespace('mxcrypt')::oid::bigint, 0)";
    let there = connection.query(there, &[]).map_err(refusal)?.integer(0, 0) != Some(0);
    let schema = if there { "" } else { "CREATE SCHEMA mxcrypt;" };
    let done = connection.run(&format!(
        "{schema} {first} {steps} UPDATE mxcrypt.version SET number = {}; COMMIT",
        VERSION
    ));
    done.map(|_| ()).map_err(|failure| {
        let _ = connection.run("ROLLBACK");
        if failure.code == "42501" {
            return Error::new(
                Kind::Store,
                format!(
                    "The tables of the store cannot be made: {}. Have somebody who may do it run this in the \
                     database: CREATE SCHEMA mxcrypt AUTHORIZATION your_user;",
                    failure.message
                ),
            );
        }
        refusal(failure)
    })
}

/// That others know more.
pub(super) fn newer(version: usize) -> Error {
    Error::new(
        Kind::StoreNewer,
        format!(
            "The database has stores of schema version {version}, this mxcrypt knows up to {}. \
             Install the version of mxcrypt that wrote them, or a newer one.",
            VERSION
        ),
    )
}

/// The version of the schema; zero where there is none.
fn version(pooled: &Pooled) -> Result<usize> {
    let there = "SELECT coalesce(to_regclass('mxcrypt.version')::oid::bigint, 0)";
    let there = pooled.connection.query(there, &[]).map_err(refusal)?;
    if there.integer(0, 0) == Some(0) {
        return Ok(0);
    }
    let rows = pooled.connection.query("SELECT number FROM mxcrypt.version", &[]);
    let number = rows.map_err(refusal)?.integer(0, 0).ok_or_else(another_schema)?;
    usize::try_from(number).map_err(|_| another_schema())
}

/// The number of the store called `name`, which is made when it is not there.
pub(super) fn store_number(pooled: &Pooled, name: &str, id: [u8; 16]) -> Result<i64> {
    let parameters = [Parameter::Bytes(name.as_bytes()), Parameter::Bytes(&id)];
    let sql = "INSERT INTO mxcrypt.store (name, id) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    pooled.connection.query(sql, &parameters).map_err(refusal)?;
    let sql = "SELECT number FROM mxcrypt.store WHERE name = $1";
    let rows = pooled.connection.query(sql, &parameters[..1]).map_err(refusal)?;
    let number = rows.integer(0, 0).ok_or_else(gone)?;
    // Workers that ended. One that is still there writes its row with its next commit.
    let sql = "DELETE FROM mxcrypt.worker \
               WHERE store = $1 AND committed_at < now() - interval '30 days'";
    pooled.connection.query(sql, &[Parameter::Integer(number)]).map_err(refusal)?;
    Ok(number)
}
