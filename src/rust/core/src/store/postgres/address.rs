//! Where a store lies in PostgreSQL: `postgresql://user@host/database?store=name`, and whatever else libpq
//! understands (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>).

use super::super::is_address;
use crate::error::{Error, Kind, Result};

/// What a store is called whose address names none.
const DEFAULT_NAME: &str = "default";
/// In characters.
const LONGEST_NAME: usize = 200;

/// The address of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What libpq connects to.
    pub(super) server: String,
    /// Which of the stores of a database it is.
    pub(super) name: String,
    pub(super) whole: String,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`Kind::Argument`] when it is none, or has a password in it: it is printed, and is written to
    /// configuration files.
    pub fn read(place: &str) -> Result<Self> {
        let refused = |message: &str| Err(Error::new(Kind::Argument, message));
        if !is_address(place) {
            return refused("The address of a store begins with postgresql://.");
        }
        let (before, parameters) = place.split_once('?').unwrap_or((place, ""));
        let rest = before.split_once("://").map_or("", |(_, rest)| rest);
        // A password with a `/` in it is not where libpq looks for one, and libpq repeats a part of it.
        let (user, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
        let mut name = None;
        let mut others = Vec::new();
        let mut has_password = user.contains(':');
        // Nor is one with a `?`.
        let mut is_readable = hosts.split('/').next().unwrap_or("").split(',').all(has_port);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            is_readable &= parameter.contains('=');
            let known = decode(key).unwrap_or_default();
            has_password |= matches!(known.as_str(), "password" | "sslpassword");
            if key == "store" {
                is_readable &= name.is_none();
                name = Some(decode(value).unwrap_or_default());
            } else {
                others.push(parameter);
            }
        }
        if has_password {
            return refused(
                "The address of a store must not have a password in it. Put it into ~/.pgpass, into the \
                 environment variable PGPASSWORD, or into a service file.",
            );
        }
        if !is_readable {
            return refused(
                "The address of a store cannot be read: see ?mxcrypt_postgresql. A port is a number, a parameter \
                 has a value, `store` is named once, and a password does not belong there.",
            );
        }
        let name = name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let length = name.chars().count();
        if length == 0 || length > LONGEST_NAME || name.contains(char::is_control) {
            return refused(
                "The name of a store, ?store=name, has 1 to 200 characters. In an address & is written %26, \
                 and % is written %25.",
            );
        }
        let query =
            if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
        Ok(Self { server: format!("{before}{query}"), name, whole: place.to_owned() })
    }

    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.whole
    }
}

/// Whether what follows a host and a colon can be a port.
fn has_port(host: &str) -> bool {
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    let port = after.split_once(':').map_or("", |(_, port)| port);
    port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Decodes `%41` and the like.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_store_is_not_for_the_server() {
        let read = |place: &str| Address::read(place).unwrap();
        let address = read("postgresql://bot@db:6432/matrix?sslmode=verify-full&store=lab%20bot");
        assert_eq!(address.server, "postgresql://bot@db:6432/matrix?sslmode=verify-full");
        assert_eq!(address.name, "lab bot");
        assert_eq!(read("postgres:///?service=matrix").name, "default");
        assert_eq!(read("postgres:///?service=matrix").server, "postgres:///?service=matrix");
        assert_eq!(read("postgresql:///m?store=a").server, "postgresql:///m");
        let long = "\u{f6}".repeat(LONGEST_NAME);
        assert_eq!(read(&format!("postgresql:///m?store={long}")).name, long);
        assert!(Address::read(&format!("postgresql:///m?store={long}x")).is_err());
        for place in [
            "postgresql://[::1]:5433/m",
            "postgresql://bot@one:1,two,[::2]:3/m?user=bot@azure",
            "postgresql://%2Fvar%2Frun/m?target_session_attrs=read-write",
        ] {
            assert_eq!(read(place).server, place);
        }
    }

    #[test]
    fn a_password_or_a_name_that_is_none_is_refused() {
        for place in [
            "postgresql://bot:secret@db/matrix",
            "postgresql://bot:se/secret@db/matrix",
            "postgresql://bot:secret?x@db/matrix",
            "postgresql://bot:1?secret@db/matrix",
            "postgresql://bot@db/matrix?password=secret",
            "postgresql://bot@db/matrix?p%61ssword=secret",
            "postgresql://bot@db/matrix?sslmode=require&sslpassword=secret",
            "postgresql://db/matrix?store=",
            "postgresql://db/matrix?store=%zz",
            "postgresql://db/matrix?store=a&store=b",
            "postgresql://db/matrix?store=%0a",
            "mysql://db/matrix",
        ] {
            let refused = Address::read(place).unwrap_err();
            assert_eq!(refused.kind, Kind::Argument, "{place}");
            assert!(!refused.message.contains("secret"), "{}", refused.message);
        }
    }
}
